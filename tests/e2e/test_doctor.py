"""`doctor` against a real cache, with the real Nix of this machine and settings of the tests' own.

Tailscale's daemon cannot run in a test: the `tailscale` command is a stand-in.
"""

import email.utils
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import pytest

from support.fake_api import FakeApi, Reply, ended
from support.home import stand_in_command
from support.oracle import hash_part
from support.server import BINARY, program, program_environment

KEY = "build-server-1:Ppfs4u4Zi77ZguR6GbdFlHqFfYm99VHew4xO33MVXrM="


@pytest.fixture
def api():
    fake = FakeApi()
    yield fake
    fake.stop()


@pytest.fixture
def machine(root, api, shared_server, sample):
    return Machine(root, api, shared_server, sample)


class Machine:
    """A client of the server: its home, Nix's settings, and an API that tells of the cache."""

    def __init__(self, root, api, server, sample):
        self.root = root
        self.home = root / "home"
        self.home.mkdir()
        self.etc = root / "etc"
        self.etc.mkdir()
        self.api = api
        self.path = os.environ["PATH"]
        self.settings = {
            "experimental-features": "nix-command flakes", "substituters": server.url, "fallback": "true",
            "trusted-public-keys": server.public_key,
        }  # fmt: skip
        self.announce(server.url, [sample.lib])

    def announce(self, cache_url, outputs=(), health="healthy"):
        self.api.answers["GET /info"] = {
            "hostname": "build-server", "version": "0", "system": "x86_64-linux", "api_port": self.api.port,
            "cache_url": cache_url, "public_keys": [], "repositories": ["nix-terminal"],
        }  # fmt: skip
        self.api.answers["GET /build/status"] = ended(outputs=list(outputs))
        self.api.answers["GET /health"] = {
            "status": health, "cache_running": True, "problems": [] if health == "healthy" else ["the disk is full"],
        }  # fmt: skip

    def environment(self, **more):
        (self.etc / "nix.conf").write_text("".join(f"{name} = {value}\n" for name, value in self.settings.items()))
        return {"HOME": str(self.home), "NIX_CONF_DIR": str(self.etc), "PATH": self.path, **more}

    def run(self, *options, server=None, **more):
        return program("doctor", "--server", server or self.api.address, *options, environment=self.environment(**more))

    def checks(self, *options, **more):
        """The checks by name, as JSON has them; of several of one name the last."""
        done = self.run("--json", *options, **more)
        report = json.loads(done.stdout)
        checks = {check["name"]: check for check in report["checks"]}
        assert done.returncode == (0 if report["ok"] else 1), done.stderr
        assert report["ok"] == all(check["state"] != "failed" for check in report["checks"])
        for check in report["checks"]:
            assert set(check) == {"name", "state", "message", "remedy"}
            assert check["state"] == "ok" or check["remedy"] or check["name"] in ("clock", "public key")
        return checks


def test_all_is_well(machine, shared_server, sample):
    checks = machine.checks()
    wanted = ["build API", "binary cache", "clock", "Nix", "substituter", "public key", "signature"]
    assert {name: checks[name]["state"] for name in wanted} == dict.fromkeys(wanted, "ok")
    assert sample.lib in checks["signature"]["message"]
    assert "disk space" in checks and "Tailscale" not in checks


def test_lines(machine):
    done = machine.run()
    marked = [line for line in done.stdout.splitlines() if not line.startswith("    ")]
    assert marked and all(line[0] in "✓!✗" and ": " in line for line in marked)
    assert done.stderr.strip()[0] in "✓!✗"


def test_the_server_is_away(machine):
    machine.api.stop()
    started = time.monotonic()
    checks = machine.checks(server="127.0.0.1:1")
    assert time.monotonic() - started < 30
    assert checks["build API"]["state"] == checks["binary cache"]["state"] == "failed"
    assert "127.0.0.1:1" in checks["build API"]["message"] and "127.0.0.1:5000" in checks["binary cache"]["message"]
    assert "public key" not in checks and "signature" not in checks
    assert checks["Nix"]["state"] == "ok"


def test_the_server_is_not_well(machine, shared_server):
    machine.announce(shared_server.url, health="degraded")
    check = machine.checks()["build API"]
    assert check["state"] == "warning" and "the disk is full" in check["message"]


@pytest.mark.parametrize("ahead, state", [(0, "ok"), (90, "warning"), (-90, "warning"), (3600, "failed")])
def test_clock(machine, ahead, state):
    date = email.utils.formatdate(time.time() + ahead, usegmt=True)
    machine.announce(f"http://{machine.api.address}")
    machine.api.answers["GET /nix-cache-info"] = Reply(f"StoreDir: /no/store\nPublicKey: {KEY}\n", Date=date)
    check = machine.checks()["clock"]
    assert check["state"] == state
    if ahead:
        assert ("ahead" if ahead > 0 else "behind") in check["message"]


