"""What goes wrong on a day, and what holds after."""

import time

import pytest
from support.host_nix import HostNix, has_host_nix
from support.machine import wait_for
from support.repository import Clone

CUT = 30  # seconds; shorter than the time after which Nix gives a download up


@pytest.fixture(scope="module")
def noise(lab, server, laptop, desktop):
    """Store paths of 30 MB each that the clients lack, one a test; the clients trust the server."""
    server.join_tailnet()
    names = ("first", "second")
    Clone(laptop).push(**{name: f"head -c 30000000 /dev/urandom > $out # {name}" for name in names})
    laptop.run("bt", "--wait", user="alice")
    for client in (laptop, desktop):
        client.trust(server.public_key())
    return {path[44:]: path for path in server.status()["outputs"]}


@pytest.fixture
def slowly(lab, server, tailnet):
    """The server sends 30 MB in some six seconds."""
    server.machine.slow_down(lab.tailnet, "40mbit")
    yield
    server.machine.slow_down(lab.tailnet, None)


def test_restarts_in_mid_build_are_not_noticed(server, tailnet, laptop, gate):
    Clone(laptop).push(terminal=gate.script("restarts"))
    follower = laptop.start("bt", "--follow", user="alice")
    gate.wait_until_reached("restarts")
    server.run("systemctl", "restart", "nixbuild-api", "nixbuild-cache")
    server.join_tailnet()
    assert server.status()["is_running"] is True
    gate.open()
    out, error = follower.communicate(timeout=60)
    assert follower.returncode == 0 and "restarts" in out, f"{out}\n{error}"


def test_a_network_cut_while_a_build_is_followed(lab, server, tailnet, laptop, gate):
    Clone(laptop).push(terminal=gate.script("network"))
    follower = laptop.start("bt", "--follow", user="alice")
    gate.wait_until_reached("network")
    server.machine.cut(lab.tailnet)
    time.sleep(CUT)
    gate.open()
    server.wait_until_built()
    server.machine.cut(lab.tailnet, again=True)
    out, error = follower.communicate(timeout=120)
    assert follower.returncode == 0 and "network" in out, f"{out}\n{error}"


def wait_until_receiving(machine):
    before = machine.received()
    wait_for(lambda: machine.received() > before + 3_000_000, "the download is under way")


def test_a_restart_in_mid_download_is_not_noticed(server, noise, slowly, desktop):
    download = desktop.start("nix-store", "--realise", noise["first"], user="alice")
    wait_until_receiving(desktop)
    server.run("systemctl", "restart", "nixbuild-cache")
    out, error = download.communicate(timeout=120)
    assert download.returncode == 0, f"{out}\n{error}"
    assert desktop.run("nix-store", "--verify-path", noise["first"], user="alice").stderr == ""


def test_a_network_cut_in_mid_download(lab, server, noise, slowly, laptop, desktop, tmp_path):
    """Two versions of Nix wait for the same network, each with a download."""
    downloads = [desktop.start("nix-store", "--realise", noise["second"], user="alice")]
    if has_host_nix:
        other = HostNix(laptop, tmp_path, server.public_key())
        downloads.append(other.start(*other.realise(noise["second"])))
        wait_until_receiving(laptop)
    wait_until_receiving(desktop)
    server.machine.cut(lab.tailnet)
    time.sleep(CUT)
    assert [download.poll() for download in downloads] == [None] * len(downloads)
    server.machine.cut(lab.tailnet, again=True)
    for download in downloads:
        out, error = download.communicate(timeout=200)
        assert download.returncode == 0, f"{out}\n{error}"
    desktop.run("nix-store", "--verify-path", noise["second"], user="alice")
    if has_host_nix:
        right = server.run("nix-store", "--query", "--hash", noise["second"]).stdout.strip()
        assert other.hash_of(noise["second"]) == right


def test_a_power_cut_in_mid_build(server, tailnet, laptop, gate):
    clone = Clone(laptop)
    clone.push(terminal=gate.script("power"))
    laptop.run("bt", user="alice")
    gate.wait_until_reached("power")
    server.machine.cut_power()
    server.machine.boot()
    server.start_git_daemon()
    server.join_tailnet()
    status = server.status()
    assert status["is_running"] is False and status["last_status"] == "failed" and "interrupted" in status["error"]
    gate.open()
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr
