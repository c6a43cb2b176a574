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
            comparison = large.Comparison(
                lab,
                {
                    "nixbuild": lambda: large.download(ours, path.nar(".zst")),
                    "nginx": lambda: large.download(nginx, "/path.nar.zst"),
                },
            )
    return [
        Result(
            f"warm .nar.zst of {lab.size_text}",
            comparison.seconds("nginx") / comparison.seconds("nixbuild"),
            0.95,
            True,
            "×",
            comparison.rate_text("nixbuild"),
            f"nginx {comparison.rate_text('nginx')}",
            comparison.notes(),
        )
    ]
