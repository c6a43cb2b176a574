"""`bootstrap` on a fresh machine: a real cache, real Nix on what it writes.

Tailscale's daemon cannot run in a test: the `tailscale` command is a stand-in that prints what the
real one would. So is `home-manager`, which notes how it is called.
"""

import json
import os
import random
import re
import signal
import subprocess
import time

import pytest

from support.fake_api import FakeApi, Reply, ended
from support.home import StandIns, evaluate, mode, stand_in_command
from support.nix import Store
from support.oracle import hash_part
from support.server import BINARY, program, program_environment

KEY = "build-server-1:Ppfs4u4Zi77ZguR6GbdFlHqFfYm99VHew4xO33MVXrM="
OTHER_KEY = "build-server-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
FILES = [".gitignore", "flake.nix", "home.nix", "secrets.nix"]


@pytest.fixture
def api():
    fake = FakeApi()
    yield fake
    fake.stop()


@pytest.fixture
def machine(root):
    return Machine(root)


@pytest.fixture(scope="session")
def stand_ins(session_root):
    return StandIns(session_root / "stand-ins")


@pytest.fixture(scope="session")
def eval_store(session_root, system_nix):
    """The store that flakes are evaluated in; nothing is kept of it."""
    return Store(system_nix, session_root / "eval-store")


class Machine:
    """A fresh machine: a home, a directory for the configuration."""

    def __init__(self, root):
        self.root = root
        self.home = root / "home"
        self.home.mkdir()
        self.directory = root / "configuration"
        self.path = os.environ["PATH"]

    def environment(self, **more):
        return {"HOME": str(self.home), "PATH": self.path, **more}

    def bootstrap(self, *options, code=0, server=None, directory=None, user="ann", host="new-laptop", **more):
        words = ["bootstrap", f"--user={user}", f"--host={host}", "--dir", directory or self.directory, *options]
        if server:
            words += ["--server", server]
        done = program(*words, environment=self.environment(**more))
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def offline(self, *options, **more):
        return self.bootstrap("--public-key", KEY, *options, **more)

    def read(self, name):
        return (self.directory / name).read_text()

    def names(self):
        return sorted(str(file.relative_to(self.directory)) for file in self.directory.rglob("*")
                      if file.is_file() and ".git" not in file.relative_to(self.directory).parts)  # fmt: skip


def announce(api, cache_url, outputs=()):
    """Makes the API tell of that cache and of a build with these outputs."""
    api.answers["GET /info"] = {
        "hostname": "build-server", "version": "0", "system": "x86_64-linux", "api_port": api.port,
        "cache_url": cache_url, "public_keys": [], "repositories": ["nix-terminal"],
    }  # fmt: skip
    api.answers["GET /build/status"] = ended(outputs=list(outputs))


def fingerprint(key):
    done = program("bootstrap", "--public-key", key, "--dry-run", environment={"HOME": "/tmp"})
    return re.search(r"SHA256:[A-Za-z0-9+/]{43}", done.stderr)[0]


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


# --- real Nix on what is written ---

SUMMARY = """homes: builtins.mapAttrs (_: home: {
  inherit (home.config) modules;
  inherit (home.config.home) username homeDirectory;
  inherit (home.config.programs.bootstrap.buildServer) publicKey address;
  inherit (home.config.services.bootstrap-services.tailscale) authKeyFile;
  system = home.pkgs.system;
}) homes"""


def test_outside_git_it_evaluates(machine, nix, stand_ins, eval_store):
    machine.offline("--template", "desktop", "--system", "aarch64-linux", "--server", "build-server:8001")
    homes = evaluate(nix, eval_store, stand_ins, machine.directory, "homeConfigurations", apply=SUMMARY)
    assert sorted(homes) == ["", "ann", "ann@new-laptop", "default"]
    assert all(home == homes["default"] for home in homes.values())
    assert homes["default"] == {
        "modules": ["default", "desktop", "terminal"],
        "username": "ann", "homeDirectory": "/home/ann", "publicKey": KEY, "address": "build-server:8001",
        "authKeyFile": "/home/ann/.config/nixbuild/tailscale-auth-key", "system": "aarch64-linux",
    }  # fmt: skip


@pytest.mark.parametrize("attribute", ["", "default", "ann", "ann%40new-laptop"])
def test_what_home_manager_asks_for(machine, nix, stand_ins, eval_store, attribute):
    # Its flake URI, as home-manager makes it of --flake .#NAME and, without a name, of USER@HOST.
    machine.offline()
    path = f'homeConfigurations."{attribute}".activationPackage.drvPath'
    drv = evaluate(nix, eval_store, stand_ins, machine.directory, path)
    assert drv.endswith("-home.drv")


