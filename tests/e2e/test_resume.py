"""Downloads that are cut are completed by Nix itself, byte for byte.

Nix asks for the rest by a Range, and only if the response said Accept-Ranges. It tries five times.
"""

import random
import shutil
import threading
import time

import pytest

from support import oracle
from support.http import connect, fetch
from support.proxy import CuttingProxy

COMPRESSIONS = ["zstd", "xz", "none"]


def nar_url(server, store_path):
    answer = fetch(server, f"/{oracle.hash_part(store_path)}.narinfo")
    return "/" + oracle.parse_narinfo(answer.text)["URL"]


def check(client, sample, store_path):
    assert oracle.nar_hash(client.real(store_path)) == oracle.nar_hash(sample.store.real(store_path))


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_cut_downloads(nix, sample, serve, make_client, compression, warm):
    server = serve(sample.store, "--compression", compression)
    size = len(fetch(server, nar_url(server, sample.blob)).body)
    if not warm:
        server = serve(sample.store, "--compression", compression)
    generator = random.Random(f"{nix.name} {compression} {warm}")
    # The first byte is body in the fewest cases; each later place is counted from where it resumed.
    cuts = [generator.randrange(1, size // 3), generator.randrange(1, size // 3), generator.randrange(400, 5000)]
    with CuttingProxy(server, cuts, hard=warm) as proxy:
        client = make_client(nix, server, url=proxy.url)
        client.realise(sample.blob)
        assert proxy.done == cuts
    check(client, sample, sample.blob)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_cut_just_before_the_end(nix, sample, serve, make_client, compression, warm):
    """All that is missing is the last chunk, or the last byte."""
    server = serve(sample.store, "--compression", compression)
    if warm:
        fetch(server, nar_url(server, sample.blob))
    with CuttingProxy(server, ["last", "last"], hard=False) as proxy:
        client = make_client(nix, server, url=proxy.url)
        client.realise(sample.blob)
        assert proxy.done
    check(client, sample, sample.blob)


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_server_restarts_in_mid_download(nix, sample, serve, make_client, compression, how):
    server = serve(sample.store, "--compression", compression)

    def restart():
        getattr(server, how)()
        server.start()

    with CuttingProxy(server, [300_000], on_cut=restart) as proxy:
        client = make_client(nix, server, url=proxy.url)
        client.realise(sample.blob)
        assert proxy.done == [300_000]
    check(client, sample, sample.blob)


def test_remembered_url_works_after_a_restart(nix, sample, root, serve, make_client):
    """Clients keep narinfos for 30 days: the NAR is then asked for without its narinfo."""
    for compression in COMPRESSIONS:
        server = serve(sample.store, "--compression", compression)
        client = make_client(nix, server)
        client.run("nix", "path-info", "--store", server.url, "-r", sample.app)
        server.stop()
        shutil.rmtree(server.nar_cache, ignore_errors=True)
        server.start()
        client.realise(sample.app)
        for store_path in sample.store.closure(sample.app):
            check(client, sample, store_path)


@pytest.mark.parametrize("compression", ["none", "zstd", "xz"])
def test_restart_between_parts(sample, serve, compression):
    """The rest of a file comes from a server that has never seen the first part, nor a narinfo."""
    server = serve(sample.store)
    path = nar_url(serve(sample.store, "--compression", compression), sample.blob).split("?")[0]
    whole = fetch(server, path).body
    for cut in (1, len(whole) // 2, len(whole) - 1):
        other = serve(sample.store)
        answer = fetch(other, path, headers={"Range": f"bytes={cut}-"})
        assert answer.status == 206 and answer.body == whole[cut:], cut


def test_graceful_stop_finishes_what_is_in_flight(sample, serve):
    server = serve(sample.store)
    expected = oracle.nar(sample.store.real(sample.blob))
    path = nar_url(serve(sample.store, "--compression", "none"), sample.blob).split("?")[0]
    with connect(server) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        received = connection.recv(1000)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        server.wait_until_closed()
        while chunk := connection.recv(1 << 16):
            received += chunk
        stopping.join()
    assert received.endswith(expected)


@pytest.mark.parametrize("before, after", [([], ["--compression-level", "12"]), (["--compression-level", "9"], [])])
def test_resumed_across_levels_never_mixes_two_files(sample, serve, before, after):
    server = serve(sample.store, *before)
    path = nar_url(server, sample.blob)
    whole = fetch(server, path).body
    server.stop()
    other = serve(sample.store, *after)
    assert nar_url(other, sample.blob) != path
    assert fetch(other, path, headers={"Range": "bytes=20000-"}).status == 404
    answer = fetch(other, path)
    assert answer.status == 200 and answer.body != whole
    assert oracle.decompress(answer.body, "zstd") == oracle.nar(sample.store.real(sample.blob))
