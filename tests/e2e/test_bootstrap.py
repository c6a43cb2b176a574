"""`bootstrap` on a fresh machine: what it says and writes, whose keys it takes, what comes next.

Tailscale's daemon cannot run in a test: the `tailscale` command is a stand-in that prints what the
real one would. So is `home-manager`, which notes how it is called.
"""

import json
import os
import re
import subprocess

import pytest

from support.client import Terminal
from support.fake_api import Reply
from support.fresh_machine import FILES, KEY, OTHER_KEY, announce, files_of, fingerprint
from support.home import mode, stand_in_command
from support.oracle import hash_part
from support.server import BINARY, program, program_environment


# --- what it says and writes ---


def test_the_seeds_lines(machine, api, shared_server, sample):
    announce(api, shared_server.url, [sample.lib])
    done = machine.bootstrap(server=api.address)
    lines = done.stderr.splitlines()
    assert lines[0] == "==> Bootstrapping new machine"
    assert "==> Creating secrets.nix..." in lines and "==> Creating flake.nix..." in lines
    assert "✓ Bootstrap complete" in lines
    assert f"✓ It has signed {sample.lib}" in lines
    assert machine.names() == FILES
    assert shared_server.public_key in machine.read("secrets.nix")
    assert shared_server.url in machine.read("secrets.nix")
    shown = program("keys", "show", "--file", shared_server.state_dir / "cache-key")
    assert re.search(r"SHA256:\S+", shown.stderr)[0] in done.stderr


def test_modes(machine):
    machine.offline()
    assert mode(machine.directory / "secrets.nix") == 0o600
    assert mode(machine.directory / "flake.nix") == 0o644
    # Again: nothing differs, nothing is written, and the secrets' mode is mended.
    (machine.directory / "secrets.nix").chmod(0o644)
    done = machine.offline()
    assert "Keeping flake.nix" in done.stderr
    assert mode(machine.directory / "secrets.nix") == 0o600
    assert machine.names() == FILES


def test_called_by_its_other_name(machine, root):
    link = root / "bootstrap-new-machine"
    link.symlink_to(BINARY)
    done = subprocess.run([link, "--public-key", KEY, "--dry-run"], capture_output=True, text=True,
                          env={**program_environment(), **machine.environment()}, cwd=root)  # fmt: skip
    assert done.returncode == 0 and "==> Bootstrapping new machine" in done.stderr


def test_dry_run_writes_nothing(machine):
    done = machine.offline("--dry-run")
    assert not machine.directory.exists() and not (machine.home / ".local").exists()
    assert f"--- {machine.directory}/flake.nix" in done.stdout and KEY in done.stdout


# --- the server's key ---


def test_a_new_key_is_trusted_only_by_a_person(machine, api):
    announce(api, f"http://{api.address}")
    api.answers["GET /nix-cache-info"] = Reply(f"StoreDir: /no/store\nPublicKey: {KEY}\n")
    refused = machine.bootstrap(yes=False, server=api.address, code=2)
    assert f"--public-key {KEY} or --yes" in refused.stderr and fingerprint(KEY) in refused.stderr
    assert not machine.directory.exists() and not (machine.home / ".local").exists()

    def on_a_terminal(answer):
        words = ("bootstrap", "--user=ann", "--host=new-laptop", "--dir", str(machine.directory))
        terminal = Terminal(api, *words, **machine.environment(NIXBUILD_CONFIG="/dev/null"))
        terminal.wait_for("Trust this key? [y/N]")
        assert fingerprint(KEY) in terminal.text
        terminal.press(answer)
        return terminal.end()

    for answer in ("n\n", "\n", "\x04"):
        assert on_a_terminal(answer) == 1
        assert not machine.directory.exists()
    assert on_a_terminal("y\n") == 0 and KEY in machine.read("secrets.nix")
    # Once it is known, nobody is asked.
    machine.bootstrap(yes=False, server=api.address)


def test_a_changed_key_is_refused(machine, api):
    cache = api.address
    announce(api, f"http://{cache}")
    for key in (KEY, OTHER_KEY):
        api.answers["GET /nix-cache-info"] = Reply(f"StoreDir: /no/store\nPublicKey: {key}\n")
        if key == KEY:
            machine.bootstrap(server=api.address)
    before = files_of(machine.root)
    for options in ([], ["--force"]):
        done = machine.bootstrap(*options, server=api.address, code=4)
        assert "HAS CHANGED" in done.stderr
        assert fingerprint(KEY) in done.stderr and fingerprint(OTHER_KEY) in done.stderr
        assert f"  --force --public-key {OTHER_KEY}" in done.stderr.splitlines()
        assert files_of(machine.root) == before
    # Into another directory it is refused too, and where the record is lost but the files are there.
    machine.bootstrap(server=api.address, directory=machine.root / "second", code=4)
    assert not (machine.root / "second").exists()
    (machine.home / ".local/state/nixbuild/known-keys").unlink()
    machine.bootstrap("--force", server=api.address, code=4)
    # A person who has compared them goes on; then all is as if it had never been another.
    machine.bootstrap("--force", "--public-key", OTHER_KEY, server=api.address)
    assert OTHER_KEY in machine.read("secrets.nix") and f'cacheUrl = "http://{cache}"' in machine.read("secrets.nix")
    assert "Keeping secrets.nix" in machine.bootstrap(server=api.address).stderr