def test_nix_does_not_know_the_cache(machine, shared_server):
    machine.settings["substituters"] = "https://cache.nixos.org"
    machine.settings["trusted-public-keys"] = ""
    checks = machine.checks()
    assert checks["substituter"]["state"] == checks["public key"]["state"] == checks["signature"]["state"] == "failed"
    assert f"extra-substituters = {shared_server.url}" in checks["substituter"]["remedy"]
    assert f"extra-trusted-public-keys = {shared_server.public_key}" in checks["public key"]["remedy"]
    # What it says to add makes it well.
    remedies = checks["substituter"]["remedy"].splitlines()[1:]
    (machine.home / ".config/nix").mkdir(parents=True)
    (machine.home / ".config/nix/nix.conf").write_text("\n".join(remedies))
    checks = machine.checks()
    assert checks["substituter"]["state"] == checks["public key"]["state"] == checks["signature"]["state"] == "ok"


def test_nix_trusts_another_key_of_the_same_name(machine, shared_server):
    name = shared_server.public_key.split(":")[0]
    machine.settings["trusted-public-keys"] = f"{name}:{KEY.split(':')[1]}"
    checks = machine.checks()
    assert checks["public key"]["state"] == checks["signature"]["state"] == "failed"
    assert checks["public key"]["message"].count("SHA256:") == 2


def test_the_key_has_changed_since_it_was_remembered(machine, shared_server):
    known = machine.home / ".local/state/nixbuild/known-keys"
    known.parent.mkdir(parents=True)
    known.write_text(f"{shared_server.url} {shared_server.public_key}\n")
    assert machine.checks()["public key"]["state"] == "ok"
    name = shared_server.public_key.split(":")[0]
    known.write_text(f"{shared_server.url} {name}:{KEY.split(':')[1]}\n")
    check = machine.checks()["public key"]
    assert check["state"] == "failed" and check["message"].startswith("THE SERVER'S KEY HAS CHANGED")
    assert check["message"].count("SHA256:") == 2


def test_what_is_served_is_not_signed_by_the_key(machine, shared_server, sample):
    machine.announce(f"http://{machine.api.address}", [sample.lib])
    machine.settings["trusted-public-keys"] = KEY
    machine.settings["substituters"] = f"http://{machine.api.address}"
    narinfo = subprocess.run(["curl", "-sf", f"{shared_server.url}/{hash_part(sample.lib)}.narinfo"],
                             capture_output=True, check=True).stdout  # fmt: skip
    machine.api.answers[f"GET /{hash_part(sample.lib)}.narinfo"] = Reply(narinfo)
    machine.api.answers["GET /nix-cache-info"] = Reply(f"StoreDir: {sample.store.store_dir}\nPublicKey: {KEY}\n")
    checks = machine.checks()
    assert checks["public key"]["state"] == "ok"
    assert checks["signature"]["state"] == "failed" and sample.lib in checks["signature"]["message"]


def test_a_malformed_key_in_the_cache(machine):
    machine.announce(f"http://{machine.api.address}")
    machine.api.answers["GET /nix-cache-info"] = Reply("StoreDir: /nix/store\nPublicKey: x\n")
    check = machine.checks()["binary cache"]
    assert check["state"] == "failed" and "no public key in Nix's format" in check["message"]


def test_without_flakes(machine):
    machine.settings["experimental-features"] = ""
    assert machine.checks()["Nix"]["state"] == "warning"


def test_without_nix(machine, root):
    machine.path = str(root / "nothing")
    check = machine.checks()["Nix"]
    assert check["state"] == "failed" and "nixos.org" in check["remedy"]


