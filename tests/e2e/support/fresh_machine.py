"""A fresh machine that `bootstrap` is run on."""

import os
import re

from support.fake_api import ended
from support.server import program

KEY = "build-server-1:Ppfs4u4Zi77ZguR6GbdFlHqFfYm99VHew4xO33MVXrM="
OTHER_KEY = "build-server-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
FILES = [".gitignore", "flake.nix", "home.nix", "secrets.nix"]


class FreshMachine:
    """A fresh machine: a home, a directory for the configuration."""

    def __init__(self, root):
        self.root = root
        self.home = root / "home"
        self.home.mkdir()
        self.directory = root / "configuration"
        self.path = os.environ["PATH"]

    def environment(self, **more):
        return {"HOME": str(self.home), "PATH": self.path, **more}

    def bootstrap(self, *options, code=0, yes=True, server=None, directory=None, user="ann", host="new-laptop", **more):
        words = ["bootstrap", f"--user={user}", f"--host={host}", "--dir", directory or self.directory, *options]
        if yes:
            words.append("--yes")
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


def files_of(directory):
    return {str(file): file.read_bytes() for file in directory.rglob("*") if file.is_file()} if directory.exists() else {}
