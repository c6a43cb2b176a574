"""Every route and header, against a second implementation of the formats."""

import bz2
import hashlib
import http.client
import json
import os
import re
import sqlite3
import subprocess
import time

import pytest

from support import oracle
from support.http import exchange, fetch, fetch_on
from support.nix import Store

SUFFIXES = {"": "none", ".xz": "xz", ".zst": "zstd"}


def narinfo_of(server, store_path):
    answer = fetch(server, f"/{oracle.hash_part(store_path)}.narinfo")
    assert answer.status == 200, answer
    return oracle.parse_narinfo(answer.text)


def wait_until(condition, timeout=10):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_cache_info(shared_server, sample):
    answer = fetch(shared_server, "/nix-cache-info")
    assert answer.status == 200
    lines = answer.text.splitlines()
    assert f"StoreDir: {sample.store.store_dir}" in lines
    assert "WantMassQuery: 1" in lines and "Priority: 30" in lines
    assert f"PublicKey: {shared_server.public_key}" in lines


def test_narinfo_of_every_path(shared_server, sample):
    for store_path in sample.all:
        real = sample.store.real(store_path)
        answer = fetch(shared_server, f"/{oracle.hash_part(store_path)}.narinfo")
        assert answer.headers["content-type"] == "text/x-nix-narinfo"
        fields = oracle.parse_narinfo(answer.text)
        digest, size = oracle.nar_hash(real)
        assert fields["StorePath"] == store_path
        assert fields["NarHash"] == f"sha256:{oracle.base32(digest)}"
        assert fields["NarSize"] == str(size)
        references = sample.store.run("nix-store", "-q", "--references", store_path).split()
        assert sorted(fields["References"]) == sorted(map(os.path.basename, references))
        deriver = sample.store.run("nix-store", "-q", "--deriver", store_path)
        assert fields.get("Deriver", "unknown-deriver") == os.path.basename(deriver)
        assert len(fields["Sig"]) == 1
        message = oracle.fingerprint(sample.store.store_dir, fields)
        assert oracle.verifies(shared_server.public_key, fields["Sig"][0], message)
        assert fields["Compression"] == "zstd"
        name = oracle.nar_name(oracle.base32(digest), ".zst")
        assert fields["URL"] == f"nar/{name}?hash={oracle.hash_part(store_path)}"
    for name in ("text", "note", "fixed_flat", "fixed_tree", "addressed", "blob", "tree"):
        assert narinfo_of(shared_server, getattr(sample, name))["CA"].split(":")[0] in ("text", "fixed")
    assert "CA" not in narinfo_of(shared_server, sample.lib)


def test_nar_of_every_path_and_suffix(shared_server, sample):
    for store_path in sample.all:
        expected = oracle.nar(sample.store.real(store_path))
        fields = narinfo_of(shared_server, store_path)
        nar_hash = fields["NarHash"].removeprefix("sha256:")
        for suffix, compression in SUFFIXES.items():
            for _ in ("cold", "warm"):
                answer = fetch(shared_server, f"/nar/{oracle.nar_name(nar_hash, suffix)}")
                assert answer.status == 200, answer
                assert oracle.decompress(answer.body, compression) == expected
                assert answer.headers["accept-ranges"] == "bytes"
                assert "content-encoding" not in answer.headers


def test_narinfo_describes_the_file_once_it_is_made(serve, sample):
    server = serve(sample.store)
    before = narinfo_of(server, sample.blob)
    file = fetch(server, f"/{before['URL']}").body
    wait_until(lambda: "FileHash" in narinfo_of(server, sample.blob))
    after = narinfo_of(server, sample.blob)
    assert after["FileSize"] == str(len(file))
    assert after["FileHash"] == "sha256:" + oracle.base32(hashlib.sha256(file).digest())
    assert after["Sig"] == before["Sig"]
    uncompressed = serve(sample.store, "--compression", "none")
    fields = narinfo_of(uncompressed, sample.blob)
    assert fields["Compression"] == "none"
    assert fields["URL"].split("?")[0] == f"nar/{fields['NarHash'].removeprefix('sha256:')}.nar"