def test_inside_git_it_needs_impure_and_says_so(machine, nix, stand_ins, eval_store, root):
    subprocess.run(["git", "init", "-q", machine.directory], check=True)
    done = machine.bootstrap("--public-key", OTHER_KEY)
    commands = done.stdout.splitlines()
    assert "git add --intent-to-add -- .gitignore home.nix flake.nix" in commands
    assert "--impure" in commands[-1]
    subprocess.run(["sh", "-c", commands[-2]], check=True, cwd=machine.directory)
    status = subprocess.run(["git", "status", "--short", "--ignored"], cwd=machine.directory, text=True,
                            capture_output=True, check=True).stdout  # fmt: skip
    assert "!! secrets.nix" in status.splitlines()

    attribute = "homeConfigurations.default.config.programs.bootstrap.buildServer.publicKey"
    pure = evaluate(nix, eval_store, stand_ins, machine.directory, attribute, check=False)
    assert pure.returncode != 0
    assert "home-manager switch --impure --flake .#default" in pure.stderr
    homes = evaluate(nix, eval_store, stand_ins, machine.directory, "homeConfigurations", "--impure", apply=SUMMARY)
    assert homes["default"]["publicKey"] == OTHER_KEY
    # Nothing of the secrets has got into the store.
    found = subprocess.run(["grep", "-rlF", OTHER_KEY, eval_store.real_store_dir], text=True, capture_output=True)
    assert found.stdout == ""

    (machine.directory / "secrets.nix").unlink()
    gone = evaluate(nix, eval_store, stand_ins, machine.directory, attribute, "--impure", check=False)
    assert f"there is no {machine.directory}/secrets.nix" in gone.stderr


ODD = ["o'\"ann", "$USER", "${user}", "$${user}", "''${user}''", "Jörg 日本 🦊", "back\\slash", "-rf", "a b", "@HOME@",
       "default", "`id`"]  # fmt: skip


def test_odd_names_mean_themselves(root, nix, stand_ins, eval_store):
    # One evaluation for all: each name is user and host of one of several machines.
    machine = Machine(root)
    for name in ODD:
        machine.offline("--multi-host", f"--server=http://s:1/{name.replace(' ', '')}", user=name, host=name)
    homes = evaluate(nix, eval_store, stand_ins, machine.directory, "homeConfigurations",
                     apply=f"homes: ({SUMMARY}) (removeAttrs homes [ \"\" \"default\" ])")  # fmt: skip
    for name in ODD:
        home = homes[f"{name}@{name}"]
        assert home["username"] == name
        assert home["homeDirectory"] == f"/home/{name}"
        assert home["address"] == f"http://s:1/{name.replace(' ', '')}"
        if name != "default":
            assert homes[name] == home


@pytest.mark.parametrize("name", ODD)
def test_odd_names_of_one_machine(root, stand_ins, eval_store, name):
    machine = Machine(root)
    machine.directory = root / "odd '\"${dir}"
    machine.offline(user=name, host=name)
    # Its outputs, called as Nix does; flake references of Nix 2.8 cannot name such a directory. The
    # secrets stay there, so they are found by the path that the flake has of them.
    for file in ("flake.nix", "home.nix"):
        (root / file).write_text(machine.read(file))
    homes = json.loads(eval_store.run("nix", "eval", "--impure", "--json", "--expr", f"""
      let
        nixpkgs = (import {stand_ins.directory}/nixpkgs/flake.nix).outputs {{ self = null; }};
        call = name: (import ({stand_ins.directory} + "/${{name}}/flake.nix")).outputs {{ self = null; inherit nixpkgs; }};
        inputs = {{ inherit nixpkgs; }} // builtins.listToAttrs (map (name: {{ inherit name; value = call name; }})
          [ "home-manager" "atuin-bootstrap" "nix-terminal" ]);
      in ({SUMMARY}) ((import {root}/flake.nix).outputs inputs).homeConfigurations"""))
    assert set(homes) == {"", "default", name, f"{name}@{name}"}
    assert homes["default"]["username"] == name and homes["default"]["publicKey"] == KEY


