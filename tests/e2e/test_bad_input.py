"""Bad requests cost their sender an answer of 4xx or the connection, and nobody else anything."""

import contextlib
import random
import socket
import time

import pytest

from support import oracle
from support.http import connect, exchange, fetch, status_of


@pytest.fixture(autouse=True)
def others_are_served(request, shared_server, sample):
    yield
    started = time.monotonic()
    assert fetch(shared_server, f"/{oracle.hash_part(sample.lib)}.narinfo").status == 200
    assert time.monotonic() - started < 5
    assert shared_server.alive()


@pytest.mark.parametrize(
    "path",
    [
        "/x.narinfo", "/" + "e" * 32 + ".narinfo", "/" + "0" * 31 + ".narinfo", "/" + "0" * 33 + ".narinfo",
        "/" + "A" * 32 + ".narinfo", "/" + "0" * 32 + ".narinfo.narinfo", "/.narinfo", "/%00.narinfo",
        "/../../etc/passwd", "/%2e%2e%2fetc%2fpasswd", "/nar/../../../etc/passwd", "/nar/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/nar/..%2f..%2fcache-key", "/log/../../../../etc/passwd", "/log/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/log/" + "0" * 32 + "-..%2f..%2fx.drv", "/log/%00.drv", "/nar-cache/x", "/cache-key", "//nix-cache-info/..",
        "/nar/", "/nar/x.nar", "/nar/" + "0" * 52 + ".nar.gz", "/nar/" + "0" * 51 + ".nar", "/nar/" + "u" * 52 + ".nar",
        "/nar/" + "0" * 52 + ".nar?hash=..%2f", "/nar/" + "0" * 52 + ".nar?hash=", "/no/such/route", "/nix-cache-info/",
        "/realisations/x.doi", "/realisations/sha256:!.doi", "/" + "0" * 32 + ".ls", "/%", "/%zz", "/%c0%ae%c0%ae/x",
        "/nix-cache-info%20", "/build-trace-v2/x", "/" + "a" * 4000,
    ],
)  # fmt: skip
def test_bad_paths(shared_server, path):
    answer = fetch(shared_server, path)
    assert 400 <= answer.status < 500, answer
    assert b"root:" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods(shared_server, sample, method):
    for path in ("/nix-cache-info", f"/{oracle.hash_part(sample.lib)}.narinfo"):
        answer = fetch(shared_server, path, method, {"Content-Length": "0"})
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD"


def test_overlong_url(shared_server):
    assert fetch(shared_server, "/" + "0" * 9000).status == 414
    assert fetch(shared_server, "/nix-cache-info?" + "x" * 9000).status == 414


def test_header_flood(shared_server):
    head = b"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\n"
    many = head + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n"
    long = head + b"X-Long: " + b"y" * 60_000 + b"\r\n\r\n"
    endless = head + b"X-Endless: " + b"y" * 5_000_000
    for request in (many, long):
        assert status_of(exchange(shared_server, request)) == 431
    # The rest of it meets a closed socket, whose reset may overtake the answer.
    assert status_of(exchange(shared_server, endless)) in (431, None)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /nix-cache-info HTTP/1.1\r\nHost x\r\n\r\n", b"GET /nix-cache-info HTTP/1.1\r\n : x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\xff" * 1000,
        b"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http(shared_server, request_bytes):
    with connect(shared_server) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    status = status_of(received)
    assert status is None or 200 <= status < 500, received


def test_random_bytes(shared_server):
    generator = random.Random(7)
    valid = b"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for _ in range(200):
        mutated = bytearray(valid)
        for _ in range(generator.randrange(1, 6)):
            mutated[generator.randrange(len(mutated))] = generator.randrange(256)
        with connect(shared_server) as connection:
            try:
                connection.sendall(mutated)
                connection.shutdown(socket.SHUT_WR)
                status = status_of(connection.recv(65536))
            except ConnectionResetError:
                status = None
        assert status is None or status < 500, bytes(mutated)


