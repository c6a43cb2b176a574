"""The proxy in front of caches: what it passes on, and what becomes of an upstream's faults."""

import json
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

from support import oracle
from support.http import connect, exchange, fetch
from support.proxy import CuttingProxy
from support.server import BINARY, program_environment
from support.upstream import Proxy, Upstream, cache_info, check_ranges, narinfo_of, reset, respond, through, trickle

HASH = "0123456789abcdfghijklmnpqrsvwxyz"
ABSENT = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
# A request that no upstream can answer takes this long at most, on a machine that is busy with other tests.
AT_ONCE = 1.0
HTML = b"<!doctype html><html><title>Log in to our network</title></html>"


def timed(function, *arguments, **keywords):
    began = time.monotonic()
    return function(*arguments, **keywords), time.monotonic() - began


def run_proxy_command(proxy, *options):
    """`nixbuild proxy`, which is told by the configuration where the proxy is."""
    environment = {**program_environment(), "NIXBUILD_PROXY_LISTEN": proxy.listen}
    return subprocess.run([BINARY, "proxy", *options], env=environment, capture_output=True, text=True)


@pytest.fixture
def proxy_of(sample):
    """proxy_of(url…, states=…) starts a proxy of these upstreams and waits until their states are known."""
    proxies = []

    def start(*urls, states=None, **keywords):
        proxy = Proxy(*urls, store_dir=sample.store.store_dir, **keywords).start()
        proxies.append(proxy)
        if states is not None:
            proxy.wait_for_states(*states)
        return proxy

    yield start
    for proxy in proxies:
        proxy.stop()


def test_nix_substitutes_through_it(nix, sample, shared_server, make_client, proxy_of):
    proxy = proxy_of(shared_server.url, states=["up"])
    client = make_client(nix, shared_server, url=proxy.url)
    client.realise(*sample.all)
    sample.check_copies(client, sample.all)
    copied = make_client(nix, shared_server, url=proxy.url)
    copied.copy(*sample.all)
    sample.check_copies(copied, sample.all)
    wrong = make_client(nix, shared_server, url=proxy.url, public_keys=["other-1:" + "A" * 42 + "0="])
    assert wrong.realise(sample.lib, check=False).returncode != 0 and not wrong.has(sample.lib)


def test_only_the_url_is_rewritten(sample, shared_server, proxy_of):
    proxy = proxy_of(shared_server.url, states=["up"])
    for store_path in sample.all:
        real, passed = narinfo_of(shared_server, store_path), narinfo_of(proxy, store_path)
        assert passed.status == 200
        lines, changed = real.text.splitlines(), passed.text.splitlines()
        different = [i for i in range(len(lines)) if lines[i] != changed[i]]
        assert len(lines) == len(changed) and len(different) == 1
        url = changed[different[0]]
        hash_part, upstream_id, file = url.removeprefix("URL: nar/").split("/")
        assert hash_part == oracle.hash_part(store_path) and len(upstream_id) == 16
        assert lines[different[0]].removeprefix("URL: nar/").split("?")[0] == file


def test_cache_info_comes_from_the_configuration(proxy_of, sample):
    proxy = proxy_of("http://127.0.0.1:1", options=["--priority", "17"])
    answer = fetch(proxy, "/nix-cache-info")
    assert answer.text == f"StoreDir: {sample.store.store_dir}\nWantMassQuery: 1\nPriority: 17\n"


def test_ranges_and_head(sample, shared_server, proxy_of):
    proxy = proxy_of(shared_server.url, states=["up"])
    path = "/" + oracle.parse_narinfo(narinfo_of(proxy, sample.blob).text)["URL"]
    whole = fetch(proxy, path)
    real = fetch(shared_server, "/" + oracle.parse_narinfo(narinfo_of(shared_server, sample.blob).text)["URL"]).body
    assert whole.status == 200 and whole.body == real and whole.headers["accept-ranges"] == "bytes"
    check_ranges(proxy, path, real)