def test_fallback_of_this_nix(machine):
    version = subprocess.run(["nix", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    works = tuple(int(part) for part in version.split(".")[:2]) >= (2, 9)
    assert machine.checks()["fallback"]["state"] == ("ok" if works else "warning")
    machine.settings["fallback"] = "false"
    assert machine.checks()["fallback"]["state"] == "warning"


def test_a_user_whom_the_daemon_does_not_trust(machine, root, nobody, shared_server):
    binary = root / "nixbuild"
    binary.write_bytes(BINARY.read_bytes())
    binary.chmod(0o755)
    own = root / "own.conf"

    def checks(system, user):
        machine.settings = {"experimental-features": "nix-command flakes", **system}
        own.write_text("".join(f"{name} = {value}\n" for name, value in user.items()))
        done = subprocess.run(
            ["setpriv", "--reuid", nobody, "--regid", "nogroup", "--clear-groups", "--", binary, "doctor", "--json",
             "--server", machine.api.address],
            env={**program_environment(), **machine.environment(NIX_USER_CONF_FILES=str(own), NIX_REMOTE="daemon")},
            capture_output=True, text=True,
        )  # fmt: skip
        return {check["name"]: check for check in json.loads(done.stdout)["checks"]}

    mine = {"extra-substituters": shared_server.url, "extra-trusted-public-keys": shared_server.public_key}
    ignored = checks({"trusted-users": "root"}, mine)
    assert ignored["substituter"]["state"] == ignored["signature"]["state"] == "failed"
    assert "/etc/nix/nix.conf" in ignored["substituter"]["remedy"]
    allowed = checks({"trusted-substituters": shared_server.url, "trusted-public-keys": shared_server.public_key}, mine)
    assert allowed["substituter"]["state"] == allowed["signature"]["state"] == "ok"
    trusted = checks({"trusted-users": "root @nogroup"}, mine)
    assert trusted["substituter"]["state"] == trusted["signature"]["state"] == "ok"


def test_tailscale_and_name(machine, root):
    status = {"BackendState": "NeedsLogin"}
    machine.path = f"{stand_in_command(root / 'bin', 'tailscale', f'echo {chr(39)}{json.dumps(status)}{chr(39)}')}:{machine.path}"
    checks = machine.checks(server="no-such-host.invalid")
    assert checks["Tailscale"]["state"] == "warning"
    assert checks["Tailscale"]["remedy"] == "sudo tailscale up"
    assert checks["name"]["state"] == "failed" and "no-such-host.invalid" in checks["name"]["message"]

    key = machine.home / ".config/nixbuild/tailscale-auth-key"
    key.parent.mkdir(parents=True)
    key.touch()
    remedy = machine.checks(server="no-such-host.invalid")["Tailscale"]["remedy"]
    assert remedy == f"sudo tailscale up --auth-key file:{key}"


# --- on the server ---


def on_server(machine, server, sample):
    return machine.checks("--on-server", "--state-dir", server.state_dir, "--nix-state-dir", sample.store.state_dir)


def test_a_server_that_is_well(machine, shared_server, sample):
    checks = on_server(machine, shared_server, sample)
    for name in ("signing key", "store database", "NAR cache", "programs"):
        assert checks[name]["state"] == "ok", checks[name]
    assert "mode 0600" in checks["signing key"]["message"] and "can read it" in checks["signing key"]["message"]


def test_a_key_that_others_can_read(machine, shared_server, sample):
    key = machine.root / "key"
    key.write_bytes((shared_server.state_dir / "cache-key").read_bytes())
    key.chmod(0o644)
    check = machine.checks("--on-server", "--state-dir", shared_server.state_dir, "--secret-key-file", key)["signing key"]
    assert check["state"] == "failed" and "everybody can read it" in check["message"]
    assert check["remedy"].startswith(f"sudo chmod 600 {key}")


def test_a_key_that_the_cache_does_not_use(machine, shared_server):
    key = machine.root / "key"
    program("keys", "generate", "--file", key, "--name", "other-1")
    check = machine.checks("--on-server", "--state-dir", shared_server.state_dir, "--secret-key-file", key)["signing key"]
    assert check["state"] == "failed" and "signs with a different key" in check["message"]


def test_a_daemon_that_is_stopped(machine, root):
    with tempfile.TemporaryDirectory(prefix="nix-") as state:
        path = pathlib.Path(state) / "daemon-socket/socket"
        options = ("--on-server", "--state-dir", root / "state", "--nix-state-dir", state)
        assert machine.checks(*options)["Nix daemon"]["message"].startswith("not in use")
        path.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.bind(str(path))
            daemon.listen()
            assert machine.checks(*options)["Nix daemon"]["state"] == "ok"
        check = machine.checks(*options)["Nix daemon"]
        assert check["state"] == "failed" and "Connection refused" in check["message"]
        assert "systemctl start nix-daemon" in check["remedy"]


def test_a_server_that_lacks_things(machine, root):
    machine.path = str(root / "nothing")
    checks = machine.checks("--on-server", "--state-dir", root / "state", "--nix-state-dir", root / "nix")
    assert checks["store database"]["state"] == "failed"
    assert checks["programs"]["state"] == "failed" and "git, nix, nix-store" in checks["programs"]["message"]
    assert checks["signing key"]["state"] == checks["NAR cache"]["state"] == "warning"
