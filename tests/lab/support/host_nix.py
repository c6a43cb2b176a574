"""The Nix of the machine that the lab runs on, Debian 12's 2.8 say, as one more client in a machine's network."""

import os
import shutil
import subprocess

import pytest

has_host_nix = shutil.which("nix") is not None
missing = pytest.mark.skipif(not has_host_nix, reason="this machine itself has no Nix")


class HostNix:
    """It has a store of its own in `directory`, which signatures are required for."""

    def __init__(self, machine, directory, key):
        self.machine = machine
        self.store = directory / "store"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "NIX_CONFIG": f"experimental-features = nix-command\nsubstituters = http://100.64.0.1:5000\n"
            f"trusted-public-keys = {key}\nbuild-users-group =\n",
        }

    def start(self, *command):
        return subprocess.Popen(["ip", "netns", "exec", self.machine.name, *map(str, command)], text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment)  # fmt: skip

    def run(self, *command, timeout=60):
        """(exit code, what it said)."""
        process = self.start(*command)
        try:
            out, error = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return process.returncode, out + error

    def realise(self, path):
        return ("nix-store", "--store", self.store, "--realise", path)

    def file(self, path):
        """Where the file that has this name in the store really lies."""
        return self.store / str(path).lstrip("/")

    def hash_of(self, path):
        """As `nix-store --query --hash` gives it, after a look at every byte."""
        code, said = self.run("nix-store", "--store", self.store, "--verify-path", path)
        assert code == 0, said
        return self.run("nix-store", "--store", self.store, "--query", "--hash", path)[1].strip()
