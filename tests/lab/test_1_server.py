"""A server is made of what `meson install` installed and the four lines of the README."""

import pytest
from support.machine import wait_for

LOOPBACK = {(address, port) for address in ("127.0.0.1", "::1") for port in ("5000", "8000")}
TAILNET = {(address, port) for address in ("100.64.0.1", "fd7a:115c:a1e0::1") for port in ("5000", "8000")}
USERS = {
    "nixbuild-cache.service": "nixbuild-cache",
    "nixbuild-api.service": "nixbuild-api",
    "nixbuild-build@nix-terminal.service": "nixbuild-build",
}


def test_every_unit_is_healthy(server):
    assert server.run("systemctl", "is-system-running").stdout.strip() == "running"
    for unit in ("nixbuild-cache", "nixbuild-api"):
        assert server.property(f"{unit}.service", "ActiveState") == "active"
        assert server.property(f"{unit}.socket", "ActiveState") == "active"
        assert server.property(f"{unit}.service", "NRestarts") == "0"
    verified = server.run("systemd-analyze", "verify", *USERS, "nixbuild-cache.socket", "nixbuild-api.socket",
                          "nixbuild-key.service")  # fmt: skip
    assert verified.stdout + verified.stderr == ""


def test_nothing_is_warned_of_but_the_missing_tailnet(server):
    lines = server.run("journalctl", "--no-pager", "--output=cat", "--priority=warning", "--unit=nixbuild-*").stdout
    assert [line for line in lines.splitlines() if "ailscale" not in line] == []


def test_services_run_as_users_of_their_own(server):
    for unit in ("nixbuild-cache.service", "nixbuild-api.service"):
        pid = server.property(unit, "MainPID")
        status = server.run("cat", f"/proc/{pid}/status").stdout
        user = server.run("id", "--user", USERS[unit]).stdout.strip()
        assert f"Uid:\t{user}\t{user}\t{user}\t{user}\n" in status and user != "0"
        assert "CapEff:\t0000000000000000\n" in status and "NoNewPrivs:\t1\n" in status
    for unit, user in USERS.items():
        assert server.property(unit, "User") == user


def test_the_key_is_made_once_and_is_the_caches_alone(server):
    key = "/etc/nixbuild/cache-key"
    assert server.run("stat", "--format=%U %a", key).stdout == "root 600\n"
    assert server.run("stat", "--format=%a", f"{key}.pub").stdout == "644\n"
    assert server.run("cat", f"{key}.pub").stdout.strip() == server.public_key()
    credential = "/run/credentials/nixbuild-cache.service/cache-key"
    assert server.run("test", "-s", credential).code == 0
    for user in ("nixbuild-api", "nixbuild-build", "alice"):
        for path in (key, credential):
            assert "Permission denied" in server.run("cat", path, user=user, directory="/", code=1).stderr
    before = server.run("sha256sum", key).stdout
    server.run("systemctl", "restart", "nixbuild-key", "nixbuild-cache")
    assert server.run("sha256sum", key).stdout == before


@pytest.mark.parametrize("unit, exposure", [
    ("nixbuild-cache.service", 1.5), ("nixbuild-api.service", 1.5), ("nixbuild-build@x.service", 2.5),
    ("nixbuild-key.service", 1.5),
])  # fmt: skip
def test_units_are_confined(server, unit, exposure):
    threshold = f"--threshold={int(exposure * 10)}"
    server.run("systemd-analyze", "security", "--no-pager", threshold, unit)


def test_without_tailscale_loopback_is_served(lab, server):
    if server.run("ip", "link", "show", "tailscale0", code=None).code == 0:
        server.machine.unplug(lab.tailnet)
    wait_for(lambda: server.listening() == LOOPBACK, "only loopback listens")
    for url in ("http://127.0.0.1:5000/nix-cache-info", "http://[::1]:8000/health"):
        server.run("curl", "--silent", "--fail", "--globoff", url)


def test_tailscale_comes_late_goes_and_comes_back(lab, server, laptop):
    for _ in range(2):
        server.join_tailnet()
        wait_for(lambda: server.listening() == LOOPBACK | TAILNET, "loopback and tailscale0 listen")
        for host in ("build-server", "100.64.0.1", "[fd7a:115c:a1e0::1]"):
            for page in ("5000/nix-cache-info", "8000/health"):
                laptop.run("curl", "--silent", "--show-error", "--fail", "--globoff", "--max-time", "10",
                           f"http://{host}:{page}")  # fmt: skip
        server.machine.unplug(lab.tailnet)
        wait_for(lambda: server.listening() == LOOPBACK, "tailscale0's addresses are given up")
    assert server.property("nixbuild-cache", "NRestarts") == server.property("nixbuild-api", "NRestarts") == "0"


def test_the_untrusted_network_gets_no_connection(lab, server, tailnet, laptop):
    lan = server.machine.address(lab.lan)
    laptop.run("ping", "-c1", "-W5", lan)
    for port in (5000, 8000):
        refused = laptop.run("curl", "--silent", "--show-error", f"http://{lan}:{port}/", code=7).stderr
        assert "Could not connect" in refused or "Connection refused" in refused, refused


def test_the_untrusted_network_cannot_reach_the_tailnets_address(lab, server, tailnet, laptop):
    lan = server.machine.address(lab.lan)
    laptop.run("ip", "route", "add", "100.64.0.1/32", "via", lan, "dev", "lan0")
    try:
        for port in (5000, 8000):
            laptop.run("curl", "--silent", "--max-time", "2", f"http://100.64.0.1:{port}/health", code=7)
    finally:
        laptop.run("ip", "route", "del", "100.64.0.1/32", "via", lan, "dev", "lan0")
    # The server itself comes by loopback, whatever the address.
    server.run("curl", "--silent", "--fail", "--max-time", "5", "http://100.64.0.1:8000/health")


def test_a_power_cut_leaves_a_server_that_comes_back_by_itself(server, tailnet, laptop):
    key = server.public_key()
    server.machine.cut_power()
    server.machine.boot()
    server.run("systemctl", "is-active", "nixbuild-cache", "nixbuild-api")
    server.start_git_daemon()
    server.join_tailnet()
    assert server.public_key() == key
    laptop.run("curl", "--silent", "--fail", "http://build-server:8000/health")
