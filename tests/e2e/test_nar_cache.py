"""The directory of compressed NARs: whatever happens to it, responses are right."""

import os
import shutil
import subprocess
import threading
import time

import pytest

from support import oracle
from support.http import fetch


def narinfo(server, store_path):
    return oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(store_path)}.narinfo").text)


def check_served(server, sample, store_paths=None, rounds=2):
    """NARs are right and agree with what their narinfos say, cold and warm."""
    for store_path in store_paths or (sample.blob, sample.tree, sample.lib):
        expected = oracle.nar(sample.store.real(store_path))
        for _ in range(rounds):
            fields = narinfo(server, store_path)
            answer = fetch(server, "/" + fields["URL"])
            assert answer.status == 200
            assert oracle.decompress(answer.body, fields["Compression"]) == expected
            if "FileSize" in fields:
                assert len(answer.body) == int(fields["FileSize"])
            part = fetch(server, "/" + fields["URL"], headers={"Range": "bytes=100-"})
            assert part.status == 206 and part.body == answer.body[100:]


def cached_files(server):
    return sorted(file for file in server.nar_cache.rglob("*") if file.is_file())


def wait_for_cached(server, count):
    deadline = time.monotonic() + 10
    while len(files := [file for file in cached_files(server) if not file.name.startswith("tmp-")]) < count:
        assert time.monotonic() < deadline, f"{files}\n{server.log_text()}"
        time.sleep(0.05)
    return files


def test_full(sample, root, serve, tiny_file_system):
    state = root / "state"
    tiny_file_system(state / "nar-cache", "256k")
    server = serve(sample.store, state_dir=state)
    check_served(server, sample)
    server.wait_for_log("(?i)no space left")


def test_full_for_real_clients(nix, sample, root, serve, make_client, tiny_file_system):
    state = root / "state"
    tiny_file_system(state / "nar-cache", "256k")
    server = serve(sample.store, state_dir=state)
    client = make_client(nix, server)
    client.realise(*sample.all)
    assert oracle.nar_hash(client.real(sample.blob)) == oracle.nar_hash(sample.store.real(sample.blob))


def test_read_only(sample, root, serve, nobody):
    state = root / "state"
    server = serve(sample.store, state_dir=state, user=nobody)
    check_served(server, sample)
    server.stop()
    os.chmod(server.nar_cache, 0o555)
    shutil.chown(server.nar_cache, "root")
    for file in cached_files(server):
        file.unlink()
    server.start()
    check_served(server, sample)


DAMAGES = ["truncate", "empty", "grow", "replace", "directory"]


# Other bytes under the same name and of the same size are looked for at the start alone.
@pytest.mark.parametrize(
    ("damage", "restart"),
    [(damage, False) for damage in DAMAGES] + [(damage, True) for damage in [*DAMAGES, "flip"]],
)
def test_corrupted(sample, serve, damage, restart):
    server = serve(sample.store)
    check_served(server, sample, [sample.blob], rounds=1)
    file = max(wait_for_cached(server, 1), key=lambda file: file.stat().st_size)
    size = file.stat().st_size
    if restart:
        server.stop()
    file.chmod(0o600)
    if damage == "truncate":
        os.truncate(file, size // 2)
    elif damage == "empty":
        os.truncate(file, 0)
    elif damage == "grow":
        with open(file, "ab") as handle:
            handle.write(b"more")
    elif damage == "replace":
        file.unlink()
        file.write_bytes(os.urandom(size - 5))
    elif damage == "flip":
        file.unlink()
        file.write_bytes(os.urandom(size))
    else:
        file.unlink()
        file.mkdir()
    if restart:
        server.start()
    check_served(server, sample, [sample.blob])


def test_deleted_while_running(sample, serve):
    server = serve(sample.store)
    check_served(server, sample)
    fields = narinfo(server, sample.blob)
    # The server may still be adding a file.
    deadline = time.monotonic() + 20
    while subprocess.run(["rm", "-rf", server.nar_cache]).returncode != 0:
        assert time.monotonic() < deadline
    answer = fetch(server, "/" + fields["URL"])
    assert oracle.decompress(answer.body, "zstd") == oracle.nar(sample.store.real(sample.blob))
    check_served(server, sample)


def test_size_bound(sample, serve):
    """The least recently used go first; what is left never exceeds the bound."""
    server = serve(sample.store, "--nar-cache-size", "1M")
    check_served(server, sample)
    total = sum(file.stat().st_size for file in cached_files(server))
    assert total <= 1 << 20
    check_served(server, sample)


def test_nothing_is_kept(sample, serve):
    server = serve(sample.store, "--nar-cache-size", "0")
    check_served(server, sample)
    assert cached_files(server) == []


def test_survives_a_restart(sample, serve):
    server = serve(sample.store)
    check_served(server, sample, [sample.blob])
    before = {file: file.stat().st_mtime_ns for file in wait_for_cached(server, 1)}
    assert before
    server.stop()
    server.start()
    assert "FileHash" in narinfo(server, sample.blob)
    check_served(server, sample, [sample.blob])
    assert set(before) <= set(cached_files(server))


def test_leftovers_are_removed(sample, serve, root):
    """kill -9 in the middle of a compression leaves no file behind for long, and none that is taken for whole."""
    server = serve(sample.store, "--compression", "xz")
    url = narinfo(server, sample.blob)["URL"]
    stop = threading.Event()

    def download():
        try:
            fetch(server, "/" + url)
        except OSError:
            pass
        stop.set()

    threading.Thread(target=download, daemon=True).start()
    stop.wait(0.15)
    server.kill()
    server.start()
    check_served(server, sample, [sample.blob])
    assert len(cached_files(server)) == 1, cached_files(server)


@pytest.mark.concurrency
def test_one_compression_for_many(sample, serve):
    server = serve(sample.store, "--compression", "xz")
    url = narinfo(server, sample.blob)["URL"]
    bodies = []
    threads = [threading.Thread(target=lambda: bodies.append(fetch(server, "/" + url).body)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bodies) == 20 and len(set(bodies)) == 1
    metrics = fetch(server, "/metrics").text
    made = [line for line in metrics.splitlines() if "compress" in line and not line.startswith("#")]
    assert any(line.endswith(" 1") for line in made), made
