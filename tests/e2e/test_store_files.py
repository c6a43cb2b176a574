"""Single files of a store path, logs by every name, and debug information: what people fetch, not Nix."""

import json
import os

import pytest

from support import oracle
from support.http import fetch
from support.nix import Store

SANDBOX = "sandbox; default-src 'none'"


@pytest.fixture
def hostile(system_nix, root):
    """A path as a hostile repository would write it."""
    store = Store(system_nix, root / "store")
    (root / "secret").write_text("a secret outside the store\n")
    tree = root / "site"
    (tree / "sub").mkdir(parents=True)
    (tree / "index.html").write_text("<script>alert(1)</script>")
    (tree / "sub" / "notes").write_text("plain text\n")
    (tree / "blob").write_bytes(b"\0\1\2")
    (tree / '<img src=x>"&?#%').write_text("hostile name\n")
    os.symlink("sub/notes", tree / "good")
    os.symlink("../sub", tree / "sub" / "self")
    os.symlink(root / "secret", tree / "absolute")
    os.symlink("../../secret", tree / "relative")
    os.symlink("..", tree / "above")
    os.symlink("loop", tree / "loop")
    return store, store.add(tree)


@pytest.fixture
def server(hostile, serve):
    return serve(hostile[0])


def test_files_of_a_path(server, hostile):
    part = oracle.hash_part(hostile[1])
    answer = fetch(server, f"/serve/{part}/sub/notes")
    assert answer.status == 200 and answer.text == "plain text\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert fetch(server, f"/serve/{part}/blob").headers["content-type"] == "application/octet-stream"
    assert fetch(server, f"/serve/{part}/index.html").headers["content-type"] == "text/html; charset=utf-8"
    answer = fetch(server, f"/serve/{part}/sub/notes", headers={"Range": "bytes=6-9"})
    assert answer.status == 206 and answer.text == "text"
    assert fetch(server, f"/serve/{part}/absent").status == 404
    assert fetch(server, f"/serve/{part}/blob/below").status == 404
    assert fetch(server, f"/serve/{'0' * 32}/x").status == 404


def test_nothing_served_can_run(server, hostile):
    part = oracle.hash_part(hostile[1])
    for path in ("", "/", "/index.html", "/sub", "/blob"):
        answer = fetch(server, f"/serve/{part}{path}")
        assert answer.status == 200, path
        assert answer.headers["content-security-policy"] == SANDBOX, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
    page = fetch(server, f"/serve/{part}").text
    assert "<img" not in page
    assert f'href="/serve/{part}/%3Cimg%20src%3Dx%3E%22%26%3F%23%25"' in page
    assert fetch(server, f"/serve/{part}/%3Cimg%20src%3Dx%3E%22%26%3F%23%25").text == "hostile name\n"


def test_links_stay_below_the_path(server, hostile):
    part = oracle.hash_part(hostile[1])
    assert fetch(server, f"/serve/{part}/good").text == "plain text\n"
    assert fetch(server, f"/serve/{part}/sub/self/self/notes").text == "plain text\n"
    for name in ("absolute", "relative", "above", "above/secret", "loop", "above/../../secret"):
        answer = fetch(server, f"/serve/{part}/{name}")
        assert answer.status in (400, 404) and "secret outside" not in answer.text, name


def test_a_pipe_neither_blocks_nor_is_advertised(system_nix, root, serve):
    store = Store(system_nix, root / "store")
    tree = root / "tree"
    tree.mkdir()
    (tree / "a").write_text("a\n")
    path = store.add(tree)
    server = serve(store)
    part = oracle.hash_part(path)
    url = oracle.parse_narinfo(fetch(server, f"/{part}.narinfo").text)["URL"]
    real = store.real(path)
    os.chmod(real, 0o755)
    os.mkfifo(real / "pipe")
    assert fetch(server, f"/serve/{part}/pipe").status == 404
    assert fetch(server, f"/{url}").status == 404
    assert fetch(server, f"/{part}.narinfo").status == 404
    assert fetch(server, f"/nar/{url.split('/')[1].split('-')[0]}.nar").status == 404


def test_logs_by_hash_part(shared_server, sample):
    name = os.path.basename(sample.drvs["lib"])
    expected = fetch(shared_server, f"/log/{name}").body
    assert b"marmalade" in expected
    for other in (name[:32], oracle.hash_part(sample.lib), os.path.basename(sample.lib)):
        assert fetch(shared_server, f"/log/{other}").body == expected, other


def test_slashes_in_a_row_are_one(shared_server, sample):
    part = oracle.hash_part(sample.lib)
    for path in (f"//{part}.narinfo", f"///nix-cache-info", "//", f"//log//{os.path.basename(sample.drvs['lib'])}"):
        assert fetch(shared_server, path).status == 200, path


def test_debug_information(system_nix, root, serve):
    store = Store(system_nix, root / "store")
    build_id = "0123456789abcdef0123456789abcdef01234567"
    tree = root / "tool-debug"
    directory = tree / "lib" / "debug" / ".build-id" / build_id[:2]
    directory.mkdir(parents=True)
    (directory / f"{build_id[2:]}.debug").write_bytes(b"\x7fELF debug information")
    path = store.add(tree)
    server = serve(store)
    for name in (build_id, f"{build_id}.debug"):
        found = json.loads(fetch(server, f"/debuginfo/{name}").text)
        assert found["member"] == f"lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
        answer = fetch(server, "/" + found["archive"].removeprefix("../"))
        assert oracle.decompress(answer.body, "zstd") == oracle.nar(store.real(path))
    answer = fetch(server, f"/buildid/{build_id}/debuginfo")
    assert answer.status == 200 and answer.body == b"\x7fELF debug information"
    for name in ("f" * 40, "../x", "0" * 65, "ABCDEF0123456789abcdef0123456789abcdef01", ".."):
        assert fetch(server, f"/debuginfo/{name}").status in (400, 404), name
        assert fetch(server, f"/buildid/{name}/debuginfo").status in (400, 404), name


def test_front_page_names_the_url_that_clients_reach(sample, serve):
    server = serve(sample.store)
    page = fetch(server, "/", headers={"X-Forwarded-Proto": "https"}).text
    assert "extra-substituters = https://127.0.0.1:" in page
    for value in ("ftp", "https, http", "javascript"):
        page = fetch(server, "/", headers={"X-Forwarded-Proto": value}).text
        assert "extra-substituters = http://127.0.0.1:" in page, value
    server = serve(sample.store, "--public-url", "https://cache.example.org")
    assert "extra-substituters = https://cache.example.org" in fetch(server, "/").text


def test_what_is_absent_is_not_kept_by_proxies(shared_server):
    for path in (f"/{'0' * 32}.narinfo", f"/{'0' * 32}.ls", f"/nar/{'0' * 52}.nar", f"/log/{'0' * 32}-x.drv", "/nothing",
                 f"/serve/{'0' * 32}/x", f"/debuginfo/{'0' * 40}", "/realisations/sha256:0!out.doi"):  # fmt: skip
        answer = fetch(shared_server, path)
        assert answer.status == 404 and answer.headers["cache-control"] == "no-store", path