def test_a_nar_url_names_nothing_else(sample, shared_server, proxy_of):
    """Clients keep URLs for a month, and anybody can make one up."""
    proxy = proxy_of(shared_server.url, states=["up"])
    url = oracle.parse_narinfo(narinfo_of(proxy, sample.blob).text)["URL"]
    _, hash_part, upstream_id, file = url.split("/")
    for path in (
        f"nar/{hash_part}/{upstream_id}/other.nar",
        f"nar/{ABSENT}/{upstream_id}/{file}",
        f"nar/{hash_part}/{upstream_id}/..%2f..%2fnix-cache-info",
        f"nar/{hash_part}/{upstream_id}/http:%2f%2f127.0.0.1:1%2fx",
        f"nar/{hash_part}/{upstream_id}/%2e%2e",
        f"nar/{hash_part}/{upstream_id}/a%20b",
        f"nar/{hash_part}/{upstream_id}/",
        f"nar/{hash_part}/{file}",
        f"nar/{file}",
        f"http://127.0.0.1:{shared_server.port}/nix-cache-info",
    ):
        assert fetch(proxy, "/" + path).status in (400, 404), path
    # An upstream that is no longer configured: another has a file of this name.
    answer = fetch(proxy, f"/nar/{hash_part}/{'0' * 16}/{file}")
    assert answer.status == 200 and answer.body == fetch(proxy, "/" + url).body


def test_its_state_for_people_and_programs(sample, shared_server, proxy_of, upstream):
    with Upstream(lambda path, headers: respond(503)) as wrong:
        proxy = proxy_of(shared_server.url, wrong.url, states=["up", "away"])
    for _ in range(2):
        path = "/" + oracle.parse_narinfo(narinfo_of(proxy, sample.lib).text)["URL"]
    assert fetch(proxy, path).status == 200 and narinfo_of(proxy, "/nix/store/" + ABSENT + "-x").status == 404
    health = json.loads(fetch(proxy, "/health").text)
    assert health["status"] == "healthy" and health["downloads"] == []
    assert health["narinfos"] == {"from_memory": 1, "from_disk": 0, "from_upstreams": 1, "absent": 1} and health["nars"]["sent"] == 1
    assert health["upstreams"][0]["narinfos_found"] == 1 and health["upstreams"][0]["nar_bytes"] > 0
    page = fetch(proxy, "/")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    assert shared_server.url in page.text and "it answers 503 for nix-cache-info" in page.text
    result = run_proxy_command(proxy)
    assert result.returncode == 0 and result.stdout.splitlines()[0].startswith(f"proxy     {proxy.url}, nixbuild ")
    assert any(line.startswith(f"{wrong.url}  away ") and line.endswith("503 for nix-cache-info") for line in result.stdout.splitlines())
    assert json.loads(run_proxy_command(proxy, "--json").stdout)["upstreams"][1]["state"] == "away"
    proxy.stop()
    result = run_proxy_command(proxy)
    assert result.returncode == 3 and "nixbuild-proxy" in result.stderr


