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
    costs = measure.Series()

    def cold():
        state = lab.new_directory("state")
        with lab.start_nixbuild(lab.store, state) as server:
            # The narinfo first, as a client does it.
            load.get(server.port, path.narinfo)
            transfer = load.download(server.port, path.nar(".zst"))
            costs.values.append(measure.processor_seconds(server.pids))
        remove_tree(state)
        first_bytes.values.append(transfer.first_byte)
        return transfer

    series, last, notes = large.compare(
        lab, {"nixbuild": cold, "zstd": lambda: load.drain_command(command)}, {}
    )
    size = archive.stat().st_size
    archive.unlink()
    # One of nixbuild's rounds is the warm-up.
    slowest = max(first_bytes.values[1:]) * 1e3
    notes.append(f"nixbuild: {costs.median:.2f} s of the server's processor time")
    notes.append(
        f"first byte: median {first_bytes.median * 1e3:.1f} ms, slowest {slowest:.1f} ms"
    )
    ours_seconds, peer_seconds = series["nixbuild"].median, series["zstd"].median
    return [
        Result(
            f"cold .nar.zst of {lab.size_text}",
            peer_seconds / ours_seconds,
            0.9,
            True,
            "×",
            f"{large.rate_text(size, ours_seconds)}, ratio {size / last['nixbuild'].size:.2f}",
            f"zstd -{lab.compression_level} -T{lab.threads} {large.rate_text(size, peer_seconds)}, "
            f"ratio {size / last['zstd'].size:.2f}",
            notes,
        ),
        Result(
            "cold .nar.zst, first byte",
            slowest,
            50,
            False,
            "ms",
            f"median {first_bytes.median * 1e3:.1f} ms, slowest {slowest:.1f} ms",
        ),
    ]
