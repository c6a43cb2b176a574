"""Many clients at once."""

import http.client
import threading

import pytest

from support import oracle
from support.http import connect, fetch, fetch_on

pytestmark = pytest.mark.concurrency


def nar_path(server, store_path, suffix=".zst"):
    fields = oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(store_path)}.narinfo").text)
    return f"/nar/{fields['NarHash'].removeprefix('sha256:')}.nar{suffix}"


def in_parallel(count, work):
    """Runs work(n) in `count` threads; raises what any of them raised."""
    errors = []

    def run(n):
        try:
            work(n)
        except Exception as error:  # noqa: BLE001 # handed on below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_sixty_downloads_at_once(sample, serve):
    server = serve(sample.store)
    paths = [sample.blob, sample.tree, sample.app, sample.executable]
    expected = {path: oracle.nar(sample.store.real(path)) for path in paths}
    suffixes = {"": "none", ".zst": "zstd", ".xz": "xz"}

    def download(n):
        store_path = paths[n % len(paths)]
        suffix = list(suffixes)[n // 4 % 3]
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        for _ in range(3):
            answer = fetch_on(connection, nar_path(server, store_path, suffix))
            assert answer.status == 200, answer
            assert oracle.decompress(answer.body, suffixes[suffix]) == expected[store_path]
        connection.close()

    in_parallel(60, download)


def test_real_client_with_many_connections(nix, sample, serve, make_client):
    server = serve(sample.store)
    client = make_client(nix, server, http_connections=40, max_substitution_jobs=40)
    client.realise(*sample.all)
    for store_path in sample.store.closure(sample.many):
        assert oracle.nar_hash(client.real(store_path)) == oracle.nar_hash(sample.store.real(store_path))


def test_several_real_clients(nix, sample, serve, make_client):
    server = serve(sample.store, "--threads", "2")
    clients = [make_client(nix, server) for _ in range(4)]
    in_parallel(4, lambda n: clients[n].realise(*sample.all))
    for client in clients:
        assert oracle.nar_hash(client.real(sample.blob)) == oracle.nar_hash(sample.store.real(sample.blob))


def test_idle_connections_hold_nobody_up(sample, serve):
    server = serve(sample.store)
    idle = [connect(server) for _ in range(300)]
    in_parallel(10, lambda n: fetch(server, nar_path(server, sample.blob)))
    for connection in idle:
        connection.close()
    assert fetch(server, "/nix-cache-info").status == 200


def test_keep_alive(sample, serve):
    server = serve(sample.store)
    parts = [oracle.hash_part(path) for path in sample.all] + ["0" * 32]

    def ask(n):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for k in range(200):
            part = parts[(n + k) % len(parts)]
            answer = fetch_on(connection, f"/{part}.narinfo")
            assert answer.status == (404 if part == "0" * 32 else 200)
        connection.close()

    in_parallel(8, ask)