def test_every_form_of_nar_url(shared_server, sample):
    """What this server and others have advertised; clients remember such URLs for 30 days."""
    part = oracle.hash_part(sample.tool)
    nar_hash = narinfo_of(shared_server, sample.tool)["NarHash"].removeprefix("sha256:")
    expected = oracle.nar(sample.store.real(sample.tool))
    for suffix, compression in SUFFIXES.items():
        for form in (f"{nar_hash}.nar{suffix}?hash={part}", f"{nar_hash}.nar{suffix}",
                     f"{part}-{nar_hash}.nar{suffix}", f"{part}.nar{suffix}",
                     f"{oracle.nar_name(nar_hash, suffix)}?hash={part}", oracle.nar_name(nar_hash, suffix)):  # fmt: skip
            answer = fetch(shared_server, f"/nar/{form}")
            assert answer.status == 200, (form, answer)
            # A file of which the URL does not say what made it must not be resumed.
            resumable = not suffix or form.startswith(oracle.nar_name(nar_hash, suffix))
            assert answer.headers.get("accept-ranges") == ("bytes" if resumable else None), form
            resumed = fetch(shared_server, f"/nar/{form}", headers={"Range": "bytes=8-"})
            assert resumed.status == (206 if resumable else 404), form
            assert oracle.decompress(answer.body, compression) == expected, form
    other = "0" * 52
    for form in (f"{other}.nar.zst?hash={part}", f"{other}.nar", f"{part}-{other}.nar", f"{'0' * 32}.nar"):
        assert fetch(shared_server, f"/nar/{form}").status == 404, form


def test_head_wherever_get(shared_server, sample):
    part = oracle.hash_part(sample.blob)
    url = narinfo_of(shared_server, sample.blob)["URL"]
    paths = ["/nix-cache-info", f"/{part}.narinfo", f"/{part}.ls", "/", "/health", "/version", "/metrics"]
    paths += [f"/{url}", f"/nar/{url.split('/')[1].split('-')[0]}.nar", f"/log/{os.path.basename(sample.drvs['lib'])}"]
    connection = http.client.HTTPConnection("127.0.0.1", shared_server.port)
    for path in paths:
        got = fetch_on(connection, path)
        head = fetch_on(connection, path, "HEAD")
        assert got.status == head.status == 200, path
        assert head.body == b"", path
        assert got.headers.get("content-type") == head.headers.get("content-type"), path
        if path != "/metrics" and "content-length" in head.headers:
            assert int(head.headers["content-length"]) == len(got.body), path
    assert fetch_on(connection, f"/{'0' * 32}.narinfo", "HEAD").status == 404
    connection.close()


def test_conditional_requests(shared_server, sample):
    part = oracle.hash_part(sample.lib)
    fetch(shared_server, "/" + narinfo_of(shared_server, sample.lib)["URL"])
    wait_until(lambda: "FileHash" in narinfo_of(shared_server, sample.lib))
    nar_hash = narinfo_of(shared_server, sample.lib)["NarHash"].removeprefix("sha256:")
    url = narinfo_of(shared_server, sample.lib)["URL"]
    for path in (f"/{part}.narinfo", f"/nar/{nar_hash}.nar", f"/{url}"):
        first = fetch(shared_server, path)
        etag = first.headers["etag"]
        for value in (etag, f'"other", {etag}', "*"):
            again = fetch(shared_server, path, headers={"If-None-Match": value})
            assert again.status == 304 and again.body == b"" and again.headers["etag"] == etag, path
        assert fetch(shared_server, path, headers={"If-None-Match": '"other"'}).body == first.body
        assert "cache-control" in first.headers


@pytest.mark.parametrize("suffix", list(SUFFIXES))
def test_ranges(shared_server, sample, suffix):
    nar_hash = narinfo_of(shared_server, sample.blob)["NarHash"].removeprefix("sha256:")
    path = f"/nar/{oracle.nar_name(nar_hash, suffix)}"
    whole = fetch(shared_server, path).body
    size = len(whole)
    ranges = {
        "0-": (0, size), "1-": (1, size), f"{size - 1}-": (size - 1, size), "0-0": (0, 1),
        "100-199": (100, 200), f"5-{size * 2}": (5, size), "-10": (size - 10, size),
        "70000-500000": (70000, 500001), f"-{size * 2}": (0, size),
    }  # fmt: skip
    for value, (start, end) in ranges.items():
        answer = fetch(shared_server, path, headers={"Range": f"bytes={value}"})
        assert answer.status == 206, (value, answer)
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}", value
        assert answer.body == whole[start:end], value
        assert "content-encoding" not in answer.headers
    for value in (f"{size + 1}-", f"{size + 5}-{size + 10}"):
        answer = fetch(shared_server, path, headers={"Range": f"bytes={value}"})
        assert answer.status == 416 and answer.headers["content-range"] == f"bytes */{size}", value
    # Nix asks so when a download was cut after its last byte, and takes 416 for an error.
    answer = fetch(shared_server, path, headers={"Range": f"bytes={size}-"})
    assert answer.status == 206 and answer.body == b""


