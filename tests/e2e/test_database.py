"""The store's database: read by an unprivileged user while others write it, or not readable at all."""

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from support import oracle
from support.http import connect, fetch


def status_of(server, store_path):
    return fetch(server, f"/{oracle.hash_part(store_path)}.narinfo").status


def wait_for_status(server, store_path, status, timeout=15):
    deadline = time.monotonic() + timeout
    while (got := status_of(server, store_path)) != status:
        assert time.monotonic() < deadline, f"{got} instead of {status}:\n{server.log_text()}"
        time.sleep(0.1)


def add_file(store, root, name):
    file = root / name
    file.write_text(f"{name}\n")
    return store.add(file)


@contextlib.contextmanager
def locked(database):
    """A database without WAL under a lock that keeps readers out, as Nix's writing does then."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("pragma busy_timeout = 5000")
    connection.execute("begin exclusive")
    try:
        yield
    finally:
        connection.execute("rollback")
        connection.close()


@pytest.mark.parametrize("daemon", [False, True], ids=["without-daemon", "with-daemon"])
def test_unprivileged_reader_beside_a_writer(writable_store, root, serve, nobody, daemon):
    """Nix before 2.22 removes the database's -wal and -shm whenever its last connection closes."""
    store, stable = writable_store
    process = store.start_daemon() if daemon else None
    try:
        server = serve(store, user=nobody)
        problems, requests = [], [0]
        stop = threading.Event()

        def read():
            while not stop.is_set():
                requests[0] += 1
                answer = fetch(server, f"/{oracle.hash_part(stable)}.narinfo")
                if answer.status != 200 or f"StorePath: {stable}" not in answer.text:
                    problems.append(repr(answer))
                absent = fetch(server, f"/{'0' * 32}.narinfo")
                if absent.status != 404:
                    problems.append(repr(absent))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        deadline = time.monotonic() + 8
        rounds = 0
        while (time.monotonic() < deadline or rounds < 4) and not problems:
            rounds += 1
            store.through_daemon = daemon and rounds % 2 == 0
            added = add_file(store, root, f"file-{rounds}")
            if (status := status_of(server, added)) != 200:
                problems.append(f"round {rounds}: {status} for a path just added")
            nar = fetch(server, f"/nar/{oracle.hash_part(added)}.nar")
            if nar.status != 200:
                problems.append(f"round {rounds}: NAR {nar}")
            store.delete(added)
            if (status := status_of(server, added)) != 404:
                problems.append(f"round {rounds}: {status} for a path just deleted")
        stop.set()
        for reader in readers:
            reader.join()
        assert not problems, "\n".join(problems[:5]) + "\n" + server.log_text()
        assert requests[0] > 20
    finally:
        if process:
            process.terminate()
            process.wait()


def test_daemon_comes_and_goes(writable_store, root, serve, nobody):
    store, stable = writable_store
    server = serve(store, user=nobody)
    for n in range(2):
        process = store.start_daemon()
        added = add_file(store, root, f"with-daemon-{n}")
        wait_for_status(server, added, 200)
        process.kill()
        process.wait()
        added = add_file(store, root, f"without-daemon-{n}")
        wait_for_status(server, added, 200)
        assert status_of(server, stable) == 200


@pytest.fixture
def store_without_wal(writable_store):
    """As with Nix's `use-sqlite-wal = false`, which network file systems need: only so do writers keep readers out."""
    store, _ = writable_store
    connection = sqlite3.connect(store.database, isolation_level=None)
    assert connection.execute("pragma journal_mode = delete").fetchone() == ("delete",)
    connection.close()
    return writable_store


def test_locked_database_is_waited_for(store_without_wal, serve):
    store, path = store_without_wal
    server = serve(store)
    with locked(store.database):
        timer = threading.Timer(2, lambda: None)
        result = []
        asking = threading.Thread(target=lambda: result.append(status_of(server, path)))
        asking.start()
        timer.start()
        timer.join()
    asking.join(20)
    assert result == [200]


def test_database_locked_for_long(store_without_wal, root, serve):
    store, known = store_without_wal
    other = "/".join([store.store_dir, "0" * 32 + "-unknown"])
    server = serve(store)
    assert status_of(server, known) == 200
    with locked(store.database):
        started = time.monotonic()
        assert status_of(server, known) == 200, "a known path is answered from memory"
        assert status_of(server, other) == 503, "what is not known is not called absent"
        elapsed = time.monotonic() - started
        assert 3 < elapsed < 14, "it is waited for, and not for ever"
        answer = fetch(server, f"/{oracle.hash_part(other)}.narinfo")
        assert "retry-after" not in answer.headers
        assert fetch(server, "/nix-cache-info").status == 200
    wait_for_status(server, other, 404)
    server.wait_for_log("(?i)lock|busy")


def test_absent_database(root, system_nix, writable_store, serve):
    """The server may be there before the store is."""
    store, path = writable_store
    aside = root / "db-aside"
    os.rename(store.database.parent, aside)
    server = serve(store)
    assert fetch(server, "/nix-cache-info").status == 200
    assert status_of(server, path) == 503
    server.wait_for_log(str(store.database))
    os.rename(aside, store.database.parent)
    wait_for_status(server, path, 200)


def test_database_that_vanishes(root, writable_store, serve):
    store, known = writable_store
    other = add_file(store, root, "other")
    server = serve(store)
    assert status_of(server, known) == 200
    aside = root / "db-aside"
    os.rename(store.database.parent, aside)
    assert status_of(server, known) == 200
    assert status_of(server, other) in (200, 503)
    os.rename(aside, store.database.parent)
    wait_for_status(server, other, 200)


