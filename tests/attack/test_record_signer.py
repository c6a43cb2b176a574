"""Boundary 3: serve-cache signs build records for serve-api's user, and not for the builds'."""

import http.client
import json
import os
import pwd
import socket
import subprocess

import pytest

ASK = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request("GET", sys.argv[2])
answer = connection.getresponse()
print(answer.status, answer.read().decode(), flush=True)
"""


def ask(control, path, user=None):
    drop = (lambda: os.setuid(pwd.getpwnam(user).pw_uid)) if user else None
    done = subprocess.run(["/usr/bin/python3", "-c", ASK, str(control), path], capture_output=True, text=True, timeout=30,
                          preexec_fn=drop)  # fmt: skip
    assert done.returncode == 0, done.stderr
    status, _, body = done.stdout.partition(" ")
    return int(status), body


@pytest.fixture
def control(world):
    world.build()
    return world.builder.state / "control.sock"


def test_the_server_signs_for_its_own_user(world, control):
    status, body = ask(control, "/records/1")
    assert status == 200 and json.loads(body)["signatures"][0].startswith(world.machine.record_key.partition(":")[0] + ":")
    assert world.api.get("/builds/1/record") == json.loads(body)


def test_not_for_another_user(world, control, nobody):
    """Even one who can open the socket, as the group of the builds can."""
    for directory in (world.builder.root, world.builder.state):
        directory.chmod(0o755)
    control.chmod(0o777)
    status, body = ask(control, "/records/1", user=nobody)
    assert status == 403 and "signatures" not in body
    # What the builds' user may do goes on.
    assert ask(control, "/status", user=nobody)[0] == 200


def test_nothing_that_is_sent_is_signed(world, control):
    for path in ("/records/0", "/records/-1", "/records/x", "/records/99999999999999999999", "/records/1%0a"):
        assert ask(control, path)[0] == 422, path
    assert ask(control, "/records/999")[0] == 404
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(control))
    connection.request("POST", "/records/1", b'{"build":1}')
    assert connection.getresponse().status == 405


def test_not_over_tcp(world, control):
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{world.cache.url}/records/1")
    assert refused.value.code == 404


def test_without_the_cache_there_is_no_record(world, control):
    world.cache.stop()
    answer = world.api.get("/builds/1/record", status=503)
    assert "serve-cache signs no record" in answer["detail"]
