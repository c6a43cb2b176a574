"""serve-cache --only-signed-by: a laptop passes on what the build server signed, and nothing that was made on it."""

import contextlib
import sqlite3
import types

import pytest

from support import oracle
from support.client import client as nixbuild
from support.http import fetch
from support.nix import Store
from support.upstream import Proxy

ABSENT = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"


@pytest.fixture(scope="module")
def laptop(session_root, sample, shared_server, system_nix, tmp_path_factory):
    """A store with paths of the build server, beside some that were made here."""
    root = session_root / "laptop"
    store = Store(system_nix, root, chroot=True)
    store.store_dir = sample.store.store_dir
    environment = {**store.environment(), "NIX_STORE_DIR": store.store_dir}

    def run(*command):
        return system_nix.run(command, environment).stdout.strip()

    trust = ["--option", "substituters", shared_server.url, "--option", "trusted-public-keys", shared_server.public_key]
    run("nix-store", "-j0", "-r", sample.app, sample.blob, sample.executable, sample.addressed, *trust)
    run("nix", "copy", "--derivation", "--from", shared_server.url, sample.drvs["addressed"], *trust)
    run("nix-store", "-j0", "-r", sample.drvs["addressed"], *trust)
    directory = tmp_path_factory.mktemp("local")
    (directory / "added").write_text("made here\n")
    added = run("nix-store", "--add", directory / "added")
    (directory / "local.nix").write_text("""
        { lib }: derivation { name = "local"; system = builtins.currentSystem; builder = "/bin/sh";
          args = [ "-c" "echo private words; echo made here with ${builtins.storePath lib} > $out" ]; }
    """)
    built = run("nix-build", "--no-out-link", "--argstr", "lib", sample.lib, directory / "local.nix")
    drv = run("nix-store", "-q", "--deriver", built)
    # Another key of the server's name, and the server's signature of another path.
    name = shared_server.public_key.partition(":")[0]
    (directory / "false-key").write_text(system_nix.run(["nix", "key", "generate-secret", "--key-name", name], environment).stdout)
    (directory / "claimed").write_text("claims to be the server's\n")
    claimed = run("nix-store", "--add", directory / "claimed")
    run("nix", "store", "sign", "--key-file", directory / "false-key", claimed)
    return types.SimpleNamespace(store=store, run=run, added=added, built=built, claimed=claimed, drv=drv)


@pytest.fixture
def peer(laptop, serve, shared_server):
    return serve(laptop.store, "--only-signed-by", shared_server.public_key)


def urls_of(server, sample, store_path):
    """Everything that a client could ask about a path, which `server` has."""
    part = oracle.hash_part(store_path)
    nar = oracle.parse_narinfo(fetch(server, f"/{part}.narinfo").text)["URL"]
    file, _, _ = nar.partition("?")
    nar_hash = file.removeprefix("nar/").partition("-")[0]
    return [f"/{part}.narinfo", f"/{part}.narinfo?json", f"/{part}.ls", f"/{nar}", f"/{file}",
            *(f"/nar/{name}{suffix}" for name in (part, nar_hash, f"{part}-{nar_hash}") for suffix in (".nar", ".nar.zst", ".nar.xz")),
            f"/nar/{nar_hash}.nar?hash={part}", f"/serve/{part}", f"/serve/{part}/"]  # fmt: skip


def test_a_proxy_gets_it_while_the_server_is_away(nix, sample, shared_server, laptop, peer, make_client):
    proxy = Proxy("http://127.0.0.1:1", peer.url, store_dir=sample.store.store_dir).start()
    try:
        proxy.wait_for_states("away", "up")
        client = make_client(nix, shared_server, url=proxy.url)
        client.realise(sample.app)
        sample.check_copies(client, [sample.app, sample.lib])
        assert client.realise(laptop.built, check=False).returncode != 0
    finally:
        proxy.stop()


def test_real_nix_gets_what_the_server_signed(nix, sample, shared_server, laptop, peer, make_client):
    client = make_client(nix, shared_server, url=peer.url)
    client.realise(sample.app, sample.blob)
    sample.check_copies(client, [sample.app, sample.lib, sample.blob])
    for store_path in (laptop.added, laptop.built, laptop.claimed):
        assert client.realise(store_path, check=False).returncode != 0 and not client.has(store_path)
    stranger = make_client(nix, shared_server, url=peer.url, public_keys=["other-1:" + "A" * 42 + "0="])
    assert stranger.realise(sample.lib, check=False).returncode != 0 and not stranger.has(sample.lib)


