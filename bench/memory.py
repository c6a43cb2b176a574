"""Memory: idle, and with many slow downloads at once."""

import pathlib
import socket
import time

from lib import load, measure
from lib.report import Result

ABOUT = "memory of an idle server, and with 256 slow downloads at once"

MIB = 1 << 20


def resident(pid):
    """(resident set, proportional set) in bytes."""

    def field(file, name):
        for line in pathlib.Path(f"/proc/{pid}/{file}").read_text("ascii").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(name)

    return field("status", "VmRSS"), field("smaps_rollup", "Pss")


class SlowDownloads:
    """Connections that take 16 KiB each some ten times a second."""

    def __init__(self, port, urls):
        self.connections = []
        self.received = [0] * len(urls)
        for url in urls:
            connection = socket.socket()
            # What the kernel holds back for us is not the server's memory; little of it, please.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
            connection.connect(("127.0.0.1", port))
            connection.sendall(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            connection.settimeout(30)
            self.connections.append(connection)

    def turn(self):
        for number, connection in enumerate(self.connections):
            piece = connection.recv(16 * 1024)
            if not piece or (not self.received[number] and b" 200 " not in piece[:16]):
                raise load.WrongAnswer(f"a slow download ended after {self.received[number]} bytes")
            self.received[number] += len(piece)

    def close(self):
        for connection in self.connections:
            connection.close()


def most(pid, port, urls, seconds):
    """The most memory that the server had while it sent all of `urls` at once for `seconds`."""
    downloads = SlowDownloads(port, urls)
    top = (0, 0)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            downloads.turn()
            top = tuple(map(max, top, resident(pid)))
            time.sleep(0.05)
    finally:
        downloads.close()
    return top


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
