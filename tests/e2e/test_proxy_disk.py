"""The proxy's cache on disk: what it serves while upstreams are away, and whatever happens to its directory."""

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import threading
import time

import pytest

from support import oracle
from support.http import connect, exchange, fetch
from support.proxy import CuttingProxy
from support.server import Server
from support.upstream import Proxy, check_ranges, narinfo_of, respond, through


def until(condition, what="", timeout=10):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def nar_path(server, store_path):
    return "/" + oracle.parse_narinfo(narinfo_of(server, store_path).text)["URL"]


def raw_get(server, path):
    """The head and the body of what comes, whether or not that is whole."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    head, _, body = exchange(server, request).partition(b"\r\n\r\n")
    return head, body


class Gated:
    """An upstream that sends what `server` has, and NARs without their second half until `gate` is set."""

    def __init__(self, server):
        self.gate = threading.Event()
        self.waiting = threading.Event()
        real = through(server)

        def answer(path, headers):
            whole = real(path, headers)
            if not path.startswith("/nar/") or self.gate.is_set():
                return whole

            def send(connection):
                connection.sendall(whole[: len(whole) // 2])
                self.waiting.set()
                self.gate.wait(20)
                connection.sendall(whole[len(whole) // 2 :])

            return send

        self.answer = answer

    @contextlib.contextmanager
    def begun(self, proxy, path):
        """A client that has got the beginning, and is still there."""
        with connect(proxy) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert self.waiting.wait(10) and connection.recv(100)
            yield


class KeepingProxy(Proxy):
    """A proxy with a cache on disk, that can be started again with other upstreams of the same names."""

    def __init__(self, directory, *upstreams, size="1G", **keywords):
        super().__init__(*upstreams, options=["--cache-size", size, "--cache-dir", directory], **keywords)
        self.directory = directory

    def files(self, kind="nars"):
        return sorted(path for path in (self.directory / kind).iterdir() if path.suffix == ".file")

    def wait_until_kept(self, count, kind="nars"):
        until(lambda: len(self.files(kind)) >= count, f"{self.files(kind)}\n{self.log_text()}")


@pytest.fixture
def keep(sample, root):
    """keep(url…, states=…) starts a proxy with a cache on disk."""
    proxies = []

    def start(*urls, states=None, directory=None, **keywords):
        directory = directory or root / f"cache-{len(proxies)}"
        proxy = KeepingProxy(directory, *urls, store_dir=sample.store.store_dir, **keywords).start()
        proxies.append(proxy)
        if states is not None:
            proxy.wait_for_states(*states)
        return proxy

    yield start
    for proxy in proxies:
        proxy.stop()


@pytest.fixture(scope="module", params=["zstd", "none"])
def server(request, sample, session_root):
    """A server whose narinfos have no FileHash at first (zstd), or whose NARs are plain."""
    with Server(sample.store, session_root / f"disk-{request.param}", "--compression", request.param) as server:
        yield server


@pytest.fixture(scope="module")
def plain(sample, session_root):
    with Server(sample.store, session_root / "disk-plain", "--compression", "none") as server:
        yield server


def test_paths_while_their_server_is_away(nix, sample, serve, make_client, keep):
    """Also after the proxy was killed, and only what is there."""
    server = serve(sample.store)
    proxy = keep(server.url, states=["up"])
    first = make_client(nix, server, url=proxy.url)
    first.realise(sample.app, sample.blob)
    closure = [*sample.store.closure(sample.app), sample.blob]
    proxy.wait_until_kept(len(closure))
    answers = {store_path: narinfo_of(proxy, store_path).text for store_path in closure}
    url = nar_path(proxy, sample.blob)
    assert narinfo_of(proxy, sample.tree).status == 200  # its NAR is not there
    server.kill()
    assert fetch(proxy, f"/{'0' * 32}.narinfo").status == 404
    proxy.wait_for_states("away")
    for restarted in (False, True):
        if restarted:
            proxy.kill()
            proxy.start().wait_for_states("away")
        assert {store_path: narinfo_of(proxy, store_path).text for store_path in closure} == answers
        assert narinfo_of(proxy, sample.tree).status == 404
        before = proxy.metric("nars_from_disk_total")
        client = make_client(nix, server, url=proxy.url)
        client.realise(sample.app, sample.blob)
        sample.check_copies(client, closure)
        assert proxy.metric("nars_from_disk_total") - before == len(closure)
        assert proxy.metric('narinfos_total{from="disk"}') >= len(closure)
        assert fetch(proxy, url).status == 200
    server.start()


def test_ranges_and_head_from_disk(sample, server, keep):
    proxy = keep(server.url, states=["up"])
    path = nar_path(proxy, sample.blob)
    head = fetch(proxy, path, method="HEAD")
    part = fetch(proxy, path, headers={"Range": "bytes=1000-1999"})
    # Neither brings the file.
    assert head.status == 200 and part.status == 206 and proxy.metric("nars_kept_total") == 0
    whole = fetch(proxy, path).body
    assert whole[1000:2000] == part.body
    proxy.wait_until_kept(1)
    head = check_ranges(proxy, path, whole)
    assert head.headers["etag"] == fetch(proxy, path).headers["etag"]
    assert proxy.metric("nars_kept_total") == 1 and proxy.metric("nars_from_disk_total") >= 7


def test_one_download_for_many_clients(sample, plain, keep, upstream):
    """200 at once, some of which come when half of it is there, and some that want a part."""
    gated = Gated(plain)
    slow = upstream(gated.answer)
    proxy = keep(slow.url, states=["up"])
    path = nar_path(proxy, sample.blob)
    wanted = oracle.nar(sample.store.real(sample.blob))
    offset = len(wanted) // 2 + 1000

    def ask(count, headers=""):
        connections = [connect(proxy) for _ in range(count)]
        for connection in connections:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n".encode())
        return connections

    connections = ask(100)
    assert gated.waiting.wait(10)
    connections += ask(100)
    parts = ask(10, f"Range: bytes={offset}-\r\n")
    until(lambda: proxy.metric("connections") >= 210 or proxy.metric("requests") >= 210)
    gated.gate.set()
    for connection in connections + parts:
        received = bytearray()
        while data := connection.recv(1 << 20):
            received += data
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        is_part = connection in parts
        assert head.startswith(b"HTTP/1.1 206 " if is_part else b"HTTP/1.1 200 ")
        assert body == (wanted[offset:] if is_part else wanted)
        connection.close()
    assert len([asked for asked in slow.paths if asked.startswith("/nar/")]) == 1


def test_a_client_that_leaves_does_not_end_it(sample, plain, keep, upstream):
    gated = Gated(plain)
    proxy = keep(upstream(gated.answer).url, states=["up"])
    path = nar_path(proxy, sample.blob)
    with gated.begun(proxy, path):
        pass
    gated.gate.set()
    proxy.wait_until_kept(1)
    assert fetch(proxy, path).body == oracle.nar(sample.store.real(sample.blob))


def test_an_upstream_dies_in_the_middle(sample, plain, keep):
    """The other has the rest, and what is kept is right."""
    size = len(oracle.nar(sample.store.real(sample.blob)))
    with CuttingProxy(plain, [size // 2]) as dying:
        dying.on_cut = dying.die
        proxy = keep(dying.url, plain.url, states=["up", "up"])
        path = nar_path(proxy, sample.blob)
        assert fetch(proxy, path).body == oracle.nar(sample.store.real(sample.blob))
    proxy.wait_until_kept(1)
    assert proxy.metric("nars_continued_total") == 1


def test_nobody_has_the_rest(sample, plain, keep):
    with CuttingProxy(plain, [400_000] + [1] * 9) as dying:
        dying.on_cut = dying.die
        proxy = keep(dying.url, states=["up"])
        path = nar_path(proxy, sample.blob)
        head, body = raw_get(proxy, path)
        wanted = oracle.nar(sample.store.real(sample.blob))
        assert (head.startswith(b"HTTP/1.1 200 ") and len(body) < len(wanted)) or head.startswith(b"HTTP/1.1 404 ")
        assert fetch(proxy, path, headers={"Range": f"bytes={len(body)}-"}).status == 404
    until(lambda: not os.listdir(proxy.directory / "nars"))


def test_killed_in_the_middle(nix, sample, plain, make_client, keep, upstream):
    gated = Gated(plain)
    proxy = keep(upstream(gated.answer).url, states=["up"])
    path = nar_path(proxy, sample.blob)
    with gated.begun(proxy, path):
        assert [name for name in os.listdir(proxy.directory / "nars") if name.startswith("tmp-")]
        proxy.kill()
    gated.gate.set()
    proxy.start().wait_for_states("up")
    assert os.listdir(proxy.directory / "nars") == []
    client = make_client(nix, plain, url=proxy.url)
    client.realise(sample.blob)
    sample.check_copies(client, [sample.blob])


@pytest.mark.once
def test_killed_again_and_again(sample, plain, keep):
    """kill -9 at any moment: whatever is answered is right."""
    chance = random.Random(5)
    proxy = keep(plain.url, states=["up"])
    paths = {nar_path(proxy, store_path): oracle.nar(sample.store.real(store_path)) for store_path in sample.all}
    for _ in range(12):
        timer = threading.Timer(chance.uniform(0, 0.05), lambda: os.kill(proxy.process.pid, signal.SIGKILL))
        timer.start()
        for path, wanted in paths.items():
            try:
                head, body = raw_get(proxy, path)
            except OSError:
                break
            assert wanted.startswith(body) if head.startswith(b"HTTP/1.1 200 ") else not head
        timer.join()
        proxy.kill()
        proxy.start().wait_for_states("up")
        assert not [name for name in os.listdir(proxy.directory / "nars") if name.startswith("tmp-")]
    for path, wanted in paths.items():
        assert fetch(proxy, path).body == wanted


LIES = {
    "FileHash": ({"FileHash": "sha256:" + "0" * 52}, None),
    "NarHash": ({"NarHash": "sha256:" + "0" * 52}, None),
    "content": ({}, lambda body: body[:-1] + bytes([body[-1] ^ 1])),
    "more": ({}, lambda body: body + b"more"),
    "chunked and more": ({}, "chunked"),
}


@pytest.mark.parametrize("compression", ["zstd", "none"])
@pytest.mark.parametrize("lie", LIES)
def test_what_is_wrong_is_not_kept(sample, serve, session_root, keep, upstream, lie, compression):
    fields, change_body = LIES[lie]
    real = serve(sample.store, "--compression", compression)
    if lie == "FileHash":  # a narinfo has one once the file was made
        fetch(real, nar_path(real, sample.tree))

    def change(path, answer):
        if path.endswith(".narinfo"):
            lines = [line for line in answer.text.splitlines() if line.split(": ")[0] not in fields]
            return respond(200, "".join(line + "\n" for line in [*lines, *(f"{k}: {v}" for k, v in fields.items())]).encode())
        if path.startswith("/nar/") and change_body == "chunked":
            body = b"%x\r\n" % len(answer.body) + answer.body + b"\r\n4\r\nmore\r\n0\r\n\r\n"
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
        if path.startswith("/nar/") and change_body:
            return respond(200, change_body(answer.body))
        return None

    lying = upstream(through(real, change))
    proxy = keep(lying.url, states=["up"])
    path = nar_path(proxy, sample.tree)
    head, body = raw_get(proxy, path)
    wanted = fetch(real, nar_path(real, sample.tree)).body
    # What cannot be decompressed is passed on to Nix, which refuses it.
    if not (compression == "zstd" and change_body):
        assert head.startswith(b"HTTP/1.1 404 ") or len(body) < len(wanted)
        assert narinfo_of(proxy, sample.tree).status == 404
        assert not proxy.files("narinfos")
    assert not proxy.files()
    proxy.stop()
    # Another upstream has what is right.
    both = keep(lying.url, real.url, states=["up", "up"], directory=proxy.directory)
    if not (compression == "zstd" and change_body):
        raw_get(both, path)
        assert fetch(both, nar_path(both, sample.tree)).body == wanted


def corrupt(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGE = {
    "changed": corrupt,
    "shorter": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: os.truncate(file, 0),
    "gone": lambda file: file.unlink(),
    "a link": lambda file: (file.unlink(), file.symlink_to("/etc/passwd")),
    "a directory": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(sample, plain, keep, damage, running):
    """They are found out, and brought anew."""
    proxy = keep(plain.url, states=["up"])
    paths = {nar_path(proxy, store_path): oracle.nar(sample.store.real(store_path)) for store_path in (sample.lib, sample.blob)}
    assert all(fetch(proxy, path).body == wanted for path, wanted in paths.items())
    proxy.wait_until_kept(2)
    proxy.wait_until_kept(2, "narinfos")
    if not running:
        proxy.stop()
    for file in proxy.files() + proxy.files("narinfos"):
        DAMAGE[damage](file)
    if not running:
        proxy.start().wait_for_states("up")
    for _ in range(2):
        assert all(fetch(proxy, path).body == wanted for path, wanted in paths.items()), proxy.log_text()


def test_garbage_in_the_directory(sample, plain, keep, root):
    directory = root / "cache"
    for kind in ("nars", "narinfos"):
        (directory / kind).mkdir(parents=True)
        for name in ("tmp-1-1", "README", "x" * 52 + "-" + "0" * 52 + "-5.file", "0" * 52 + "-" + "0" * 52 + "-5.nar"):
            (directory / kind / name).write_bytes(b"12345")
    proxy = keep(plain.url, states=["up"], directory=directory)
    path = nar_path(proxy, sample.lib)
    assert fetch(proxy, path).body == oracle.nar(sample.store.real(sample.lib))
    proxy.wait_until_kept(1)
    assert not (directory / "nars" / "tmp-1-1").exists() and (directory / "nars" / "README").exists()


def test_a_directory_that_goes(sample, plain, keep):
    proxy = keep(plain.url, states=["up"])
    for store_path in (sample.lib, sample.blob, sample.tree):
        assert fetch(proxy, nar_path(proxy, store_path)).body == oracle.nar(sample.store.real(store_path))
        shutil.rmtree(proxy.directory)
    for store_path in (sample.lib, sample.blob, sample.tree):
        assert fetch(proxy, nar_path(proxy, store_path)).body == oracle.nar(sample.store.real(store_path))


def test_a_directory_that_cannot_be_used(sample, plain, keep, root):
    (root / "file").write_text("")
    proxy = keep(plain.url, states=["up"], directory=root / "file")
    assert fetch(proxy, nar_path(proxy, sample.blob)).body == oracle.nar(sample.store.real(sample.blob))
    assert any("NAR cache" in line for line in proxy.log)


def test_a_directory_of_another_proxy(sample, plain, keep):
    proxy = keep(plain.url, states=["up"])
    other = KeepingProxy(proxy.directory, plain.url, store_dir=sample.store.store_dir)
    with pytest.raises(AssertionError, match="another server uses it"):
        other.start()


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_a_full_disk(nix, sample, server, root, make_client, keep, tiny_file_system, many):
    """Downloads go on without it, in the middle of a NAR."""
    tiny_file_system(root / "cache", "256k")
    proxy = keep(server.url, states=["up"], directory=root / "cache")
    wanted = fetch(server, nar_path(server, sample.blob)).body
    assert len(wanted) > 600_000
    path = nar_path(proxy, sample.blob)
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(proxy, path).body)) for _ in range(20 if many else 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(threads) and all(body == wanted for body in results)
    proxy.wait_for_log("(?i)no space left")
    if not many:
        client = make_client(nix, server, url=proxy.url)
        client.realise(*sample.all)
        sample.check_copies(client, sample.all)


def test_a_full_disk_and_wrong_bytes(sample, plain, root, keep, upstream, tiny_file_system):
    """The beginning was written and the rest is not: the whole is verified nevertheless."""
    tiny_file_system(root / "cache", "256k")

    def change(path, answer):
        if path.startswith("/nar/") and answer.status == 200:
            return respond(200, answer.body[:-1] + bytes([answer.body[-1] ^ 1]))
        if path.startswith("/nar/"):
            headers = f"Content-Range: {answer.headers['content-range']}\r\n"
            return respond(206, answer.body[:-1] + bytes([answer.body[-1] ^ 1]), headers)
        return None

    proxy = keep(upstream(through(plain, change)).url, states=["up"], directory=root / "cache")
    head, body = raw_get(proxy, nar_path(proxy, sample.blob))
    wanted = oracle.nar(sample.store.real(sample.blob))
    assert head.startswith(b"HTTP/1.1 200 ") and len(body) < len(wanted) and wanted.startswith(body)
    proxy.wait_for_log("(?i)no space left")


def test_the_size_is_kept(sample, plain, keep):
    """The least recently used goes, and what is too large is passed on."""
    blob = len(oracle.nar(sample.store.real(sample.blob)))
    proxy = keep(plain.url, states=["up"], size=str(int(blob * 1.2)))
    for store_path in [*sample.all, *sample.all]:
        assert fetch(proxy, nar_path(proxy, store_path)).body == oracle.nar(sample.store.real(store_path)), store_path
    assert proxy.metric("disk_nars_evictions_total") > 0
    assert sum(file.stat().st_size for file in proxy.directory.rglob("*") if file.is_file()) <= blob * 1.2
    small = keep(plain.url, states=["up"], size="100K")
    assert fetch(small, nar_path(small, sample.blob)).body == oracle.nar(sample.store.real(sample.blob))
    assert not small.files()


def age(file, seconds):
    """Makes a narinfo on disk older; its name has the hash of its content."""

    text = re.sub(r"Fetched: (\d+)", lambda match: f"Fetched: {int(match[1]) - seconds}", file.read_text())
    hashed = oracle.base32(hashlib.sha256(text.encode()).digest())
    file.unlink()
    file.with_name(f"{file.name.split('-')[0]}-{hashed}-{len(text.encode())}.file").write_text(text)


def test_narinfos_on_disk_are_validated(sample, plain, keep, upstream):
    asked = []
    real = through(plain)

    def answer(path, headers):
        if path.endswith(".narinfo"):
            asked.append(headers.get("if-none-match"))
            if headers.get("if-none-match") == '"tag"':
                return respond(304)
            return real(path, headers).replace(b"\r\n\r\n", b'\r\nETag: "tag"\r\n\r\n', 1)
        return real(path, headers)

    proxy = keep(upstream(answer).url, states=["up"])
    text = narinfo_of(proxy, sample.lib).text
    proxy.wait_until_kept(1, "narinfos")
    # A young one is not asked for again, one of some minutes is, and then it is young again.
    for seconds, count in ((0, 1), (600, 2), (0, 2), (-3600, 3)):
        proxy.stop()
        for file in proxy.files("narinfos"):
            age(file, seconds)
        proxy.start().wait_for_states("up")
        assert narinfo_of(proxy, sample.lib).text == text and len(asked) == count, (seconds, asked)
    assert asked[1:] == ['"tag"'] * 2
    # With its NAR, it is good for an hour.
    fetch(proxy, "/" + oracle.parse_narinfo(text)["URL"])
    proxy.wait_until_kept(1)
    for seconds, count in ((1800, 3), (1801, 4)):
        proxy.stop()
        for file in proxy.files("narinfos"):
            age(file, seconds)
        proxy.start().wait_for_states("up")
        assert narinfo_of(proxy, sample.lib).text == text and len(asked) == count, (seconds, asked)


def test_a_path_that_its_upstream_has_no_more(sample, plain, keep, upstream):
    real = through(plain)
    is_gone = threading.Event()
    one = upstream(lambda path, headers: respond(404) if is_gone.is_set() else real(path, headers))
    proxy = keep(one.url, states=["up"])
    fetch(proxy, nar_path(proxy, sample.lib))
    proxy.wait_until_kept(1)
    proxy.wait_until_kept(1, "narinfos")
    is_gone.set()
    proxy.stop()
    for file in proxy.files("narinfos"):
        age(file, 7200)
    proxy.start().wait_for_states("up")
    assert narinfo_of(proxy, sample.lib).status == 404
    until(lambda: not proxy.files("narinfos"))


def test_its_state_names_the_disk(sample, plain, keep):
    proxy = keep(plain.url, states=["up"])
    size = len(fetch(proxy, nar_path(proxy, sample.blob)).body)
    proxy.wait_until_kept(1)
    disk = json.loads(fetch(proxy, "/health").text)["disk"]
    assert disk["nars"] == 1 and disk["bytes"] >= size and disk["limit"] == 1 << 30
    assert "On disk" in fetch(proxy, "/").text


def test_nothing_is_kept_by_default(sample, plain, root):
    proxy = Proxy(plain.url, store_dir=sample.store.store_dir, options=["--cache-dir", root / "cache"]).start()
    try:
        proxy.wait_for_states("up")
        fetch(proxy, nar_path(proxy, sample.lib))
        assert not (root / "cache").exists()
        assert "On disk" not in fetch(proxy, "/").text
    finally:
        proxy.stop()
