"""How much memory a server has, idle and while many take large answers slowly."""

import pathlib
import socket
import time

from lib import load

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
