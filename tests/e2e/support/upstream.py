"""`nixbuild serve-proxy`, and upstreams for it: a real cache behind a filter, and such as misbehave."""

import json
import pathlib
import socket
import struct
import threading
import time

import pytest

from support import oracle
from support.http import fetch
from support.server import BINARY, ServerProcess, program_environment


def narinfo_of(server, store_path):
    return fetch(server, f"/{oracle.hash_part(store_path)}.narinfo")


def check_ranges(server, path, whole):
    """All kinds of ranges, and HEAD, of what `server` has at `path`."""
    size = len(whole)
    for first, last in ((0, 99), (1, size - 1), (size // 2, size // 2 + 10), (size - 1, "")):
        answer = fetch(server, path, headers={"Range": f"bytes={first}-{last}"})
        end = size if last == "" else last + 1
        assert answer.status == 206 and answer.body == whole[first:end], (first, last)
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{size}"
    assert fetch(server, path, headers={"Range": "bytes=-100"}).body == whole[-100:]
    # Nix asks so for what a cut download lacks, if that is nothing.
    assert fetch(server, path, headers={"Range": f"bytes={size}-"}).status == 206
    assert fetch(server, path, headers={"Range": f"bytes={size + 1}-"}).status == 416
    head = fetch(server, path, method="HEAD")
    assert head.status == 200 and head.body == b"" and int(head.headers["content-length"]) == size
    return head


class Proxy(ServerProcess):
    """A proxy of these upstreams. `prefix` is what its command begins with, such as a network's."""

    def __init__(self, *upstreams, store_dir="/nix/store", options=(), prefix=()):
        super().__init__()
        self.upstreams = upstreams
        self.store_dir = store_dir
        self.options = options
        self.prefix = prefix
        self.listen = "127.0.0.1:0"

    def start(self):
        command = [*self.prefix, BINARY, "serve-proxy", "--listen", self.listen, "--store-dir", self.store_dir, *self.options]
        for upstream in self.upstreams:
            command += ["--upstream", upstream]
        self.start_process([str(word) for word in command], program_environment())
        self.listen = f"127.0.0.1:{self.port}"
        return self

    def states(self):
        """What /health says of the upstreams, in their order."""
        return [upstream["state"] for upstream in json.loads(fetch(self, "/health").text)["upstreams"]]

    def wait_for_states(self, *wanted, timeout=10):
        deadline = time.monotonic() + timeout
        while (states := self.states()) != list(wanted):
            assert time.monotonic() < deadline, f"{states}\n{self.log_text()}"
            time.sleep(0.02)

    def metric(self, name):
        """The sum of the samples of this family."""
        lines = [line for line in fetch(self, "/metrics").text.splitlines() if line.startswith(f"nixbuild_proxy_{name}")]
        return sum(float(line.split()[-1]) for line in lines)


def cache_info(store_dir):
    return respond(200, f"StoreDir: {store_dir}\nWantMassQuery: 1\nPriority: 30\n".encode())


def respond(status, body=b"", headers=""):
    return (f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n{headers}\r\n").encode() + body


class Upstream:
    """A server of bytes: `answer(path, headers)` returns those of one response, None to close the connection, or a
    function that is given the connection and closes it."""

    def __init__(self, answer):
        self.answer = answer
        self.paths = []
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Nothing listens there any more; what is open is reset."""
        # Closing alone does not end an accept() of another thread.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for connection in self._open:
            reset(connection)

    def asked(self, path):
        return self.paths.count(path)

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        received = b""
        try:
            while True:
                while b"\r\n\r\n" not in received:
                    data = connection.recv(65536)
                    if not data:
                        return
                    received += data
                head, _, received = received.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                path = lines[0].split(" ")[1]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                self.paths.append(path)
                answer = self.answer(path, headers)
                if callable(answer):
                    answer(connection)
                    return
                if answer is None:
                    return
                connection.sendall(answer)
        except OSError:
            pass
        finally:
            connection.close()


def reset(connection):
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    except OSError:
        pass


def trickle(answer):
    """One byte a second of it, until the other side has enough."""

    def send(connection):
        for i in range(len(answer)):
            connection.sendall(answer[i : i + 1])
            time.sleep(1)

    return send


def through(server, change=lambda path, answer: None):
    """Answers of a real server, as `change` makes them: it may edit the answer, or return another."""

    def answer(path, headers):
        wanted = {name: value for name, value in headers.items() if name in ("range", "if-none-match")}
        real = fetch(server, path, headers=wanted)
        changed = change(path, real)
        if changed is not None:
            return changed
        extra = "".join(f"{name}: {real.headers[name]}\r\n" for name in ("content-range", "etag") if name in real.headers)
        return respond(real.status, real.body, extra)

    return answer


def resolver_that_hangs(root, address):
    """What a command begins with to have this name server, which is to answer nothing."""
    for file in ("resolv.conf", "nsswitch.conf"):
        if not pathlib.Path("/etc", file).is_file():
            pytest.skip(f"no /etc/{file}")
    (root / "resolv.conf").write_text(f"nameserver {address}\n")
    (root / "nsswitch.conf").write_text("hosts: files dns\n")
    script = 'mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf && shift && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(root)]