def test_a_download_that_runs_is_shown(sample, proxy_of, shared_server, upstream):
    gate = threading.Event()
    real = through(shared_server)

    def answer(path, headers):
        whole = real(path, headers)
        if not path.startswith("/nar/"):
            return whole

        def send(connection):
            connection.sendall(whole[:-10])
            gate.wait(20)
            connection.sendall(whole[-10:])

        return send

    proxy = proxy_of(upstream(answer).url, states=["up"])
    path = "/" + oracle.parse_narinfo(narinfo_of(proxy, sample.lib).text)["URL"]
    with connect(proxy) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        deadline = time.monotonic() + 10
        while not (downloads := json.loads(fetch(proxy, "/health").text)["downloads"]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        name = sample.lib.rpartition("/")[2]
        assert downloads[0]["path"] == name and name in fetch(proxy, "/").text and name in run_proxy_command(proxy).stdout
        gate.set()
        while connection.recv(65536):
            pass
    assert json.loads(fetch(proxy, "/health").text)["downloads"] == []


def test_a_proxy_answers_names_of_its_own_alone(proxy_of):
    proxy = proxy_of("http://127.0.0.1:1")
    request = "GET /nix-cache-info HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
    assert b" 403 " in exchange(proxy, request.format("evil.example").encode())
    assert b" 200 " in exchange(proxy, request.format("localhost:5001").encode())


def cut(answer):
    """An answer without its end."""

    def send(connection):
        connection.sendall(answer[:-10])

    return send


WRONG_CACHES = {
    "a portal": lambda store: (lambda path, headers: respond(200, HTML, "Content-Type: text/html\r\n")),
    "another store": lambda store: (lambda path, headers: cache_info("/other/store")),
    "no store": lambda store: (lambda path, headers: respond(200, b"WantMassQuery: 1\n")),
    "an error": lambda store: (lambda path, headers: respond(503)),
    "absent": lambda store: (lambda path, headers: respond(404)),
    "a redirect": lambda store: (lambda path, headers: respond(302, b"", "Location: http://127.0.0.1:1/\r\n")),
    "nothing": lambda store: (lambda path, headers: None),
    "no HTTP": lambda store: (lambda path, headers: b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a reset": lambda store: (lambda path, headers: reset),
    "half an answer": lambda store: (lambda path, headers: cut(cache_info(store))),
    "an endless head": lambda store: (lambda path, headers: b"HTTP/1.1 200 OK\r\n" + b"X-B: b\r\n" * 20000),
    "too long": lambda store: (lambda path, headers: respond(200, b"StoreDir: " + store.encode() + b"\n" + b"A: b\n" * 50000)),
    "a slow loris": lambda store: (lambda path, headers: trickle(cache_info(store))),
}  # fmt: skip


# What takes ten seconds to be given up is not repeated with sanitizers.
@pytest.mark.parametrize("what", [pytest.param(what, marks=pytest.mark.once) if "loris" in what else what for what in WRONG_CACHES])
def test_what_is_no_cache_is_away(sample, proxy_of, shared_server, what):
    """Nix gets 404 at once, and what the other upstream has."""
    with Upstream(WRONG_CACHES[what](sample.store.store_dir)) as wrong:
        proxy = proxy_of(wrong.url, shared_server.url)
        for path in (f"/{ABSENT}.narinfo", f"/{HASH}.narinfo"):
            answer, took = timed(fetch, proxy, path)
            assert answer.status == 404 and took < AT_ONCE and answer.headers["cache-control"] == "no-store"
        assert narinfo_of(proxy, sample.lib).status == 200
        assert fetch(proxy, "/nix-cache-info").status == 200
        proxy.wait_for_states("away", "up", timeout=20)
        proxy.wait_for_log(f"{re.escape(wrong.url)}.* away")
        assert len([line for line in proxy.log if wrong.url in line and "away" in line]) == 1, proxy.log_text()


def bad_narinfo(real, **changes):
    text = real.text
    for field, value in changes.items():
        others = [line for line in text.splitlines() if not line.startswith(f"{field}: ")]
        text = "\n".join([*others, f"{field}: {value}"]) + "\n"
    return respond(200, text.encode())


WRONG_NARINFOS = {
    "an error": lambda real: respond(500),
    "too many requests": lambda real: respond(429, b"", "Retry-After: 60\r\n"),
    "a portal": lambda real: respond(200, HTML),
    "empty": lambda real: respond(200),
    "cut": lambda real: respond(200, real.body[:-30]),
    "half an answer": lambda real: cut(respond(200, real.body)),
    "a reset": lambda real: reset,
    "too long": lambda real: respond(200, real.body + b"X: " + b"a" * (2 << 20) + b"\n"),
    "a redirect": lambda real: respond(301, b"", "Location: http://127.0.0.1:1/x\r\n"),
    "another store": lambda real: bad_narinfo(real, StorePath="/other/store/" + real.text.split("/")[-1]),
    "another path": lambda real: bad_narinfo(real, StorePath="/nix/store/" + ABSENT + "-x"),
    "an absolute URL": lambda real: bad_narinfo(real, URL="http://127.0.0.1:1/nar/x.nar"),
    "a URL of another host": lambda real: bad_narinfo(real, URL="//127.0.0.1:1/nar/x.nar"),
    "a URL from the root": lambda real: bad_narinfo(real, URL="/etc/passwd"),
    "a URL that leads up": lambda real: bad_narinfo(real, URL="nar/../../x.nar"),
    "an escaped URL": lambda real: bad_narinfo(real, URL="nar/%2e%2e/x.nar"),
    "a URL with a space": lambda real: bad_narinfo(real, URL="nar/x.nar HTTP/1.0"),
    "a slow loris": lambda real: trickle(respond(200, real.body)),
}  # fmt: skip


@pytest.mark.parametrize("what", [pytest.param(what, marks=pytest.mark.once) if "loris" in what else what for what in WRONG_NARINFOS])
def test_what_is_no_narinfo_is_not_passed_on(sample, proxy_of, shared_server, upstream, what):
    wrong = upstream(through(shared_server, lambda path, real: WRONG_NARINFOS[what](real)))
    path = f"/{oracle.hash_part(sample.lib)}.narinfo"
    alone = proxy_of(wrong.url, states=["up"])
    answer, took = timed(fetch, alone, path)
    assert answer.status == 404 and took < 7, answer
    # The next upstream is asked instead.
    both = proxy_of(wrong.url, shared_server.url, states=["up", "up"])
    answer, took = timed(fetch, both, path)
    assert answer.status == 200 and took < AT_ONCE, (answer, took)
    assert fetch(both, "/" + oracle.parse_narinfo(answer.text)["URL"]).status == 200


def test_one_that_only_fails_is_left_alone(sample, proxy_of, upstream):
    """It answers nix-cache-info, and nothing else."""
    wrong = upstream(lambda path, headers: respond(500))
    proxy = proxy_of(wrong.url, states=["up"])
    for i in range(10):
        assert fetch(proxy, f"/{i:032d}.narinfo").status == 404
    proxy.wait_for_states("away")
    asked = len(wrong.paths)
    for i in range(10):
        assert fetch(proxy, f"/{i + 10:032d}.narinfo").status == 404
    assert len(wrong.paths) == asked


def test_one_question_for_many_clients(sample, proxy_of, shared_server, upstream):
    """200 clients at once, each on a connection of its own."""
    gate = threading.Event()
    real = through(shared_server)

    def wait_and_answer(path, headers):
        gate.wait(20)
        return real(path, headers)

    slow = upstream(wait_and_answer)
    proxy = proxy_of(slow.url, states=["up"])
    path = f"/{oracle.hash_part(sample.lib)}.narinfo"
    connections = [connect(proxy) for _ in range(200)]
    for connection in connections:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    deadline = time.monotonic() + 10
    while proxy.metric("requests ") < 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    gate.set()
    for connection in connections:
        received = b""
        while data := connection.recv(65536):
            received += data
        assert received.startswith(b"HTTP/1.1 200 ") and b"\nNarHash: " in received
        connection.close()
    # The second is put on a new connection, as the first was overdue while its upstream was there.
    assert slow.asked(path) <= 2
    assert fetch(proxy, path).status == 200 and slow.asked(path) <= 2


def test_absence_is_remembered_briefly(sample, proxy_of, upstream):
    empty = upstream(lambda path, headers: respond(404))
    proxy = proxy_of(empty.url, states=["up"])
    for _ in range(5):
        assert fetch(proxy, f"/{ABSENT}.narinfo").status == 404
    assert empty.asked(f"/{ABSENT}.narinfo") == 1


def test_a_slow_upstream_does_not_hold_up(sample, proxy_of, shared_server, upstream):
    """The next one is asked as well, and answers first."""
    is_fast = threading.Event()
    is_fast.set()

    def answer(path, headers):
        is_fast.wait(3)
        return respond(404)

    proxy = proxy_of(upstream(answer).url, shared_server.url, states=["up", "up"])
    for i in range(20):  # one question in ten may be put twice
        fetch(proxy, f"/{i:032d}.narinfo")
    is_fast.clear()
    answer, took = timed(narinfo_of, proxy, sample.lib)
    is_fast.set()
    assert answer.status == 200 and took < AT_ONCE and proxy.metric("narinfo_hedges_total") >= 1


@pytest.mark.slow
def test_an_upstream_that_goes_and_comes(system_nix, sample, serve, make_client, proxy_of):
    server = serve(sample.store)
    proxy = proxy_of(server.url, states=["up"])
    client = make_client(system_nix, server, url=proxy.url)
    client.realise(sample.text)
    server.kill()
    answer, took = timed(narinfo_of, proxy, sample.lib)
    assert answer.status == 404 and took < AT_ONCE
    proxy.wait_for_states("away")
    assert len([line for line in proxy.log if "is away" in line]) == 1
    server.start()
    # A change of the network would have it probe at once; without one it probes every half minute.
    proxy.wait_for_states("up", timeout=45)
    client.realise(sample.app)
    sample.check_copies(client, sample.store.closure(sample.app))


def test_a_proxy_that_is_killed(nix, sample, shared_server, make_client, proxy_of):
    proxy = proxy_of(shared_server.url, states=["up"])
    client = make_client(nix, shared_server, url=proxy.url)
    client.realise(sample.lib)
    proxy.kill()
    proxy.start()
    # Nix remembers the URLs of before.
    client.realise(*sample.all)
    sample.check_copies(client, sample.all)


COMPRESSIONS = ["zstd", "none"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_upstream_dies_in_the_middle(nix, sample, serve, make_client, proxy_of, compression):
    """Another has the same file: one response, without a gap and without a byte too many."""
    server = serve(sample.store, "--compression", compression)
    size = len(fetch(server, "/" + oracle.parse_narinfo(narinfo_of(server, sample.blob).text)["URL"]).body)
    where = random.Random(compression).randrange(300_000, size - 300_000)
    # It is cut by the first, and the first is gone then.
    with CuttingProxy(server, [where]) as dying:
        dying.on_cut = dying.die
        proxy = proxy_of(dying.url, server.url, states=["up", "up"])
        path = "/" + oracle.parse_narinfo(narinfo_of(proxy, sample.blob).text)["URL"]
        answer = fetch(proxy, path)
        assert answer.status == 200 and len(answer.body) == size and dying.done == [where]
        assert proxy.metric("nars_continued_total") == 1
    client = make_client(nix, server, url=proxy.url)
    client.realise(*sample.all)
    sample.check_copies(client, sample.all)


def test_a_cut_download_goes_on_with_the_same_upstream(nix, sample, serve, make_client, proxy_of):
    server = serve(sample.store, "--compression", "zstd")
    fetch(server, "/" + oracle.parse_narinfo(narinfo_of(server, sample.blob).text)["URL"])
    with CuttingProxy(server, [200_000, 300_000]) as flaky:
        proxy = proxy_of(flaky.url, states=["up"])
        client = make_client(nix, server, url=proxy.url)
        client.realise(sample.blob)
        sample.check_copies(client, [sample.blob])
        assert flaky.done and proxy.metric("nars_continued_total") >= 1


def test_nobody_has_the_rest(sample, serve, proxy_of):
    """The connection is cut, and what comes back for the rest is told that it is gone."""
    server = serve(sample.store, "--compression", "none")
    with CuttingProxy(server, [400_000] + [1] * 9) as dying:
        dying.on_cut = dying.die
        proxy = proxy_of(dying.url, states=["up"])
        path = "/" + oracle.parse_narinfo(narinfo_of(proxy, sample.blob).text)["URL"]
        received = exchange(proxy, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ") and len(body) < int(head.lower().split(b"content-length: ")[1].split()[0])
        answer, took = timed(fetch, proxy, path, headers={"Range": f"bytes={len(body)}-"})
        assert answer.status == 404 and took < AT_ONCE


def test_resumed_by_nix(nix, sample, shared_server, make_client, proxy_of):
    """The connection between Nix and the proxy is cut."""
    proxy = proxy_of(shared_server.url, states=["up"])
    with CuttingProxy(proxy, [150_000, 200_000, "last"]) as flaky:
        client = make_client(nix, shared_server, url=flaky.url)
        client.realise(sample.blob)
        sample.check_copies(client, [sample.blob])
        assert flaky.done


LIES = ["FileHash", "FileSize", "content", "length"]


@pytest.mark.parametrize("lie", LIES)
def test_an_upstream_that_lies(nix, sample, serve, make_client, proxy_of, upstream, lie):
    """No wrong byte gets through to the end, and Nix gets the path from the other upstream."""
    server = serve(sample.store, "--compression", "none")

    def change(path, real):
        if path.endswith(".narinfo") and lie == "FileHash":
            return bad_narinfo(real, FileHash="sha256:" + "0" * 52)
        if path.endswith(".narinfo") and lie == "FileSize":
            return bad_narinfo(real, FileSize=5)
        if path.startswith("/nar/") and lie == "content":
            return respond(200, real.body[:-1] + bytes([real.body[-1] ^ 1]))
        if path.startswith("/nar/") and lie == "length":
            return respond(200, real.body + b"more")
        return None

    lying = upstream(through(server, change))
    proxy = proxy_of(lying.url, states=["up"])
    path = "/" + oracle.parse_narinfo(narinfo_of(proxy, sample.tree).text)["URL"]
    wanted = oracle.nar(sample.store.real(sample.tree))
    received = exchange(proxy, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ") or (head.startswith(b"HTTP/1.1 200 ") and len(body) < len(wanted)), head
    assert fetch(proxy, path, headers={"Range": "bytes=10-"}).status == 404
    both = proxy_of(lying.url, server.url, states=["up", "up"])
    client = make_client(nix, server, url=both.url)
    client.realise(sample.tree, sample.blob)
    sample.check_copies(client, [sample.tree, sample.blob])


def test_two_upstreams_with_different_builds(sample, root, serve, proxy_of, upstream):
    """The rest of a NAR never comes from a build that is another."""
    server = serve(sample.store, "--compression", "none")
    blob = oracle.nar(sample.store.real(sample.blob))

    def other_build(path, real):
        if path.endswith(".narinfo"):
            return bad_narinfo(real, NarHash="sha256:" + "1" * 52)
        return respond(206, b"x" * 100)

    other = upstream(through(server, other_build))
    with CuttingProxy(server, [700_000] + [1] * 9) as dying:
        proxy = proxy_of(dying.url, other.url, states=["up", "up"])
        path = "/" + oracle.parse_narinfo(narinfo_of(proxy, sample.blob).text)["URL"]
        received = exchange(proxy, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = received.partition(b"\r\n\r\n")
        # A reset also drops what the upstream had sent and the proxy had not read, so it may be nothing.
        assert head.startswith(b"HTTP/1.1 200 ") and len(body) < len(blob) and blob.startswith(body)


def test_a_slow_client_holds_back_the_upstream(sample, serve, proxy_of, root, system_nix, writable_store):
    """Memory stays flat however large the NAR and however slow its reader."""
    store, _ = writable_store
    large = root / "large"
    large.write_bytes(random.Random(7).randbytes(64 << 20))
    added = store.add(large)
    server = serve(store, "--compression", "none")
    proxy = Proxy(server.url, store_dir=store.store_dir).start()
    try:
        proxy.wait_for_states("up")
        path = "/" + oracle.parse_narinfo(narinfo_of(proxy, added).text)["URL"]
        with connect(proxy) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            first = connection.recv(1000)
            # Long enough for 64 MiB on loopback, if anybody took them.
            time.sleep(0.5)
            status = open(f"/proc/{proxy.process.pid}/status").read()
            resident = int(status.partition("VmRSS:")[2].split()[0]) << 10
            sanitized = "Sanitizer" in os.environ.get("NIXBUILD_BINARY", "") or "sanitize" in os.environ.get("NIXBUILD_BINARY", "")
            assert resident < (300 << 20 if sanitized else 40 << 20), resident
            received = len(first)
            while data := connection.recv(1 << 20):
                received += len(data)
        assert received > 64 << 20
    finally:
        proxy.stop()


def test_stopped_for_a_while(sample, shared_server, proxy_of):
    """SIGSTOP stands for a suspended machine."""
    proxy = proxy_of(shared_server.url, states=["up"])
    os.kill(proxy.process.pid, signal.SIGSTOP)
    time.sleep(1)
    os.kill(proxy.process.pid, signal.SIGCONT)
    assert narinfo_of(proxy, sample.lib).status == 200
