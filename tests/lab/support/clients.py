"""Many HTTP clients in one process, which know what they are to get: `python3 -m support.clients MODE < JSON`.

They run in a machine's network; see support/load.py. What they did is one line of JSON on stdout.

  read   `clients` connections ask for what is in `wants`, in an order of their own, `rounds` times or until SIGTERM
  loris  `clients` connections send a header a byte at a time until they are closed
  idle   `clients` connections, each other of which has got `url`, are held until stdin ends
"""

import asyncio
import collections
import contextlib
import hashlib
import json
import random
import signal
import socket
import sys

PATIENCE = 20  # seconds without a byte
CUT = (OSError, EOFError, asyncio.TimeoutError)  # the connection's end, not the server's word


class Wrong(Exception):
    """An answer that no fault excuses."""


class Connection:
    def __init__(self, host, port):
        self.address = host, port
        self.reader = self.writer = None

    async def open(self):
        self.reader, self.writer = await asyncio.wait_for(asyncio.open_connection(*self.address), PATIENCE)

    def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def line(self):
        line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
        if not line.endswith(b"\n"):
            raise EOFError
        return line.decode("latin-1").strip()

    async def get(self, url, take, begin=0):
        """The status and headers; `take` gets the body's pieces. A 416 or the like has a body too."""
        if self.writer is None:
            await self.open()
        extent = f"Range: bytes={begin}-\r\n" if begin else ""
        self.writer.write(f"GET {url} HTTP/1.1\r\nHost: {self.address[0]}\r\n{extent}\r\n".encode())
        status = int((await self.line()).split()[1])
        headers = {}
        while line := await self.line():
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        if "content-length" in headers:
            await self.pieces(int(headers["content-length"]), take)
        else:
            while size := int(await self.line(), 16):
                await self.pieces(size, take)
                await self.line()
            await self.line()
        return status, headers

    async def pieces(self, size, take):
        while size > 0:
            piece = await asyncio.wait_for(self.reader.read(min(size, 1 << 18)), PATIENCE)
            if not piece:
                raise EOFError
            size -= len(piece)
            take(piece)


class Text:
    """A body that is asked for anew after a cut."""

    def __init__(self):
        self.text = bytearray()

    @property
    def size(self):
        return len(self.text)

    def begin(self):
        self.text.clear()
        return 0

    def take(self, piece):
        self.text.extend(piece)


class Digest:
    """A body that only its hash is kept of, and that is gone on with after a cut."""

    def __init__(self):
        self.sha256 = hashlib.sha256()
        self.size = 0

    def begin(self):
        return self.size

    def take(self, piece):
        self.sha256.update(piece)
        self.size += len(piece)


class Readers:
    """What `read` does, and counts of it."""

    def __init__(self, host, port, wants, clients, rounds=None, seed=0, **_):
        self.address = host, port
        self.wants = wants
        self.clients = clients
        self.rounds = rounds
        self.random = random.Random(seed)
        self.counts = collections.Counter(answers=0, bytes=0, cut=0, resumed=0)
        self.wrong = []
        self.stopped = False

    async def run(self):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stop)
        await asyncio.gather(*(self.client() for _ in range(self.clients)))
        return {**self.counts, "wrong": self.wrong[:20]}

    def stop(self):
        self.stopped = True

    async def client(self):
        connection = Connection(*self.address)
        done = 0
        while not self.stopped and done != self.rounds:
            done += 1
            for want in self.random.sample(self.wants, len(self.wants)):
                if self.stopped:
                    break
                try:
                    await (self.narinfo if "store_path" in want else self.file)(connection, want)
                except Wrong as error:
                    self.wrong.append(f"{want['url']}: {error}")
                    connection.close()
        connection.close()

    async def whole(self, connection, want, body):
        """Gets the body whole, going on where a cut connection has left it; False where there is no time left."""
        while True:
            begin = body.begin()
            try:
                status, _ = await connection.get(want["url"], body.take, begin)
            except CUT:
                connection.close()
                self.counts["cut"] += 1
                if self.stopped:
                    return False
                if 0 < body.size == want.get("size"):
                    return True
                await asyncio.sleep(0.2)
                continue
            if status != (206 if begin else 200):
                raise Wrong(f"status {status} for the bytes from {begin} on")
            if begin:
                self.counts["resumed"] += 1
            self.counts["answers"] += 1
            self.counts["bytes"] += body.size
            return True

    async def narinfo(self, connection, want):
        body = Text()
        if not await self.whole(connection, want, body):
            return
        lines = [line.split(": ", 1) for line in body.text.decode().splitlines()]
        fields = dict(lines)
        found = {name: fields.get(name) for name in ("StorePath", "NarHash")}
        if found != {"StorePath": want["store_path"], "NarHash": want["nar_hash"]}:
            raise Wrong(f"it says {found}")
        if "FileHash" in fields and fields["FileHash"] != want["file_hash"]:
            raise Wrong(f"its FileHash is {fields['FileHash']}")
        if not any(name == "Sig" and value == want["signature"] for name, value in lines):
            raise Wrong("it is not signed")

    async def file(self, connection, want):
        body = Digest()
        if await self.whole(connection, want, body) and body.sha256.hexdigest() != want["sha256"]:
            raise Wrong(f"{body.size} bytes that are not the right ones")


async def loris(host, port, clients, **_):
    """How the connections ended, and how many bytes they had sent until then at most."""
    ends = collections.Counter()
    most = 0

    async def one():
        nonlocal most
        reader, writer = await asyncio.open_connection(host, port)
        sent = 0
        answer = asyncio.ensure_future(reader.read(12))
        head = b"GET /nix-cache-info HTTP/1.1\r\nX-Slow: "
        with contextlib.suppress(OSError):
            while not answer.done():
                writer.write(head[sent : sent + 1] or b"x")
                sent += 1
                await asyncio.wait([answer], timeout=0.5)
        try:
            ends[answer.result().decode("latin-1").split()[1]] += 1
        except (OSError, IndexError):
            ends["closed"] += 1
        most = max(most, sent)
        writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(clients)))
    return {"ends": ends, "most_sent": most}


async def idle(host, port, clients, url, **_):
    """Says `held` once all are connected, as far as the server's kernel is concerned."""
    held = []
    for number in range(clients):
        connection = socket.create_connection((host, port), PATIENCE)
        if number % 2 == 0:
            connection.sendall(f"GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        held.append(connection)
    print("held", flush=True)
    sys.stdin.read()
    return {"held": len(held)}


def main():
    mode = {"read": lambda **what: Readers(**what).run(), "loris": loris, "idle": idle}[sys.argv[1]]
    what = json.loads(sys.stdin.readline())
    print(json.dumps(asyncio.run(mode(**what))), flush=True)


if __name__ == "__main__":
    main()
