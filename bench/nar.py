"""An uncompressed NAR of one large file."""

from lib import large
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
        comparison = large.Comparison(
            lab,
            {
                "nixbuild": lambda: large.download(ours, path.nar()),
                "nginx": lambda: large.download(nginx, f"/{archive.name}"),
            },
        )
    archive.unlink()
    return [
        Result(
            f".nar of one file of {lab.size_text}",
            comparison.seconds("nginx") / comparison.seconds("nixbuild"),
            0.9,
            True,
            "×",
            comparison.rate_text("nixbuild"),
            f"nginx {comparison.rate_text('nginx')}",
            comparison.notes(),
        )
    ]