@pytest.mark.parametrize(
    "value",
    ["bytes=abc-", "bytes=5-2", "bytes=--5", "bytes=-", "bytes=1-2,4-5", "bytes=-0", "bytes",
     "bytes=99999999999999999999999-", "bytes=0-0,-1", "bytes=1.5-2"],
)  # fmt: skip
def test_bad_ranges(shared_server, sample, value):
    """Nix never sends these. They are refused: an answer of 200 would be taken for the rest of a download."""
    fields = oracle.parse_narinfo(fetch(shared_server, f"/{oracle.hash_part(sample.lib)}.narinfo").text)
    nar_hash = fields["NarHash"].removeprefix("sha256:")
    for suffix in ("", ".zst"):
        url = f"/nar/{oracle.nar_name(nar_hash, suffix)}"
        answer = fetch(shared_server, url, headers={"Range": value})
        assert answer.status in (400, 416), answer
    answer = fetch(shared_server, f"/nar/{nar_hash}.nar.zst", headers={"Range": value})
    assert answer.status == 404, answer


def test_request_body_is_not_kept(shared_server):
    request = b"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    with connect(shared_server) as connection:
        connection.sendall(request)
        assert status_of(connection.recv(65536)) == 413


def test_slow_header(shared_server):
    """A header that trickles in is refused after ten seconds, however busy it looks."""
    with connect(shared_server, timeout=30) as connection:
        started = time.monotonic()
        connection.sendall(b"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\n")
        connection.settimeout(0.5)
        received = None
        while received is None and time.monotonic() - started < 25:
            # The server may have answered and closed already; its answer can still be read.
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(b"X: y\r\n")
            with contextlib.suppress(TimeoutError):
                received = connection.recv(65536)
        assert 8 < time.monotonic() - started < 16
        assert received is not None and status_of(received) == 408


def test_connection_that_is_quiet_at_first(shared_server):
    """Clients open connections ahead of their requests: no 408 may wait there for the first of them."""
    connections = [connect(shared_server, timeout=30) for _ in range(40)]
    time.sleep(11)
    for connection in connections:
        connection.sendall(b"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status_of(connection.recv(65536)) == 200
        connection.close()


def test_slow_reader_gets_everything(shared_server, sample):
    """Who reads slowly is waited for; a pause longer than the time-out for headers breaks nothing."""
    fields = oracle.parse_narinfo(fetch(shared_server, f"/{oracle.hash_part(sample.blob)}.narinfo").text)
    path = f"/nar/{fields['NarHash'].removeprefix('sha256:')}.nar"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", shared_server.port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        received = connection.recv(1000)
        time.sleep(12)
        while chunk := connection.recv(1 << 16):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    if b"chunked" in head.lower():
        pytest.fail("the length of a NAR is known before")
    assert body == oracle.nar(sample.store.real(sample.blob))


def test_half_closed_socket(shared_server, sample):
    """A client that sends no more can still read, as `nc -N` does."""
    fields = oracle.parse_narinfo(fetch(shared_server, f"/{oracle.hash_part(sample.blob)}.narinfo").text)
    path = f"/nar/{fields['NarHash'].removeprefix('sha256:')}.nar"
    with connect(shared_server, timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(1 << 16):
            received += chunk
    assert received.endswith(oracle.nar(sample.store.real(sample.blob)))


def test_clients_that_vanish(shared_server, sample):
    """Connections dropped in mid-download, with and without a reset."""
    fields = oracle.parse_narinfo(fetch(shared_server, f"/{oracle.hash_part(sample.blob)}.narinfo").text)
    nar_hash = fields["NarHash"].removeprefix("sha256:")
    for n in range(60):
        connection = connect(shared_server)
        suffix = ("", ".zst", ".xz")[n % 3]
        connection.sendall(f"GET /nar/{nar_hash}.nar{suffix} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        if n % 2:
            connection.recv(100)
        connection.close()
    for suffix in ("", ".zst", ".xz"):
        body = fetch(shared_server, f"/nar/{nar_hash}.nar{suffix}").body
        compression = {"": "none", ".zst": "zstd", ".xz": "xz"}[suffix]
        assert oracle.decompress(body, compression) == oracle.nar(sample.store.real(sample.blob))