def test_several_machines(machine, nix, stand_ins, eval_store):
    machine.offline("--multi-host")
    assert machine.names() == [".gitignore", "flake.nix", "hosts/new-laptop/home.nix", "hosts/new-laptop/host.nix",
                               "secrets/new-laptop.nix"]  # fmt: skip
    flake = machine.read("flake.nix")
    machine.offline("--multi-host", "--template", "desktop", "--system", "aarch64-linux", host="desktop.example.org")
    assert machine.read("flake.nix") == flake
    homes = evaluate(nix, eval_store, stand_ins, machine.directory, "homeConfigurations",
                     apply=f"homes: ({SUMMARY}) (removeAttrs homes [ \"\" \"default\" \"ann\" ])")  # fmt: skip
    assert set(homes) == {"ann@new-laptop", "ann@desktop", "ann@desktop.example.org"}
    assert homes["ann@desktop"]["modules"] == ["default", "desktop", "terminal"]
    assert homes["ann@desktop"]["system"] == "aarch64-linux"
    # Both machines' secrets are here, so neither is the default.
    attribute = "homeConfigurations.default.config.home.username"
    unclear = evaluate(nix, eval_store, stand_ins, machine.directory, attribute, check=False)
    assert "which machine? Name one: ann@desktop.example.org, ann@new-laptop" in unclear.stderr
    (machine.directory / "secrets/new-laptop.nix").unlink()
    system = "homeConfigurations.default.pkgs.system"
    assert evaluate(nix, eval_store, stand_ins, machine.directory, system) == "aarch64-linux"


def test_several_machines_in_git(machine, nix, stand_ins, eval_store):
    subprocess.run(["git", "init", "-q", machine.directory], check=True)
    for host in ("new-laptop", "desktop"):
        machine.offline("--multi-host", host=host)
    subprocess.run(["git", "add", "."], check=True, cwd=machine.directory)
    (machine.directory / "secrets/desktop.nix").unlink()
    attribute = "homeConfigurations.default.config.services.bootstrap-services.tailscale.authKeyFile"
    pure = evaluate(nix, eval_store, stand_ins, machine.directory, attribute, check=False)
    assert "home-manager switch --impure --flake .#default" in pure.stderr
    assert evaluate(nix, eval_store, stand_ins, machine.directory, attribute, "--impure").startswith("/home/ann/")


# --- the server's key ---


def files_of(directory):
    return {str(file): file.read_bytes() for file in directory.rglob("*") if file.is_file()} if directory.exists() else {}


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
        assert f"nixbuild bootstrap --public-key {OTHER_KEY}" in done.stderr
        assert files_of(machine.root) == before
    # Into another directory it is refused too, and where the record is lost but the files are there.
    machine.bootstrap(server=api.address, directory=machine.root / "second", code=4)
    assert not (machine.root / "second").exists()
    (machine.home / ".local/state/nixbuild/known-keys").unlink()
    machine.bootstrap("--force", server=api.address, code=4)
    # A person who has compared them goes on.
    machine.bootstrap("--force", "--public-key", OTHER_KEY, server=api.address)
    assert OTHER_KEY in machine.read("secrets.nix")


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
    assert f"narinfo of {sample.lib} is signed by none" in done.stderr and not machine.directory.exists()
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
    (f"echo '{json.dumps(TAILSCALE)}'", "✓ Tailscale: running, and sees 'build-server'"),
    (f"echo '{json.dumps({**TAILSCALE, 'Peer': {}})}'", "! Tailscale: running, but the tailnet has no node 'build-server'"),
    ('echo \'{"BackendState": "NeedsLogin"}\'; exit 1', "! Tailscale: this machine is not logged in"),
    ("echo 'failed to connect to local tailscaled' >&2; exit 1",
     "! Tailscale: its daemon does not answer (failed to connect to local tailscaled)"),
])  # fmt: skip
def test_tailscale(machine, root, script, line):
    machine.path = f"{stand_in_command(root / 'bin', 'tailscale', script)}:{machine.path}"
    done = machine.offline("--dry-run")
    assert line in done.stderr.splitlines()
    if "NeedsLogin" in script:
        assert "    sudo tailscale up --auth-key file:/home/ann/.config/nixbuild/tailscale-auth-key" in done.stderr


# --- files that are there, faults ---


def test_it_never_overwrites_unasked(machine):
    machine.offline()
    (machine.directory / "home.nix").write_text("mine")
    before = files_of(machine.directory)
    done = machine.offline("--template", "server", code=1)
    assert "home.nix" in done.stderr and "--force" in done.stderr
    assert files_of(machine.directory) == before
    machine.offline("--template", "server", "--force")
    backups = list(machine.directory.glob("home.nix.backup-*"))
    assert [backup.read_text() for backup in backups] == ["mine"]
    assert "homeManagerModules.server" in machine.read("home.nix")


