"""Clients of a build server that cannot be reached, or answers something else; outputs that cannot be written."""

import socket
import subprocess

import pytest
from support.client import client, environment
from support.fake_api import Raw, Reply, progress, status
from support.server import BINARY


# Servers that cannot be reached


def test_refused_connection():
    done = client(None, "status", server="127.0.0.1:1")
    assert (done.code, done.out) == (3, "")
    assert "cannot reach 127.0.0.1:1: connection refused" in done.err
    assert "serve-api" in done.err


def test_name_that_does_not_resolve():
    done = client(None, "status", server="no-such-host.invalid:8000")
    assert (done.code, done.out) == (3, "")
    assert "cannot reach no-such-host.invalid:8000" in done.err and "Tailscale" in done.err


def test_no_answer_to_a_connection():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # Fills the queue of connections, so that further ones are not answered.
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        done = client(None, "status", server=f"127.0.0.1:{full.getsockname()[1]}")
        assert done.code == 3
        assert "no answer to a connection within 5 s" in done.err


def test_unix_socket(root):
    done = client(None, "status", server=f"unix:{root}/none.sock")
    assert done.code == 3 and f"cannot reach {root}/none.sock" in done.err


def test_a_proxy_is_told_of():
    done = client(None, "status", server="no-such-host.invalid:8000", http_proxy="http://127.0.0.1:1")
    assert done.code == 3 and "http_proxy" in done.err


# Answers that are none


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Reply("<html><title>Log in</title>", content_type="text/html"), ["web page", "Log in"]),
        (Reply("<!DOCTYPE html>", code=502, content_type="text/html"), ["web page", "502"]),
        (Reply('{"is_running": tr'), ["not JSON"]),
        (Reply(""), ["answered with 200"]),
        (Reply("null"), ["answered with 200"]),
        (Reply({"is_running": "yes"}), ["field 'is_running'", "true or false"]),
        (Reply({"is_running": True}), ["field 'repository'", "missing"]),
        (Reply({"detail": "the disk is full"}, 503), ["the disk is full", "503"]),
        (Reply("Internal Server Error", 500, "text/plain"), ["500", "Internal Server Error"]),
        (Reply("", 302, location="http://login.example/"), ["redirected", "http://login.example/"]),
        (Reply({"detail": "a\x1b[31mb"}, 404), ["ab"]),
        (Raw("SSH-2.0-OpenSSH_9.2\r\n"), ["does not speak HTTP"]),
        (Raw(""), ["closed before"]),
        (Raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"), ["cut off"]),
    ],
)
def test_answers_that_are_not_the_apis(api, answer, words):
    api.answers["GET /build/status"] = answer
    done = client(api, "status")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("error: ") and api.address in done.err
    assert "\x1b" not in done.err
    for word in words:
        assert word in done.err


def test_an_answer_without_end(api):
    api.answers["GET /build/status"] = Raw("HTTP/1.1 200 OK\r\n\r\n" + "x" * (70 << 20))
    done = client(api, "status")
    assert done.code == 4 and "longer than" in done.err


def test_fields_of_a_newer_server(api):
    api.answers["GET /build/status"] = {**status(), "colour": "blue", "progress": progress(x=1)}
    assert client(api, "status").code == 0


# Where the output goes


def test_output_that_cannot_be_written(api):
    api.answers["GET /build/status"] = status()
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [str(BINARY), "status", "--server", api.address],
            env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1 and "standard output" in done.stderr


def test_a_reader_that_has_enough(api):
    api.answers["GET /build/logs"] = {"logs": ["x" * 100] * 10_000}
    done = subprocess.run(
        ["sh", "-c", f"{BINARY} logs -n 10000 --server {api.address} | head -n 1"],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "x" * 100 + "\n"
    assert done.stderr == ""
