"""An uncompressed NAR of one large file."""

from lib import large, load
from lib.report import Result

ABOUT = "the .nar of one 1 GiB file, against nginx sending the same NAR as a static file"


def run(lab):
    path = lab.large_file
    archive = lab.dump(path)
    with (
        lab.start_nixbuild(lab.store) as ours,
        lab.start_nginx(archive.parent, nopush=True) as nginx,
    ):
        lab.check_nar(ours.port, path)
        series, last, notes = large.compare(
            lab,
            {
                "nixbuild": lambda: load.download(ours.port, path.nar()),
                "nginx": lambda: load.download(nginx.port, f"/{archive.name}"),
            },
            {"nixbuild": lambda: ours.pids, "nginx": lambda: nginx.pids},
        )
    archive.unlink()
    ours_seconds, peer_seconds = series["nixbuild"].median, series["nginx"].median
    return [
        Result(
            f".nar of one file of {lab.size_text}",
            peer_seconds / ours_seconds,
            0.9,
            True,
            "×",
            large.rate_text(last["nixbuild"].size, ours_seconds),
            f"nginx {large.rate_text(last['nginx'].size, peer_seconds)}",
            notes,
        )
    ]
