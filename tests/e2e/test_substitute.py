"""Real Nix gets what the server's store holds, and only what it may trust."""

import json
import os
import shutil
import subprocess
import urllib.request

import pytest

from support import oracle
from support.http import fetch
from support.nix import Store, base_environment
from support.sample import Sample

pytestmark = pytest.mark.distribution


def check_same(client, server_store, store_paths):
    """Every path is in the client's store, byte for byte."""
    for store_path in store_paths:
        here, there = client.real(store_path), server_store.real(store_path)
        assert oracle.nar_hash(here) == oracle.nar_hash(there), store_path
    client.run("nix-store", "--store", client.root, "--verify", "--check-contents")


@pytest.mark.parametrize("compression", ["zstd", "xz", "none"])
def test_realise_everything(nix, sample, serve, make_client, compression):
    server = serve(sample.store, "--compression", compression)
    for _ in ("cold", "warm"):
        client = make_client(nix, server)
        client.realise(*sample.all)
        check_same(client, sample.store, sample.all)


def test_copy_everything(nix, sample, shared_server, make_client):
    client = make_client(nix, shared_server)
    client.copy(*sample.all)
    check_same(client, sample.store, sample.all)
    closure = sample.store.closure(sample.app)
    assert client.run("nix-store", "--store", client.root, "-q", "--requisites", sample.app).stdout.split() == closure


def test_store_written_by_newer_nix(newer_nix, system_nix, root, sample, serve, make_client):
    store = Store(newer_nix, root / "newer")
    path = sample.store.real(sample.tree)
    added = store.add(path)
    server = serve(store)
    for client_nix in (newer_nix, system_nix):
        client = make_client(client_nix, server)
        client.realise(added)
        check_same(client, store, [added])


def test_chroot_store(nix, root, system_nix, serve, make_client):
    """Paths are called /nix/store/… and lie elsewhere, as after `nix copy --to /guest`."""
    store = Store(system_nix, root / "guest", chroot=True)
    try:
        sample = Sample(store, root)
    except AssertionError as error:
        pytest.skip(f"Nix cannot build in a chroot store here: {str(error).splitlines()[-1]}")
    server = serve(store)
    client = make_client(nix, server)
    client.realise(*sample.all)
    check_same(client, store, sample.all)


def test_wrong_key_is_refused(nix, sample, shared_server, make_client):
    other = "cache-1:" + "A" * 42 + "0="
    same_name = shared_server.public_key.partition(":")[0] + ":" + "A" * 42 + "0="
    for keys in ([other], [same_name], []):
        client = make_client(nix, shared_server, public_keys=keys)
        for attempt in (client.realise, client.copy):
            result = attempt(sample.lib, check=False)
            assert result.returncode != 0
            assert "trusted-public-keys" in result.stderr or "signature" in result.stderr
            assert not client.has(sample.lib)


def test_content_address_needs_no_key(nix, sample, shared_server, make_client):
    """Nix trusts a path whose narinfo proves its content: the CA field has to be right."""
    client = make_client(nix, shared_server, public_keys=[])
    paths = [sample.text, sample.note, sample.fixed_flat, sample.fixed_tree, sample.blob, sample.tree]
    client.realise(*paths)
    check_same(client, sample.store, paths)


def test_path_info(nix, sample, shared_server, make_client):
    client = make_client(nix, shared_server)
    lines = client.run("nix", "path-info", "--store", client.url, "-r", "--sigs", sample.app).stdout.splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(sample.store.closure(sample.app))
    name = shared_server.public_key.partition(":")[0]
    assert all(f"{name}:" in line for line in lines if sample.text not in line)
    info = json.loads(client.run("nix", "path-info", "--store", client.url, "--json", sample.lib).stdout)
    info = info[0] if isinstance(info, list) else info[sample.lib]
    assert info["narSize"] == oracle.nar_hash(sample.store.real(sample.lib))[1]


def test_mass_query(nix, sample, shared_server, make_client):
    client = make_client(nix, shared_server)

    def query(what, path):
        for _ in range(8):
            done = client.run("nix-store", "--store", client.url, "-q", what, path, check=False)
            if done.returncode >= 0:  # Nix 2.34.8 itself often crashes here, by a signal
                break
        return sorted(done.stdout.split())

    assert query("--requisites", sample.app) == sorted(sample.store.closure(sample.app))
    assert query("--references", sample.tool) == sorted([sample.lib, sample.note])
    # Nix asks for each of these at once; most are absent here.
    absent = [f"{sample.store.store_dir}/{n:032d}-absent" for n in range(100)]
    result = client.run("nix-store", "--store", client.root, "-r", "--dry-run", *sample.all, *absent, check=False)
    wanted = result.stderr.partition("will be fetched")[2]
    assert all(path in wanted for path in sample.all), result.stderr
    assert "absent" not in wanted.partition("don't know")[0]


