"""Boundary 2: builders and the evaluator may not drive the API of the server that they run on."""

import os
import pathlib
import subprocess

import pytest
from support.api import ApiServer
from support.build import GOOD, repository

BUILDER = 30001
OTHER = 30999

FIRE_AND_FORGET = """
import socket, struct, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", int(sys.argv[2]), 0))
connection.sendall(b"POST /build/trigger HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 0\\r\\n\\r\\n")
connection.close()
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


@pytest.fixture
def api(builder):
    """A server that sees a group nixbld."""
    accounts = builder.root / "accounts"
    accounts.mkdir()
    for name, line in {"group": "nixbld:x:30000:nixbld1", "passwd": f"nixbld1:x:{BUILDER}:30000::/:/bin/false"}.items():
        (accounts / name).write_text(pathlib.Path("/etc", name).read_text() + line + "\n")
    script = f'for f in group passwd; do mount --bind {accounts}/$f /etc/$f; done; exec "$@"'
    repository(builder, GOOD)
    server = ApiServer(builder)
    server.prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    server.start()
    yield server
    server.stop()


def request_as(uid, api, *arguments):
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "curl", "-sS", "-w", "%{http_code}", "-o", "/dev/null", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


@pytest.mark.parametrize("path", ["/build/trigger", "/build/cancel"])
def test_a_builder_neither_triggers_nor_cancels(api, path):
    assert request_as(BUILDER, api, "-X", "POST", f"{api.url}{path}") == "403"
    assert api.get("/builds")["builds"] == []


def test_a_builder_reads_nothing(api):
    for path in ("/builds", "/build/status", "/health"):
        assert request_as(BUILDER, api, f"{api.url}{path}") == "403"


def test_others_on_the_machine_are_served(api):
    assert request_as(OTHER, api, f"{api.url}/builds") == "200"
    assert request_as(OTHER, api, "-X", "POST", f"{api.url}/build/trigger") == "200"
    assert api.wait_until_done()["last_status"] == "success"


@pytest.mark.parametrize("linger", [0, 1])
def test_a_builder_that_does_not_wait_for_the_answer_triggers_nothing(api, linger):
    command = ["setpriv", f"--reuid={BUILDER}", f"--regid={BUILDER}", "--clear-groups"]
    for _ in range(20):
        subprocess.run([*command, "/usr/bin/python3", "-c", FIRE_AND_FORGET, str(api.port), str(linger)], check=True)
    # Requests of one kind are answered in turn: what came before is done.
    assert api.post("/build/trigger")["build_id"] == 1
    assert api.wait_until_done()["last_status"] == "success"
    assert len(api.get("/builds")["builds"]) == 1