def test_cold_range(serve, sample):
    """A Range on what has not been made yet is never answered with the whole."""
    server = serve(sample.store)
    nar_hash = narinfo_of(server, sample.blob)["NarHash"].removeprefix("sha256:")
    for suffix in (".zst", ".xz"):
        name = oracle.nar_name(nar_hash, suffix)
        part = fetch(server, f"/nar/{name}", headers={"Range": "bytes=500000-"})
        assert part.status == 206
        whole = fetch(server, f"/nar/{name}").body
        assert part.body == whole[500000:]
        assert part.headers["content-range"].startswith("bytes 500000-")


def test_compression_is_a_pure_function(serve, sample):
    """Another server, another number of threads, made in the presence of others: the same bytes."""
    paths = [sample.blob, sample.tree]
    outcomes = set()
    for options in (["--threads", "1"], ["--threads", "3"], ["--nar-cache-size", "0"]):
        server = serve(sample.store, *options)
        bodies = []
        for store_path in paths:
            nar_hash = narinfo_of(server, store_path)["NarHash"].removeprefix("sha256:")
            bodies += [fetch(server, f"/nar/{nar_hash}.nar{suffix}").body for suffix in (".zst", ".xz")]
        outcomes.add(tuple(bodies))
    assert len(outcomes) == 1
    server = serve(sample.store, "--compression-level", "1")
    assert fetch(server, "/" + narinfo_of(server, sample.blob)["URL"]).body != next(iter(outcomes))[0]


def test_listing(shared_server, sample):
    answer = fetch(shared_server, f"/{oracle.hash_part(sample.tree)}.ls")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    listing = json.loads(answer.text)
    assert listing["version"] == 1
    nar = oracle.nar(sample.store.real(sample.tree))
    found = []

    def walk(node, real):
        if node["type"] == "directory":
            assert os.path.isdir(real) and not os.path.islink(real)
            assert sorted(node["entries"]) == sorted(os.listdir(real))
            for name, entry in node["entries"].items():
                walk(entry, f"{real}/{name}")
        elif node["type"] == "symlink":
            assert node["target"] == os.readlink(real)
        else:
            assert node["type"] == "regular"
            with open(real, "rb") as file:
                content = file.read()
            assert node["size"] == len(content)
            assert node.get("executable", False) == os.access(real, os.X_OK) or os.geteuid() == 0
            assert node.get("executable", False) == bool(os.stat(real).st_mode & 0o100)
            assert nar[node["narOffset"] : node["narOffset"] + node["size"]] == content
        found.append(real)

    walk(listing["root"], str(sample.store.real(sample.tree)))
    assert len(found) > 25
    # JSON cannot say these names; that must not bring anything down.
    assert fetch(shared_server, f"/{oracle.hash_part(sample.odd_names)}.ls").status in (200, 404, 422)


def test_log_is_sent_decompressed(shared_server, sample):
    name = os.path.basename(sample.drvs["lib"])
    answer = fetch(shared_server, f"/log/{name}")
    file = sample.store.log_dir / "drvs" / name[:2] / f"{name[2:]}.bz2"
    assert answer.status == 200 and answer.body == bz2.decompress(file.read_bytes())
    assert answer.headers["content-type"].startswith("text/plain")
    assert fetch(shared_server, f"/log/{os.path.basename(sample.drvs['unbuilt'])}").status == 404