def test_a_realisation_that_the_server_signed(system_nix, sample, shared_server, peer, make_client):
    client = make_client(system_nix, shared_server, url=peer.url)
    make_client(system_nix, shared_server).copy("--derivation", sample.drvs["addressed"])
    client.run("nix", "copy", "--from", shared_server.url, "--to", client.root, "--derivation", sample.drvs["addressed"])
    result = client.run("nix-store", "--store", client.root, "-j0", "-r", sample.drvs["addressed"])
    assert result.stdout.strip() == sample.addressed and client.has(sample.addressed)


def test_it_has_no_key(sample, laptop, peer, shared_server):
    assert "PublicKey" not in fetch(peer, "/nix-cache-info").text
    assert not (peer.state_dir / "cache-key").exists() and not (peer.state_dir / "cache-key.pub").exists()
    part = oracle.hash_part(sample.lib)
    ours, theirs = (oracle.parse_narinfo(fetch(server, f"/{part}.narinfo").text) for server in (peer, shared_server))
    for field in ("StorePath", "NarHash", "NarSize", "References", "Sig"):
        assert ours[field] == theirs[field], field
    page = fetch(peer, "/").text
    assert shared_server.public_key.replace("+", "&#43;") in page or shared_server.public_key in page
    assert "trusted-public-keys" not in page


def test_no_url_leads_to_what_was_made_here(sample, laptop, serve, peer):
    everything = serve(laptop.store)
    for store_path in (laptop.added, laptop.built, laptop.claimed):
        for url in urls_of(everything, sample, store_path):
            assert fetch(everything, url).status == 200, url
            refused = fetch(peer, url)
            assert refused.status == 404, url
            # As what is absent.
            part = oracle.hash_part(store_path)
            absent = fetch(peer, url.replace(part, ABSENT))
            assert (refused.body, refused.headers.get("cache-control")) == (absent.body, absent.headers.get("cache-control")), url
    drv = laptop.drv.rpartition("/")[2]
    for name in (drv, drv[:32], oracle.hash_part(laptop.built)):
        assert "private words" in fetch(everything, f"/log/{name}").text
        assert fetch(peer, f"/log/{name}").status == 404
    for url in urls_of(peer, sample, sample.lib):
        assert fetch(peer, url).status == 200, url


def test_a_signature_that_goes(sample, laptop, peer):
    """What was answered from memory is not, once Nix's database has changed."""
    url = f"/{oracle.hash_part(sample.executable)}.narinfo"
    assert [fetch(peer, url).status for _ in range(2)] == [200, 200]
    with contextlib.closing(sqlite3.connect(laptop.store.database, timeout=10)) as database:
        database.execute("update ValidPaths set sigs = null where path = ?", [sample.executable])
        database.commit()
    assert fetch(peer, url).status == 404


def test_what_it_refuses_to_start_with(tmp_path, shared_server):
    def serve(*options, **environment):
        return nixbuild(None, "serve-cache", "--listen", "127.0.0.1:0", "--state-dir", tmp_path, *options, **environment)

    key = shared_server.public_key
    both = serve("--only-signed-by", key, "--secret-key-file", tmp_path / "key")
    assert both.code == 2 and "--only-signed-by excludes --secret-key-file" in both.err
    secret = "name-1:" + "A" * 86 + "=="
    wrong = serve("--only-signed-by", secret)
    assert wrong.code == 2 and "name-1" in wrong.err and "AAAA" not in wrong.err
    none = serve("--only-signed-by", "record_keys")
    assert none.code == 2 and "[client]" in none.err
    assert list(tmp_path.iterdir()) == []


def test_the_keys_of_build_records(serve, laptop, sample, shared_server, root):
    config = root / "config.toml"
    config.write_text(f'[client]\nrecord_keys = ["{shared_server.public_key}"]\n')
    peer = serve(laptop.store, "--only-signed-by", "record_keys", "--config", config)
    assert fetch(peer, f"/{oracle.hash_part(sample.lib)}.narinfo").status == 200
    assert fetch(peer, f"/{oracle.hash_part(laptop.added)}.narinfo").status == 404
