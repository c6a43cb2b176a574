"""A compressed NAR that nobody has asked for before."""

from lib import large, load, measure
from lib.lab import remove_tree
from lib.report import Result

ABOUT = "a cold .nar.zst of 1 GiB of executables and text, against the zstd command; first byte"


def run(lab):
    path = lab.large_tree
    archive = lab.dump(path)
    command = ["zstd", f"-{lab.compression_level}", f"-T{lab.threads}", "-q", "-c", archive]
    first_bytes = measure.Series()

    def cold():
        state = lab.new_directory("state")
        with lab.start_nixbuild(lab.store, state) as server:
            # The narinfo first, as a client does it.
            load.get(server.port, path.narinfo)
            transfer = large.download(server, path.nar(".zst"))
        remove_tree(state)
        first_bytes.values.append(transfer.first_byte)
        return transfer

    comparison = large.Comparison(
        lab, {"nixbuild": cold, "zstd": lambda: load.drain_command(command)}
    )
    size = archive.stat().st_size
    archive.unlink()
    del first_bytes.values[0]  # the warm-up
    slowest = max(first_bytes.values) * 1e3
    compressed = {name: size / transfer.size for name, transfer in comparison.last.items()}
    return [
        Result(
            f"cold .nar.zst of {lab.size_text}",
            comparison.seconds("zstd") / comparison.seconds("nixbuild"),
            0.9,
            True,
            "×",
            f"{comparison.rate_text('nixbuild', size)}, to 1/{compressed['nixbuild']:.2f}",
            f"zstd -{lab.compression_level} -T{lab.threads} {comparison.rate_text('zstd', size)}, "
            f"to 1/{compressed['zstd']:.2f}",
            comparison.notes(),
        ),
        Result(
            "cold .nar.zst, first byte",
            slowest,
            50,
            False,
            "ms",
            f"slowest {slowest:.1f} ms, median {first_bytes.median * 1e3:.1f} ms",
        ),
    ]