def test_a_told_key_is_of_the_cache_that_the_server_names(machine, api):
    announce(api, "http://cache.example:45011")
    done = machine.offline(server=api.address)
    assert 'cacheUrl = "http://cache.example:45011"' in machine.read("secrets.nix")
    assert "extra-substituters http://cache.example:45011" in done.stdout and "! " not in done.stderr.split("✓ Its key")[0]
    known = (machine.home / ".local/state/nixbuild/known-keys").read_text()
    assert known == f"http://cache.example:45011 {KEY}\n"
    # A server that is away is said to be, and no hindrance.
    api.stop()
    done = machine.bootstrap("--public-key", KEY, "--force", server="127.0.0.1:1")
    assert "! assuming that its cache is http://127.0.0.1:5000" in done.stderr.splitlines()
    assert "cacheUrl" not in machine.read("secrets.nix")


def test_a_key_of_another_server_is_no_change(machine, api):
    announce(api, f"http://{api.address}")
    api.answers["GET /nix-cache-info"] = Reply(f"StoreDir: /no/store\nPublicKey: {KEY}\n")
    machine.offline("--server", "elsewhere")
    machine.bootstrap("--force", server=api.address)


@pytest.mark.parametrize("info, reason", [
    ("StoreDir: /nix/store\nPublicKey: build-server-1:c2hvcnQ=\n", "no public key in Nix's format"),
    ("StoreDir: /nix/store\nPublicKey: \n", "no public key in Nix's format"),
    ("StoreDir: /nix/store\n", "names no public key"),
    (f"PublicKey: {KEY}\n", "StoreDir"),
    ("<!DOCTYPE html><title>Log in</title>", "not answered as a binary cache"),
])  # fmt: skip
def test_a_server_without_a_good_key(machine, api, info, reason):
    announce(api, f"http://{api.address}")
    api.answers["GET /nix-cache-info"] = Reply(info)
    done = machine.bootstrap(server=api.address, code=4)
    assert reason in done.stderr and not machine.directory.exists()


def test_a_key_that_signs_nothing_of_what_is_served(machine, api, shared_server, sample):
    announce(api, f"http://{api.address}", [sample.lib])
    narinfo = subprocess.run(["curl", "-sf", f"{shared_server.url}/{hash_part(sample.lib)}.narinfo"],
                             capture_output=True, check=True).stdout  # fmt: skip
    api.answers[f"GET /{hash_part(sample.lib)}.narinfo"] = Reply(narinfo)
    store = f"StoreDir: {sample.store.store_dir}\nPublicKey: "
    api.answers["GET /nix-cache-info"] = Reply(f"{store}{KEY}\n")
    done = machine.bootstrap(server=api.address, code=4)
    assert f"narinfo of {sample.lib} is not signed with the server's own key" in done.stderr and not machine.directory.exists()
    # With the right key, the same is good; and of two keys the one that signs is taken.
    api.answers["GET /nix-cache-info"] = Reply(f"{store}{KEY}\nPublicKey: {shared_server.public_key}\n")
    machine.bootstrap(server=api.address)
    assert shared_server.public_key in machine.read("secrets.nix")


def test_without_the_api_the_cache_is_at_port_5000(machine, api):
    api.stop()
    done = machine.bootstrap(server="127.0.0.1:1", code=3)
    assert "cannot reach 127.0.0.1:5000" in done.stderr and "--public-key" in done.stderr
    assert not machine.directory.exists()


@pytest.mark.parametrize("key", ["", "nonsense", "a:b", KEY[:-2], KEY + "=", "two " + KEY])
def test_a_malformed_key_on_the_command_line(machine, key):
    done = machine.bootstrap("--public-key", key, code=2 if key else 3, server="127.0.0.1:1")
    assert not machine.directory.exists()
    if key:
        assert "--public-key" in done.stderr


# --- Tailscale, by a stand-in command ---


