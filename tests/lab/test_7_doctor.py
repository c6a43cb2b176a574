"""`doctor` finds nothing on a good day, and what was broken on others."""

import json

import pytest
from support.repository import Clone

WRONG_KEY = "build-server-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture
def well(server, tailnet, laptop, desktop):
    """The server has built something, and the desktop takes it from there."""
    Clone(laptop).push(terminal="echo good > $out")
    laptop.run("bt", "--wait", user="alice")
    desktop.trust(server.public_key())
    yield
    desktop.trust(server.public_key())


def checks(machine, code=0, user="alice"):
    """The states of all checks by name."""
    report = json.loads(machine.run("nixbuild", "doctor", "--json", user=user, code=code).stdout)
    return {check["name"]: (check["state"], check["message"]) for check in report["checks"]}


def bad(checks):
    return {name for name, (state, _) in checks.items() if state == "failed"}


def test_all_is_well_on_a_client(well, desktop):
    found = checks(desktop)
    assert bad(found) == set()
    for name in ("name", "build API", "binary cache", "clock", "Nix", "substituter", "public key", "signature"):
        assert found[name][0] == "ok", found


def test_all_is_well_on_the_server(well, server):
    found = checks(server.machine, user=None, code=None)
    for name in ("units", "signing key", "store database", "NAR cache", "programs"):
        assert found[name][0] == "ok", found


def test_a_server_that_is_stopped(well, server, desktop):
    server.run("systemctl", "stop", "nixbuild-api.socket", "nixbuild-api", "nixbuild-cache.socket", "nixbuild-cache")
    try:
        assert {"build API", "binary cache"} <= bad(checks(desktop, code=1))
        assert "units" in bad(checks(server.machine, user=None, code=1))
    finally:
        server.run("systemctl", "start", "nixbuild-api", "nixbuild-cache")


def test_a_key_that_is_not_the_servers(well, desktop):
    desktop.trust(WRONG_KEY)
    found = checks(desktop, code=1)
    assert "public key" in bad(found) and "signature" in bad(found)


def test_a_name_that_does_not_resolve(well, lab, desktop):
    desktop.write("/etc/hosts", "127.0.0.1 localhost\n")
    try:
        assert "name" in bad(checks(desktop, code=1))
    finally:
        lab.write_hosts()


def test_a_user_whom_the_daemon_does_not_trust(well, server, desktop):
    """The cache is in the user's own settings, which count for trusted users only."""
    conf = desktop.path("/etc/nix/nix.conf").read_text()
    desktop.write("/etc/nix/nix.conf", conf.split("# the build server")[0])
    own = f"extra-substituters = http://build-server:5000\nextra-trusted-public-keys = {server.public_key()}\n"
    desktop.write("/home/alice/.config/nix/nix.conf", own)
    desktop.run("chown", "--recursive", "alice:", "/home/alice/.config")
    desktop.restart_nix()
    try:
        assert "substituter" in bad(checks(desktop, code=1))
    finally:
        desktop.run("rm", "/home/alice/.config/nix/nix.conf")
