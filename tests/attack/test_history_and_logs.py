"""Boundaries 1 and 4: what builds leave where the API reads, and what one client can ask for."""

import os
import pathlib
import shutil
import socket
import time

import pytest
from support.api import ApiServer
from support.build import GOOD, flake, packages, repository
from support.http import fetch

SECRET = "a-secret-of-the-server"
ENDLESS = {"flake.nix": flake(packages(x="while :; do sleep 0.1; done"))}


@pytest.fixture
def serve(builder):
    servers = []

    def start(*options):
        # An AddressSanitizer keeps what was freed, by default up to 256 MiB of it.
        servers.append(ApiServer(builder, *options, ASAN_OPTIONS="quarantine_size_mb=1"))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def built(builder, serve):
    """A server whose repository was built once."""
    repository(builder, GOOD)
    api = serve()
    api.post("/build/trigger")
    api.wait_until_done()
    return api


def replaced_by_link(log, secret):
    log.unlink()
    log.symlink_to(secret)


def replaced_by_linked_directory(log, secret):
    elsewhere = secret.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(secret, elsewhere / log.name)
    shutil.rmtree(log.parent)
    log.parent.symlink_to(elsewhere)


def replaced_by_fifo(log, secret):
    log.unlink()
    os.mkfifo(log)


@pytest.mark.parametrize("replace", [replaced_by_link, replaced_by_linked_directory, replaced_by_fifo])
def test_what_lies_in_the_place_of_a_log_is_not_sent(builder, built, replace):
    secret = builder.root / "private/secret"
    secret.parent.mkdir()
    secret.write_text(SECRET + "\n")
    replace(builder.state / "logs/demo/1.log", secret)
    assert fetch(built, "/builds/1/log").status == 404
    assert built.get("/build/logs") == {"logs": []}
    assert SECRET not in fetch(built, "/build/logs/demo/stream?build=1").text


def test_a_fifo_in_the_place_of_a_status_file_holds_nobody_up(builder, built):
    for name in ("status/demo.json", "locks/demo.lock", "locks/demo.output"):
        file = builder.state / name
        file.unlink(missing_ok=True)
        os.mkfifo(file)
    for path in ("/health", "/build/status", "/build/logs", "/builds"):
        # Whatever it is, it comes.
        assert fetch(built, path).status in (200, 503)


def test_long_messages_of_many_targets_stay_small(builder, serve):
    message = 'builtins.concatStringsSep "" (builtins.genList (n: "0123456789abcdef") 25000)'
    targets = "\n".join(f"packages.x86_64-linux.t{n} = throw ({message});" for n in range(120))
    repository(builder, {"flake.nix": flake(targets)})
    api = serve()
    api.post("/build/trigger")
    assert api.wait_until_done(seconds=300)["last_status"] == "failed"
    answer = fetch(api, "/builds/1").text
    assert len(answer) < 2 << 20
    assert answer.count("evaluation failed") == 120
    assert len(fetch(api, "/builds").text) < 16384
    assert (builder.state / "history.sqlite").stat().st_size < 4 << 20


def test_rounds_of_triggering_and_cancelling_leave_the_last_success(builder, serve):
    source = repository(builder, GOOD, keep_history=3)
    api = serve()
    api.post("/build/trigger")
    assert api.wait_until_done()["last_status"] == "success"
    source.commit(ENDLESS)
    statuses = []
    for _ in range(400):
        answer = fetch(api, "/build/trigger", "POST", {"Content-Length": "0"})
        statuses.append(answer.status)
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert "try again in" in answer.text
            break
        fetch(api, "/build/cancel", "POST", {"Content-Length": "0"})
    assert statuses[-1] == 429 and len(statuses) < 150
    deadline = time.monotonic() + 60
    while api.get("/build/status")["is_running"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert api.get("/builds/1")["state"] == "success"


def memory(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) << 10


def test_readers_of_logs_that_do_not_read_cost_little_memory(builder, built):
    log = builder.state / "logs/demo/1.log"
    log.write_text("".join(f"{n:0800}\n" for n in range(20_000)))
    before = memory(built.process)
    request = b"GET /build/logs/demo?lines=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    readers = []
    for _ in range(100):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", built.port))
        reader.sendall(request)
        readers.append(reader)
    for reader in readers:
        assert reader.recv(12) == b"HTTP/1.1 200"
    # All have begun: what they hold now is what they will ever hold.
    assert memory(built.process) - before < 64 << 20
    for reader in readers:
        reader.close()
    assert len(built.get("/build/logs?lines=10000")["logs"]) == 10_000
