"""Nix's daemon stopped on the server."""

import json

import pytest
from support.repository import Clone

SOCKET = "/nix/var/nix/daemon-socket/socket"


@pytest.fixture
def without_daemon(server):
    server.run("systemctl", "stop", "nix-daemon.socket", "nix-daemon")
    yield
    server.run("systemctl", "start", "nix-daemon.socket")


@pytest.fixture
def path(server, tailnet, laptop):
    """Built while there was a daemon."""
    Clone(laptop).push(terminal="echo with a daemon > $out")
    laptop.run("bt", "--wait", user="alice")
    return server.status()["outputs"][0]


def test_what_is_built_is_served_and_the_next_build_says_what_is_missing(server, path, without_daemon, laptop, desktop):
    server.check_served(desktop, path)
    # A cache that is started now has never seen a daemon.
    server.run("systemctl", "restart", "nixbuild-cache")
    server.join_tailnet()
    server.check_served(desktop, path)

    Clone(laptop).push(terminal="echo without a daemon > $out")
    failed = laptop.run("bt", "--wait", user="alice", code=1)
    assert SOCKET in failed.stderr and "Connection refused" in failed.stderr, str(failed)
    report = json.loads(server.run("nixbuild", "doctor", "--json", code=1).stdout)
    [check] = [check for check in report["checks"] if check["name"] == "Nix daemon"]
    assert check["state"] == "failed" and SOCKET in check["message"] and "nix-daemon" in check["remedy"], check

    server.run("systemctl", "start", "nix-daemon.socket")
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr
