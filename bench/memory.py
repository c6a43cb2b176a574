"""Memory: idle, and with many slow downloads at once."""

import time

from lib import load, measure
from lib.memory import MIB, most, resident
from lib.report import Result

ABOUT = "memory of an idle server, and with 256 slow downloads at once"


def run(lab):
    results = []
    count = lab.slow_downloads
    seconds = 2 * lab.seconds

    def add(what, limit, memory, note=""):
        results.append(
            Result(
                f"memory, {what}",
                memory[0] / MIB,
                limit,
                False,
                "MiB",
                f"RSS {memory[0] / MIB:.1f} MiB, PSS {memory[1] / MIB:.1f} MiB",
                notes=[note] if note else [],
            )
        )

    file, tree = lab.large_file, lab.small_tree
    warm = lab.large_tree
    measure.say(f"{count} slow downloads")
    with lab.start_nixbuild(lab.store) as server:
        pid = server.process.pid
        load.get(server.port, file.narinfo)
        time.sleep(1)
        add("idle", 64, resident(pid))
        # Files that go out by sendfile and files that are read, half of each.
        urls = [(file if number % 2 else tree).nar() for number in range(count)]
        add(f"{count} slow downloads of .nar", 160, most(pid, server.port, urls, seconds))

    with lab.start_nixbuild(lab.store) as server:
        pid = server.process.pid
        load.download(server.port, warm.nar(".zst"))
        add(
            f"{count} slow downloads of warm .nar.zst",
            160,
            most(pid, server.port, [warm.nar(".zst")] * count, seconds),
            "the server has compressed that file before",
        )
        time.sleep(1)
        add("idle again after that", 64, resident(pid))
    return results
