"""Real Atuin, from before 18.23 ("old") and since ("new"): this machine's or that of a Debian release in a root
directory (tools/newer-nix)."""

import os
import re
import shutil
import socket
import subprocess
import time

from support.nix import NEWER_NIX

RELEASES = {"old": "trixie", "new": "forky"}
# The aliases that nixbuild sets without any configuration.
BUILT_IN = {
    "bl": "nixbuild logs",
    "bs": "nixbuild status",
    "bt": "nixbuild trigger",
    "rebuild": "nixbuild system-update --no-update --no-gc",
    "system-update": "nixbuild system-update",
}
PASSWORD = ("-u", "alice", "-p", "correct horse")
CONFIGURATION = """update_check = false
auto_sync = {auto_sync}
sync_address = "{address}"
[sync]
records = true
[dotfiles]
enabled = true
"""


def age_of(version):
    """Of what `atuin --version` prints."""
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    return "new" if numbers >= (18, 23) else "old"


def atuin_command(root, age="old", program="atuin"):
    """A prefix that runs an Atuin of that age with `root` in sight at the same path, or why there is none."""
    # By its path: what is made of this prefix has the program's name, and comes before it in PATH.
    if found := shutil.which(program):
        version = subprocess.run([found, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
        if age_of(version) == age:
            return [found], None
    prefix = [str(NEWER_NIX), "--run", "--release", RELEASES[age], "--bind", str(root), program]
    done = subprocess.run([*prefix, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "HOME": str(root)})  # fmt: skip
    return (prefix, None) if done.returncode == 0 else (None, f"no Atuin: {done.stderr.strip() or done.returncode}")


def eventually(condition, what, seconds=30):
    over = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < over, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return result


def write_wrapper(path, command):
    words = " ".join(f"'{word}'" for word in command)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ncd /\nexec env -u NIXBUILD_CONFIG {words} "$@"\n')
    path.chmod(0o755)


class AtuinServer:
    """A real server with an account that machines log in to."""

    def __init__(self, root, command):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.root = root
        self.key = None
        self.count = 0
        home = root / "atuin-server"
        home.mkdir()
        self.log = open(home / "log", "wb")
        self.process = subprocess.Popen([*command, "start"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env={
            "PATH": os.environ["PATH"], "HOME": str(home), "ATUIN_HOST": "127.0.0.1", "ATUIN_PORT": str(self.port),
            "ATUIN_OPEN_REGISTRATION": "true", "ATUIN_DB_URI": f"sqlite://{home}/atuin.sqlite",
        })  # fmt: skip
        eventually(self.answers, "Atuin's server answers")

    def answers(self):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def machine(self, command, auto_sync=False):
        """A machine that is logged in."""
        self.count += 1
        machine = AtuinMachine(self.root / f"machine-{self.count}", command)
        machine.configure(self.address, auto_sync)
        if self.key is None:
            machine.atuin("register", *PASSWORD, "-e", "alice@example.org")
            self.key = machine.atuin("key").strip()
        else:
            machine.atuin("login", *PASSWORD, "-k", self.key)
        return machine


class AtuinMachine:
    """A home directory, and an `atuin` in PATH."""

    def __init__(self, directory, command):
        self.home = directory / "home"
        self.bin = directory / "bin"
        self.home.mkdir(parents=True)
        self.use(command)

    def use(self, command):
        write_wrapper(self.bin / "atuin", command)

    def configure(self, address, auto_sync=False):
        file = self.home / ".config/atuin/config.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(CONFIGURATION.format(address=address, auto_sync=str(auto_sync).lower()))

    @property
    def environment(self):
        return {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.home), "SHELL": "/bin/bash"}

    def atuin(self, *arguments, check=True):
        return subprocess.run([self.bin / "atuin", *arguments], check=check, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, env=self.environment).stdout  # fmt: skip

    def dotfiles(self):
        return dict(line.split("=", 1) for line in self.atuin("dotfiles", "alias", "list").splitlines())


# A stand-in with the few commands that `aliases` uses, as Atuin 18.6 answers them. Its account is a
# directory that machines share by `sync`: a file an alias, one a key.
STAND_IN = r"""#!/usr/bin/env python3
import json, os, pathlib, sys
home = pathlib.Path(os.environ["HOME"])
file = home / "atuin-stand-in.json"
state = json.loads(file.read_text()) if file.exists() else {"aliases": {}, "kv": {}}
words = [word for word in sys.argv[1:] if word != "--"]
with open(home / "atuin-calls", "a") as calls:
    calls.write(" ".join(words[:3]) + "\n")
flags = set((home / "atuin-is").read_text().split()) if (home / "atuin-is").exists() else set()
if words[:2] == ["dotfiles", "alias"]:
    if "ancient" in flags:
        sys.exit("error: unrecognized subcommand 'dotfiles'")
    if "keyless" in flags and words[2] == "list":
        sys.exit("Error: could not load encryption key\\n\\nCaused by:\\n    the given key path does not exist")
    if "disabled" in flags:
        print("Dotfiles are not enabled. Add\n\n[dotfiles]\nenabled = true", file=sys.stderr)
        sys.exit(0)
    if words[2] == "set" and "deaf" not in flags:
        state["aliases"][words[3]] = words[4]
    elif words[2] == "delete":
        state["aliases"].pop(words[3], None)
    elif words[2] == "list":
        print("".join(f"{name}={command}\n" for name, command in sorted(state["aliases"].items())), end="")
elif words[:2] == ["kv", "set"]:
    state["kv"][words[words.index("--key") + 1]] = words[-1]
elif words[:2] == ["kv", "get"]:
    print(state["kv"].get(words[-1], ""))
elif words[0] == "sync" and "logged-out" in flags:
    sys.exit('Error: a request to the sync server failed: "Tried to load session; not logged in"\n\nLocation:\n    x.rs')
elif words[0] == "sync" and "unreachable" in flags:
    sys.exit('Error: a request to the sync server failed: "error sending request for url (http://x/)"\n\nLocation:\n    x')
file.write_text(json.dumps(state))
"""