def test_realisation(shared_server, sample):
    database = sqlite3.connect(sample.store.database)
    found = database.execute(
        "select drvPath || '!' || outputName from Realisations join ValidPaths on ValidPaths.id = outputPath"
        " where path = ?", [sample.addressed]).fetchall()  # fmt: skip
    database.close()
    assert found
    for (realisation,) in found:
        answer = fetch(shared_server, f"/realisations/{realisation}.doi")
        assert answer.status == 200
        got = json.loads(answer.text)
        assert got["id"] == realisation and got["outPath"] == os.path.basename(sample.addressed)
    assert fetch(shared_server, f"/realisations/sha256:{'0' * 64}!out.doi").status == 404


def test_narinfo_as_json(shared_server, sample):
    answer = fetch(shared_server, f"/{oracle.hash_part(sample.tool)}.narinfo?json")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    text = narinfo_of(shared_server, sample.tool)
    got = json.loads(answer.text)
    assert sample.tool in (got.get("storePath"), got.get("path"))
    assert str(got["narSize"]) == text["NarSize"]


def test_pages_for_people_and_machines(shared_server, sample):
    page = fetch(shared_server, "/")
    assert page.headers["content-type"].startswith("text/html")
    assert "substituters" in page.text and shared_server.public_key in page.text
    assert fetch(shared_server, "/health").status == 200
    assert re.search(r"\d+\.\d+", fetch(shared_server, "/version").text)
    metrics = fetch(shared_server, "/metrics").text
    for line in metrics.splitlines():
        assert line.startswith("#") or re.fullmatch(r'[a-z_]+(\{([a-z]+="[^"]*",?)*\})? [-+.e0-9]+', line), line


def test_skip_signed_by(serve, sample, make_client, system_nix, root):
    """What an upstream cache has signed is left to it."""
    first = serve(sample.store)
    key_name = first.public_key.partition(":")[0]
    guest = make_client(system_nix, first)
    guest.realise(sample.tool)
    copy = Store(system_nix, guest.root, chroot=True)
    copy.store_dir = sample.store.store_dir
    local = root / "local"
    local.write_text("made here\n")
    environment = {**copy.environment(), "NIX_STORE_DIR": sample.store.store_dir}
    added = system_nix.run(["nix-store", "--add", local], environment).stdout.strip()
    second = serve(copy, "--skip-signed-by", key_name)
    assert fetch(second, f"/{oracle.hash_part(sample.lib)}.narinfo").status == 404
    assert fetch(second, f"/{oracle.hash_part(added)}.narinfo").status == 200
    # Who has the upstream cache as well gets everything; a copy from this one alone misses what it skips.
    keys = [first.public_key, second.public_key]
    both = make_client(system_nix, second, url=f"{second.url} {first.url}", public_keys=keys)
    both.realise(sample.tool, added)
    assert both.has(sample.lib) and both.has(added)
    alone = make_client(system_nix, second, public_keys=keys).copy(sample.tool, check=False)
    assert alone.returncode != 0 and sample.tool in alone.stderr
    third = serve(copy, "--skip-signed-by", "another-1")
    assert fetch(third, f"/{oracle.hash_part(sample.lib)}.narinfo").status == 200


def test_several_keys_sign(serve, sample, root):
    keys = []
    for name in ("first-1", "second-1"):
        file = root / name
        secret = subprocess.run(
            ["nix", "--extra-experimental-features", "nix-command", "key", "generate-secret", "--key-name", name],
            check=True, capture_output=True, text=True).stdout  # fmt: skip
        file.write_text(secret)
        file.chmod(0o600)
        keys.append(file)
    server = serve(sample.store, *[option for file in keys for option in ("--secret-key-file", file)])
    fields = narinfo_of(server, sample.lib)
    public = [line.split(": ")[1] for line in fetch(server, "/nix-cache-info").text.splitlines() if "PublicKey" in line]
    assert [key.split(":")[0] for key in public] == ["first-1", "second-1"]
    message = oracle.fingerprint(sample.store.store_dir, fields)
    assert all(
        any(oracle.verifies(key, signature, message) for signature in fields["Sig"]) for key in public
    )


def test_pipelined_requests_are_answered_in_order(shared_server, sample):
    parts = [oracle.hash_part(path) for path in sample.all]
    request = b"".join(f"GET /{part}.narinfo HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for part in parts)
    request += b"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    received = exchange(shared_server, request).decode()
    assert re.findall(r"StorePath: (\S+)", received) == sample.all