def test_store_ls_and_cat(nix, sample, shared_server, make_client):
    client = make_client(nix, shared_server)
    listing = client.run("nix", "store", "ls", "--store", client.url, "-R", "-l", sample.tool).stdout
    assert "./bin/tool" in listing and "-r-xr-xr-x" in listing and "-> " in listing
    text = client.run("nix", "store", "cat", "--store", client.url, f"{sample.lib}/lib/library").stdout
    assert text == "library\n"


def test_log(nix, sample, shared_server, make_client):
    client = make_client(nix, shared_server)
    for name in (sample.drvs["lib"], sample.lib):
        assert "marmalade" in client.run("nix", "log", "--store", client.url, name).stdout
    assert client.run("nix", "log", "--store", client.url, sample.drvs["unbuilt"], check=False).returncode != 0


def test_derivations_are_served(nix, sample, shared_server, make_client):
    client = make_client(nix, shared_server)
    client.realise(sample.drvs["app"])
    check_same(client, sample.store, [sample.drvs["app"]])


def test_realisation(nix, sample, shared_server, make_client):
    """A content-addressed derivation's output is found by its derivation."""
    client = make_client(nix, shared_server)
    drv = sample.drvs["addressed"]
    client.copy("--derivation", drv)
    assert client.run("nix-store", "--store", client.root, "-j0", "-r", drv).stdout.strip() == sample.addressed
    check_same(client, sample.store, [sample.addressed])


def test_build_takes_from_the_cache(nix, sample, shared_server, make_client):
    """Outputs that the server has are not built, those that it lacks are."""
    client = make_client(nix, shared_server)
    client.copy("--derivation", sample.drvs["app"])
    result = client.run("nix-store", "--store", client.root, "-j0", "-r", sample.drvs["app"])
    assert sample.app in result.stdout
    assert "building" not in result.stderr


def test_second_server_and_upstream_keys(sample, system_nix, serve, make_client, root):
    """What was signed before stays signed: a server of a substituted store passes signatures on."""
    first = serve(sample.store)
    guest = make_client(system_nix, first)
    guest.realise(sample.app)
    copy = Store(system_nix, guest.root, chroot=True)
    copy.store_dir = sample.store.store_dir
    second = serve(copy)
    assert first.public_key != second.public_key
    client = make_client(system_nix, second, public_keys=[first.public_key])
    client.realise(sample.app)
    check_same(client, sample.store, sample.store.closure(sample.app))


HUGE = (4 << 30) + 12345


@pytest.fixture
def huge(root, system_nix):
    """A store with a file of more than 4 GiB, all of it a hole but for its last bytes: (store, path, NAR hash, NAR size)."""
    store = Store(system_nix, root / "huge")
    store.run("nix-store", "--init")
    store_path = f"{store.store_dir}/{'z' * 32}-huge"
    real = store.real(store_path)
    real.parent.mkdir(exist_ok=True)
    with open(real, "wb") as file:
        file.truncate(HUGE)
        file.seek(-6, os.SEEK_END)
        file.write(b"at end")
    real.chmod(0o444)
    digest, nar_size = oracle.nar_hash(real)
    registration = f"{store_path}\nsha256:{digest.hex()}\n{nar_size}\n\n0\n"
    subprocess.run(
        ["nix-store", "--load-db"], input=registration, text=True, check=True,
        env={**base_environment(), **store.environment()},
    )  # fmt: skip
    return store, store_path, oracle.base32(digest), nar_size


@pytest.mark.timeout(400)
def test_huge_file(huge, serve):
    """More than 4 GiB in one file: sizes and offsets have 64 bits all the way."""
    store, store_path, nar_hash, nar_size = huge
    server = serve(store)
    fields = oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(store_path)}.narinfo").text)
    assert fields["NarHash"] == f"sha256:{nar_hash}" and fields["NarSize"] == str(nar_size)

    length, zeros, others = 0, bytes(1 << 20), b""
    with urllib.request.urlopen(f"{server.url}/nar/{nar_hash}.nar") as response:
        assert response.headers["content-length"] == str(nar_size)
        while chunk := response.read(1 << 20):
            length += len(chunk)
            if chunk != zeros[: len(chunk)]:
                others += chunk
    assert length == nar_size
    assert others.startswith(oracle.string(b"nix-archive-1")) and b"at end" in others

    # The file's data begin behind 96 bytes of framing.
    start = 96 + HUGE - 6
    answer = fetch(server, f"/nar/{nar_hash}.nar", headers={"Range": f"bytes={start}-"})
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{nar_size - 1}/{nar_size}"
    assert answer.body == b"at end" + bytes(-HUGE % 8) + oracle.string(b")")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_huge_file_with_a_real_client(nix, huge, serve, make_client, root, compression):
    if shutil.disk_usage(root).free < 8 << 30:
        pytest.skip("less than 8 GiB of free disk")
    store, store_path, nar_hash, _ = huge
    client = make_client(nix, serve(store, "--compression", compression))
    client.realise(store_path, timeout=800)
    assert oracle.base32(oracle.nar_hash(client.real(store_path))[0]) == nar_hash