def test_a_gitignore_is_added_to(machine):
    machine.directory.mkdir()
    (machine.directory / ".gitignore").write_text("mine\n")
    machine.offline()
    assert machine.read(".gitignore").splitlines()[:2] == ["mine", "/secrets.nix"]


def test_tracked_secrets_are_refused(machine):
    subprocess.run(["git", "init", "-q", machine.directory], check=True)
    (machine.directory / "secrets.nix").write_text("{ }")
    subprocess.run(["git", "add", "secrets.nix"], check=True, cwd=machine.directory)
    done = machine.offline("--force", code=1)
    assert "git rm --cached secrets.nix" in done.stderr
    assert machine.read("secrets.nix") == "{ }"


@pytest.mark.parametrize("options", [
    ["--template", "phone"], ["--system", "x86"], ["--system", "x86_64-linux; id"], ["--bootstrap-url", ""],
    ["--server", "ht tp"], {"user": "a\nb"}, {"host": "a\x1b[2J"},
])  # fmt: skip
def test_bad_options(machine, options):
    if isinstance(options, dict):
        machine.offline(code=2, **options)
    else:
        machine.offline(*options, code=2)
    machine.offline("--multi-host", host="a/b", code=2)
    machine.offline("--multi-host", host="..", code=2)
    assert not machine.directory.exists()


def test_a_directory_that_cannot_be_written(machine, nobody):
    machine.directory.mkdir()
    binary = machine.root / "nixbuild"
    binary.write_bytes(BINARY.read_bytes())
    binary.chmod(0o755)
    done = subprocess.run(
        ["setpriv", "--reuid", nobody, "--regid", "nogroup", "--clear-groups", "--", binary, "bootstrap",
         "--public-key", KEY, "--dir", machine.directory],
        env={**program_environment(), **machine.environment()}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Permission denied" in done.stderr and str(machine.directory) in done.stderr
    assert machine.names() == []


def test_a_full_disk(machine):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    script = f"""mount -t tmpfs -o size=16k none {machine.home} && mkdir {machine.home}/c &&
      head -c 12288 /dev/zero > {machine.home}/filler && {BINARY} bootstrap --public-key {KEY} --dir {machine.home}/c
      code=$?; ls -A {machine.home}/c; exit $code"""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True,
                          env={**program_environment(), **machine.environment()})  # fmt: skip
    if "mount" in done.stderr and "bootstrap" not in done.stderr.lower():
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert done.stdout == ""


def test_killed_at_any_moment(machine):
    machine.offline()
    whole = {name: machine.read(name) for name in FILES}
    took = []
    for attempt in range(40):
        directory = machine.root / f"killed-{attempt}"
        process = subprocess.Popen(
            [BINARY, "bootstrap", "--user", "ann", "--host", "new-laptop", "--dir", directory, "--public-key", KEY],
            env={**program_environment(), **machine.environment()}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        # From the moment the directory is there, a little later each time.
        while not directory.exists() and process.poll() is None:
            time.sleep(0.0001)
        time.sleep(random.Random(attempt).uniform(0, 0.004))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        took.append(process.returncode)
        for file in directory.iterdir() if directory.exists() else ():
            if file.name in FILES:
                assert file.read_text() == whole[file.name].replace(str(machine.directory), str(directory))
        if (directory / "flake.nix").exists():
            assert all((directory / name).exists() for name in FILES)
        # The next one ends what this one began.
        machine.bootstrap("--public-key", KEY, directory=directory)
        assert sorted(file.name for file in directory.iterdir()) == FILES
    assert -signal.SIGKILL in took


def test_two_at_once(machine):
    machine.directory.mkdir()
    with open(machine.directory / ".x", "w"):
        pass
    holder = subprocess.Popen(["flock", machine.directory, "sleep", "30"])
    try:
        deadline = time.monotonic() + 10
        while subprocess.run(["flock", "-n", machine.directory, "true"]).returncode == 0:
            assert time.monotonic() < deadline
        assert "another process" in machine.offline(code=1).stderr
    finally:
        holder.kill()
        holder.wait()


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
    assert "! There is no nix command: install Nix first" in done.stderr
    done = machine.offline("--switch", code=1)
    assert "--switch needs Nix" in done.stderr


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


def test_switch_that_fails(machine, root):
    machine.path = f"{stand_in_command(root / 'bin', 'home-manager', 'echo no >&2; exit 7')}:{machine.path}"
    done = machine.offline("--switch", code=1)
    assert "exit code 7" in done.stderr and "no" in done.stderr.splitlines()
    assert machine.names() == FILES
