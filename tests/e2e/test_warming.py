"""The control socket: a finished build is compressed before anybody asks for it."""

import http.client
import json
import os
import socket
import stat
import time

from support import oracle
from support.http import fetch


def warm(server, body, path="/warm", method="POST"):
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(server.state_dir / "control.sock"))
    connection.request(method, path, body)
    response = connection.getresponse()
    result = response.status, response.read()
    connection.close()
    return result


def narinfo(server, store_path):
    return oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(store_path)}.narinfo").text)


def test_closures_are_compressed(sample, serve):
    server = serve(sample.store)
    closure = sample.store.closure(sample.app)
    status, body = warm(server, f"{sample.app}\n{sample.tool}\n")
    assert status in (200, 202) and json.loads(body)["paths"] == len(closure)
    deadline = time.monotonic() + 20
    while not all("FileHash" in narinfo(server, store_path) for store_path in closure):
        assert time.monotonic() < deadline, server.log_text()
        time.sleep(0.05)
    assert json.loads(warm(server, f"{sample.app}\n")[1])["queued"] == 0


def test_bad_requests(sample, serve):
    server = serve(sample.store)
    for body in ("/etc/passwd\n", "garbage", "x" * 100_000, f"{sample.store.store_dir}/../x\n", "\x00\n"):
        assert 400 <= warm(server, body)[0] < 500, body
    absent = f"{sample.store.store_dir}/{'0' * 32}-absent\n"
    assert warm(server, absent)[0] < 500
    assert warm(server, "", method="GET")[0] == 405
    assert warm(server, "", path="/etc/passwd")[0] == 404


def test_only_on_the_control_socket(sample, serve):
    server = serve(sample.store)
    assert fetch(server, "/warm", "POST", {"Content-Length": "0"}).status in (404, 405)
    mode = os.stat(server.state_dir / "control.sock").st_mode
    assert stat.S_ISSOCK(mode) and not mode & 0o002