TAILSCALE = {
    "BackendState": "Running", "Self": {"HostName": "laptop"},
    "Peer": {"a": {"HostName": "build-server", "DNSName": "build-server.t.ts.net.", "Online": True}},
}  # fmt: skip


@pytest.mark.parametrize("script, line", [
    (f"echo '{json.dumps(TAILSCALE)}'", "✓ Tailscale: running, and 'build-server' is in the tailnet"),
    (f"echo '{json.dumps({**TAILSCALE, 'Peer': {}})}'", "! Tailscale: running, but 'build-server' is not in the tailnet"),
    ('echo \'{"BackendState": "NeedsLogin"}\'; exit 1', "! Tailscale: this machine is not logged in"),
    ("echo 'failed to connect to local tailscaled' >&2; exit 1",
     "! Tailscale: tailscaled does not respond (failed to connect to local tailscaled)"),
])  # fmt: skip
def test_tailscale(machine, root, script, line):
    machine.path = f"{stand_in_command(root / 'bin', 'tailscale', script)}:{machine.path}"
    done = machine.offline("--dry-run")
    assert line in done.stderr.splitlines()
    if "NeedsLogin" in script:
        assert "    sudo tailscale up" in done.stderr.splitlines()


# --- what comes next ---


def without(root, *names):
    """A PATH on which these commands are not."""
    directory = root / "some-commands"
    directory.mkdir()
    for folder in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for entry in os.scandir(folder) if os.path.isdir(folder) else ():
            if entry.name not in names and not os.path.lexists(directory / entry.name):
                (directory / entry.name).symlink_to(entry.path)
    return str(directory)


def test_no_nix(machine, root):
    machine.path = without(root, "nix")
    done = machine.offline()
    assert "! The nix command is missing; install Nix first" in done.stderr
    done = machine.offline("--switch", code=1)
    assert "--switch needs the nix command" in done.stderr


def test_a_nix_that_does_not_work(machine, root):
    machine.path = f"{stand_in_command(root / 'bin', 'nix', 'echo broken nix.conf >&2; exit 1')}:{machine.path}"
    done = machine.offline()
    assert "broken nix.conf" in done.stderr and "✓ Bootstrap complete" in done.stderr


def test_of_a_mac(machine):
    machine.offline("--system", "aarch64-darwin", user="nobody-of-that-name")
    assert 'homeDirectory = "/Users/nobody-of-that-name";' in machine.read("home.nix")


def test_no_home_manager(machine, root):
    machine.path = without(root, "home-manager")
    assert "nix run github:nix-community/home-manager -- switch --flake .#default" in machine.offline().stdout


def test_switch_runs_what_it_would_print(machine, root):
    notes = root / "notes"
    script = f'pwd > {notes}; printf "%s\\n" "$@" "$NIX_CONFIG" >> {notes}; echo activating'
    machine.path = f"{stand_in_command(root / 'bin', 'home-manager', script)}:{machine.path}"
    printed = machine.offline("--force").stdout.splitlines()
    done = machine.offline("--switch")
    assert "activating" in done.stderr and "✓ Switched" in done.stderr and done.stdout == ""
    noted = notes.read_text().splitlines()
    assert noted[0] == str(machine.directory)
    assert noted[1:4] == ["switch", "--flake", ".#default"]
    assert printed[-1] == " ".join(["home-manager", *noted[1:-1]])


def test_files_that_home_manager_would_refuse_to_replace(machine, root):
    machine.path = f"{stand_in_command(root / 'bin', 'home-manager', 'true')}:{machine.path}"
    assert " -b " not in machine.offline("--force").stdout
    conf = machine.home / ".config/nix/nix.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("experimental-features = nix-command flakes\n")
    (machine.home / ".zshrc").write_text("bindkey -v\n")
    done = machine.offline()
    assert "switch --flake .#default -b backup" in done.stdout
    lines = done.stderr.splitlines()
    assert "    ~/.config/nix/nix.conf" in lines and "    ~/.zshrc" in lines
    conf.with_name("nix.conf.backup").write_text("")
    assert "switch --flake .#default -b backup-2" in machine.offline().stdout
    # A client's configuration leaves shells alone.
    client = machine.offline("--template", "client", directory=root / "client")
    assert "    ~/.config/nix/nix.conf" in client.stderr.splitlines() and ".zshrc" not in client.stderr


def test_switch_that_fails(machine, root):
    machine.path = f"{stand_in_command(root / 'bin', 'home-manager', 'echo no >&2; exit 7')}:{machine.path}"
    done = machine.offline("--switch", code=1)
    assert "exit code 7" in done.stderr and "no" in done.stderr.splitlines()
    assert machine.names() == FILES
