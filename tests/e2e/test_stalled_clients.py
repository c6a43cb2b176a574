"""Clients that ask for much, take nothing and go: what they cost the server is bounded, and it lives on."""

import bz2
import random
import socket
import struct
import time

from support import oracle
from support.http import fetch

LOG = "a" * 32 + "-big.drv"


def stalled(server, path):
    """Asks for `path` and takes next to nothing of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def resident(server):
    """Bytes."""
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def write_log(store):
    text = b"".join(b"line %d of many\n" % number for number in range(1_000_000))
    directory = store.log_dir / "drvs" / LOG[:2]
    directory.mkdir(parents=True)
    (directory / (LOG[2:] + ".bz2")).write_bytes(bz2.compress(text))
    return text


def log_once_there_is_room(server):
    """The log, asked for until the server has given up enough of those that were asked for before."""
    deadline = time.monotonic() + 30
    while (answer := fetch(server, f"/log/{LOG}")).status == 503 and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer.body


def test_clients_that_go_while_a_log_is_decompressed(writable_store, serve):
    store, _ = writable_store
    text = write_log(store)
    server = serve(store)
    for _ in range(5):
        connections = [stalled(server, f"/log/{LOG}") for _ in range(30)]
        # Each has an answer; it is 503 while those of the round before are still being given up.
        assert b"HTTP/1.1 200" in [connection.recv(12) for connection in connections]
        for connection in connections:
            reset(connection)
    assert server.alive()
    assert log_once_there_is_room(server) == text


def test_logs_that_are_decompressed_at_once_are_bounded(writable_store, serve):
    store, _ = writable_store
    text = write_log(store)
    server = serve(store)
    connections = [stalled(server, f"/log/{LOG}") for _ in range(40)]
    statuses = [connection.recv(12) for connection in connections]
    assert statuses.count(b"HTTP/1.1 200") == 32
    assert statuses.count(b"HTTP/1.1 503") == 8
    for connection in connections:
        reset(connection)
    assert log_once_there_is_room(server) == text


def test_one_listing_serves_all_who_ask_for_it(root, writable_store, serve):
    store, _ = writable_store
    tree = root / "tree"
    tree.mkdir()
    for number in range(20_000):
        (tree / f"{number:0200}").touch()
    path = f"/{oracle.hash_part(store.add(tree))}.ls"
    server = serve(store)
    listing = fetch(server, path).body
    assert len(listing) > 5_000_000
    before = resident(server)
    connections = [stalled(server, path) for _ in range(60)]
    for connection in connections:
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert resident(server) - before < 150_000_000
    for connection in connections:
        reset(connection)
    assert fetch(server, path).body == listing


def test_a_store_that_cannot_be_read_is_not_empty(writable_store, serve, nobody):
    store, path = writable_store
    server = serve(store, user=nobody)
    fields = oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(path)}.narinfo").text)
    store.real_store_dir.chmod(0o700)
    digest = fields["NarHash"].removeprefix("sha256:")
    url, compressed = f"/nar/{digest}.nar", f"/nar/{oracle.nar_name(digest, '.zst')}"
    resumed = {"Range": "bytes=8-"}
    assert fetch(server, url).status == 500
    assert fetch(server, url, headers=resumed).status == 500
    assert fetch(server, compressed, headers=resumed).status == 500
    store.real_store_dir.chmod(0o755)
    assert fetch(server, url).status == 200
    assert fetch(server, compressed, headers=resumed).status == 206


def test_clients_that_take_nothing_of_what_is_compressed_for_them_alone(root, writable_store, serve, monkeypatch):
    """Each would hold a compressor's 20 MiB; and so many would leave none for others."""
    # An AddressSanitizer keeps what was freed, by default up to 256 MiB of it.
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=1")
    store, _ = writable_store
    file = root / "noise"
    file.write_bytes(random.Random(1).randbytes(20_000_000))
    path = store.add(file)
    server = serve(store, "--nar-cache-size", "0")
    fields = oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(path)}.narinfo").text)
    url = f"/nar/{fields['NarHash'].removeprefix('sha256:')}.nar.zst"
    whole = fetch(server, url).body
    assert oracle.decompress(whole, "zstd") == oracle.nar(store.real(path))
    before = resident(server)
    connections = [stalled(server, url) for _ in range(80)]
    for connection in connections:
        assert connection.recv(12) == b"HTTP/1.1 200"
    most, deadline = 0, time.monotonic() + 3
    while time.monotonic() < deadline:
        most = max(most, resident(server) - before)
        time.sleep(0.05)
    assert fetch(server, url).body == whole
    assert max(most, resident(server) - before) < 400_000_000
    for connection in connections[1:]:
        reset(connection)
    # The one that has waited longest goes on.
    received = b""
    while not received.endswith(b"\r\n0\r\n\r\n") and (piece := connections[0].recv(1 << 16)):
        received += piece
    assert dechunked(received.partition(b"\r\n\r\n")[2]) == whole


def dechunked(body):
    pieces = []
    while not body.startswith(b"0\r\n"):
        size, _, rest = body.partition(b"\r\n")
        pieces.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]
    return b"".join(pieces)
