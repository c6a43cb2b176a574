"""The end-to-end tests' stand-ins for what only the internet has: nixpkgs, Home Manager's flake and its command."""

import importlib.util
import pathlib

FILE = pathlib.Path(__file__).resolve().parents[2] / "e2e/support/home.py"


def load():
    # Its package has the name of this one.
    spec = importlib.util.spec_from_file_location("home", FILE)
    home = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(home)
    return home


def inputs(machine):
    """Writes flakes in place of a bootstrapped configuration's inputs; returns options to use them."""
    options = ["--no-write-lock-file"]
    for name, text in load().INPUTS.items():
        machine.write(f"/srv/{name}/flake.nix", text)
        options += ["--override-input", name, f"path:/srv/{name}"]
    return options


class Home:
    """The configuration of a user's home: a flake, and `system-update` for it."""

    def __init__(self, machine, user="alice"):
        self.machine = machine
        self.user = user
        self.home = f"/home/{user}"
        self.directory = f"{self.home}/home-configuration"
        self.write("bin/home-manager", load().REBUILD)
        machine.run("chmod", "755", f"{self.home}/bin/home-manager")

    def write(self, path, text):
        self.machine.write(f"{self.home}/{path}", text)
        self.machine.run("chown", "--recursive", f"{self.user}:", f"{self.home}/{path.split('/')[0]}")

    def update(self, *options, code=0, **environment):
        """Runs it as the user; `calls` in the home has the commands that it ran."""
        path = f"{self.home}/bin:/usr/local/bin:/usr/bin:/bin"
        return self.machine.run("system-update", *options, user=self.user, directory=self.directory, code=code,
                                PATH=path, MACHINE_DIR=self.home, TMPDIR="/var/tmp", **environment)  # fmt: skip

    def lock(self):
        """The text of flake.lock, None where there is none."""
        path = self.machine.path(f"{self.directory}/flake.lock")
        return path.read_text() if path.exists() else None

    def generation(self):
        """The store path that the home is, None before the first."""
        profile = f"{self.home}/.local/state/nix/profiles/home-manager"
        found = self.machine.run("readlink", "--canonicalize-existing", profile, code=None)
        return found.stdout.strip() if found.code == 0 else None
