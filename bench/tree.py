"""An uncompressed NAR of many small files."""

from lib import large, load
from lib.report import Result

ABOUT = "the .nar of a tree of 50,000 small files, against nix-store --dump to a pipe"


def run(lab):
    path = lab.small_tree
    with lab.start_nixbuild(lab.store) as ours:
        lab.check_nar(ours.port, path)
        comparison = large.Comparison(
            lab,
            {
                "nixbuild": lambda: large.download(ours, path.nar()),
                "nix-store": lambda: load.drain_command(["nix-store", "--dump", path.real]),
            },
        )
    return [
        Result(
            f".nar of a tree of {lab.small_files:,} small files",
            comparison.seconds("nix-store") / comparison.seconds("nixbuild"),
            1.5,
            True,
            "×",
            comparison.rate_text("nixbuild"),
            f"nix-store --dump {comparison.rate_text('nix-store')}",
            comparison.notes(),
        )
    ]
