"""How soon those who follow a build have what it prints."""

import selectors
import socket
import time

from lib import load, measure
from lib.builds import BuildServer
from lib.memory import resident
from lib.report import Result

ABOUT = "how soon a line that a build prints has reached 100 clients that follow it"

FOLLOWERS = 100
MARK = b"printed at "


class Follower:
    """A connection to the event stream; `lines` are (when it was printed, when it came), seconds."""

    def __init__(self, port, path):
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.connection.setblocking(False)
        self.rest = b""
        self.lines = []
        self.ended = False

    def fileno(self):
        return self.connection.fileno()

    def read(self):
        piece = self.connection.recv(1 << 16)
        now = time.time()
        *lines, self.rest = (self.rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: ") and MARK in line:
                self.lines.append((float(line.rpartition(MARK)[2]), now))
            elif line == b"event: end":
                self.ended = True
        if not piece and not self.ended:
            raise load.WrongAnswer("a stream was cut off before the build's end")


def follow_all(port, path, patience):
    """Followers that have read the stream to its end."""
    followers = [Follower(port, path) for _ in range(FOLLOWERS)]
    deadline = time.monotonic() + patience
    with selectors.DefaultSelector() as selector:
        for follower in followers:
            selector.register(follower, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() > deadline:
                raise load.WrongAnswer("the build did not come to its end")
            for key, _ in selector.select(1):
                key.fileobj.read()
                if key.fileobj.ended:
                    selector.unregister(key.fileobj)
                    key.fileobj.connection.close()
    return followers


def run(lab):
    lines = 10 if lab.quick else 30
    # 0.37 s: at other places of whatever rhythm the server has.
    script = (
        f"i=0; while [ $i -lt {lines} ]; do sleep 0.37; date '+{MARK.decode()}%s.%N'; "
        "i=$((i + 1)); done; echo done > $out"
    )
    builds = BuildServer(lab, {"slow": script})
    with builds.start_api() as server:
        load.post(server.port, "/build/trigger")
        followers = follow_all(server.port, f"/build/logs/{builds.name}/stream?build=1", 120)
        memory = resident(server.process.pid)[0]
        processor = measure.processor_seconds([server.process.pid])
    if any(len(follower.lines) != lines for follower in followers):
        raise load.WrongAnswer(f"not every follower got {lines} lines")
    delays = sorted(came - printed for follower in followers for printed, came in follower.lines)
    worst = delays[-1] * 1e3
    return [
        Result(
            f"a build's line at all of {FOLLOWERS} followers, {lines} lines",
            worst, 100, False, "ms",
            f"slowest {worst:.0f} ms, median {delays[len(delays) // 2] * 1e3:.0f} ms",
            notes=[
                "from the program's printing to the client's reading: through Nix, run-build, "
                "the log file and serve-api",
                f"the server took {processor:.2f} s of processor time for the whole build and has "
                f"{memory / (1 << 20):.0f} MiB",
            ],
        )
    ]  # fmt: skip
