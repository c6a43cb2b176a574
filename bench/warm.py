"""A compressed NAR that is in the NAR cache."""

from lib import large, load
from lib.report import Result

ABOUT = "a .nar.zst that has been made already, against nginx sending that file"


def run(lab):
    path = lab.large_tree
    with lab.start_nixbuild(lab.store) as ours:
        lab.check_nar(ours.port, path, ".zst", through=["zstd", "-dc"])
        root = lab.new_directory("warm")
        (root / "path.nar.zst").write_bytes(load.get(ours.port, path.nar(".zst")))
        with lab.start_nginx(root, nopush=True) as nginx:
            series, last, notes = large.compare(
                lab,
                {
                    "nixbuild": lambda: load.download(ours.port, path.nar(".zst")),
                    "nginx": lambda: load.download(nginx.port, "/path.nar.zst"),
                },
                {"nixbuild": lambda: ours.pids, "nginx": lambda: nginx.pids},
            )
    ours_seconds, peer_seconds = series["nixbuild"].median, series["nginx"].median
    return [
        Result(
            f"warm .nar.zst of {lab.size_text}",
            peer_seconds / ours_seconds,
            0.95,
            True,
            "×",
            large.rate_text(last["nixbuild"].size, ours_seconds),
            f"nginx {large.rate_text(last['nginx'].size, peer_seconds)}",
            notes,
        )
    ]