@pytest.mark.parametrize("content", ["garbage", "empty file", "no tables", "other columns"])
def test_unknown_schema(root, writable_store, serve, content):
    store, path = writable_store
    aside = root / "db.sqlite"
    shutil.move(store.database, aside)
    for suffix in ("-wal", "-shm"):
        store.database.with_name(store.database.name + suffix).unlink(missing_ok=True)
    if content == "garbage":
        store.database.write_bytes(os.urandom(40_960))
    elif content == "empty file":
        store.database.touch()
    else:
        connection = sqlite3.connect(store.database)
        table = "Unrelated (x)" if content == "no tables" else "ValidPaths (id integer, route text)"
        connection.execute(f"create table {table}")
        connection.commit()
        connection.close()
    server = serve(store)
    assert status_of(server, path) == 503
    server.wait_for_log(str(store.database))
    store.database.unlink()
    shutil.move(aside, store.database)
    wait_for_status(server, path, 200)


def test_replaced_database(root, writable_store, serve):
    """A restore from a backup puts another file in its place."""
    store, path = writable_store
    server = serve(store)
    assert status_of(server, path) == 200
    backup = root / "backup.sqlite"
    shutil.copy(store.database, backup)
    added = add_file(store, root, "added")
    wait_for_status(server, added, 200, timeout=1)
    os.rename(backup, store.database)
    for suffix in ("-wal", "-shm"):
        store.database.with_name(store.database.name + suffix).unlink(missing_ok=True)
    wait_for_status(server, added, 404)
    assert status_of(server, path) == 200


def test_path_deleted_before_its_nar(writable_store, root, serve):
    store, _ = writable_store
    added = add_file(store, root, "short-lived")
    server = serve(store)
    fields = oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(added)}.narinfo").text)
    store.delete(added)
    assert fetch(server, "/" + fields["URL"]).status == 404
    assert fetch(server, "/" + fields["URL"].split("?")[0]).status == 404
    assert status_of(server, added) == 404


def test_path_removed_behind_the_database(writable_store, root, serve):
    """The database has it, the disk has not: 404, as by Nix's own word it cannot be had here."""
    store, _ = writable_store
    added = add_file(store, root, "lost")
    server = serve(store)
    fields = oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(added)}.narinfo").text)
    store.real(added).unlink()
    nar_hash = fields["NarHash"].removeprefix("sha256:")
    for suffix in ("", ".zst", ".xz"):
        assert fetch(server, f"/nar/{nar_hash}.nar{suffix}").status == 404


@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_path_deleted_in_mid_download(writable_store, root, serve, suffix):
    """The connection is cut; what came never looks whole."""
    store, _ = writable_store
    tree = root / "tree"
    tree.mkdir()
    for n in range(40):
        (tree / f"{n:02d}").write_bytes(os.urandom(1 << 20))
    added = store.add(tree)
    server = serve(store)
    fields = oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(added)}.narinfo").text)
    path = f"/nar/{fields['NarHash'].removeprefix('sha256:')}.nar{suffix}"
    with connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        received = connection.recv(100_000)
        # Nix by itself keeps what the server has open: it finds it in /proc.
        store.run("nix-store", "--delete", "--ignore-liveness", added)
        try:
            while chunk := connection.recv(1 << 20):
                received += chunk
        except ConnectionResetError:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    if suffix:
        assert b"chunked" in head.lower() and not body.endswith(b"0\r\n\r\n")
    else:
        assert len(body) < int(fields["NarSize"])
    server.wait_for_log("(?i)cut after")


def nar_url(server, store_path):
    fields = oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(store_path)}.narinfo").text)
    return f"/nar/{fields['NarHash'].removeprefix('sha256:')}.nar"


@pytest.mark.parametrize("change", ["hash = 'sha256:nonsense'", "hash = ''", "narSize = null", "deriver = 'x.drv'"])
def test_a_row_that_is_not_what_nix_writes(writable_store, root, serve, change):
    """It is absent for everybody, is told of once, and costs no other path anything."""
    store, path = writable_store
    odd = add_file(store, root, "odd")
    with contextlib.closing(sqlite3.connect(store.state_dir / "db/db.sqlite", timeout=10)) as database:
        database.execute(f"update ValidPaths set {change} where path = ?", [odd])
        database.commit()
    server = serve(store)
    for _ in range(3):
        assert status_of(server, odd) == 404
        assert fetch(server, f"/{oracle.hash_part(odd)}.ls").status == 404
        assert fetch(server, f"/nar/{oracle.hash_part(odd)}.nar").status == 404
        assert status_of(server, path) == 200
    assert fetch(server, nar_url(server, path)).status == 200
    assert len([line for line in server.log if "taken for absent" in line]) == 1


def test_no_thread_for_the_index(writable_store, serve, nobody):
    """Where the system gives no more threads, what needs no index is served, and the rest once there is one."""
    store, path = writable_store
    server = serve(store, user=nobody)
    url = nar_url(server, path)

    def limit_threads(number):
        as_nobody = ["setpriv", "--reuid", nobody, "--regid", "nogroup", "--clear-groups"]
        command = [*as_nobody, "prlimit", "--pid", str(server.process.pid), f"--nproc={number}:"]
        subprocess.run(command, check=True)

    limit_threads(1)
    for number in range(300):
        assert fetch(server, f"/{number:032}.narinfo").status == 404
    assert status_of(server, path) == 200
    assert fetch(server, f"{url}?hash={oracle.hash_part(path)}").status == 200
    assert fetch(server, url).status == 503
    server.wait_for_log("no thread can be started")
    limit_threads(1000)
    assert fetch(server, url).status == 200
