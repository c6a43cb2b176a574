"""An uncompressed NAR of many small files."""

from lib import large, load
from lib.report import Result

ABOUT = "the .nar of a tree of 50,000 small files, against nix-store --dump to a pipe"


def run(lab):
    path = lab.small_tree
    with lab.start_nixbuild(lab.store) as ours:
        lab.check_nar(ours.port, path)
        series, last, notes = large.compare(
            lab,
            {
                "nixbuild": lambda: load.download(ours.port, path.nar()),
                "nix-store": lambda: load.drain_command(["nix-store", "--dump", path.real]),
            },
            {"nixbuild": lambda: ours.pids},
        )
    ours_seconds, peer_seconds = series["nixbuild"].median, series["nix-store"].median
    return [
        Result(
            f".nar of a tree of {lab.small_files:,} small files",
            peer_seconds / ours_seconds,
            1.5,
            True,
            "×",
            large.rate_text(last["nixbuild"].size, ours_seconds),
            f"nix-store --dump {large.rate_text(last['nix-store'].size, peer_seconds)}",
            notes,
        )
    ]
