"""Installs the packages on a running machine, for tools/release.

    boot_packages.py DIRECTORY LAYER ROOT SERVER_PACKAGE CLIENT_PACKAGE

The machine boots Debian from the layers LAYER and ROOT, in namespaces that tools/release has made, and
has only loopback as its network.
"""

import pathlib
import shutil
import sys

from support.lab import NIX_CONF
from support.machine import Machine, wait_for

SERVICES = ("nixbuild-cache.socket", "nixbuild-cache.service", "nixbuild-api.socket", "nixbuild-api.service")
CONFIGURATION = '[[repository]]\nname = "sample"\nurl = "/srv/sample"\n'
SAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples/sample-flake"


def report(what):
    print(f"    {what}", flush=True)


class Installed:
    """The machine, as the user of its packages sees it."""

    def __init__(self, machine):
        self.machine = machine
        self.run = machine.run

    def output(self, *command, **options):
        return self.run(*command, **options).stdout.strip()

    def install(self, package):
        shutil.copy(package, self.machine.path("/srv"))
        self.run("dpkg", "--install", f"/srv/{package.name}")

    def states(self):
        return {unit: self.output("systemctl", "is-active", unit, code=None) for unit in SERVICES}

    def wait_until_active(self):
        wait_for(lambda: set(self.states().values()) == {"active"}, "all services are active")

    def failed_units(self):
        return self.output("systemctl", "--failed", "--no-legend")

    def key(self):
        return self.output("cat", "/etc/nixbuild/cache-key.pub")

    def make_repository(self):
        shutil.copytree(SAMPLE, self.machine.path("/srv/sample"))
        git = ["git", "-C", "/srv/sample", "-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        self.run("git", "init", "--quiet", "/srv/sample")
        self.run(*git, "add", "--all")
        self.run(*git, "commit", "--quiet", "--message", "A program and its text")

    def build(self):
        """A user triggers a build, which needs the units, the users and the polkit rule."""
        self.make_repository()
        # git refuses repositories that belong to somebody else.
        self.run("chown", "--recursive", "nixbuild-build", "/srv/sample")
        self.machine.write("/etc/nixbuild/config.toml", CONFIGURATION)
        self.run("systemctl", "restart", "nixbuild-api")
        self.run("nixbuild", "trigger", "--wait", user="ann", NIXBUILD_SERVER="127.0.0.1:8000")


def check(installed, server, client):
    installed.install(server)
    installed.wait_until_active()
    for unit in SERVICES:
        assert installed.output("systemctl", "is-enabled", unit) == "enabled"
    key = installed.key()
    assert f"PublicKey: {key}" in installed.output("curl", "-sSf", "http://127.0.0.1:5000/nix-cache-info")
    installed.run("curl", "-sSf", "http://127.0.0.1:8000/health")
    report("installed: the services run and answer")

    installed.build()
    report("a build succeeds, which the polkit rule lets the API start")

    installed.install(server)
    installed.wait_until_active()
    assert installed.key() == key
    assert "success" in installed.output("nixbuild", "status", user="ann", NIXBUILD_SERVER="127.0.0.1:8000")
    report("installed again: key and history are kept")

    assert installed.failed_units() == ""
    installed.run("dpkg", "--remove", "nixbuild")
    assert "active" not in installed.states().values(), installed.states()
    installed.install(server)
    installed.wait_until_active()
    assert installed.key() == key
    report("removed and installed: key and history are kept")

    installed.run("dpkg", "--purge", "nixbuild")
    assert "active" not in installed.states().values(), installed.states()
    left = installed.output("sh", "-c", "ls -A /var/lib/nixbuild /etc/nixbuild 2>&1", code=None)
    assert left.endswith("config.toml") and "cache-key" not in left, left
    assert installed.failed_units() == ""
    report("purged: only the configuration is left")

    installed.install(client)
    installed.run("nixbuild", "status", user="ann", NIXBUILD_SERVER="127.0.0.1:8000", code=3)
    installed.install(server)
    installed.wait_until_active()
    status = installed.output("dpkg-query", "--show", "--showformat", "${db:Status-Status}", "nixbuild-client", code=None)
    assert status != "installed", status
    report("the client's package is replaced by the server's")


def main():
    directory, layer, root, server, client = map(pathlib.Path, sys.argv[1:])
    machine = Machine("debian", directory / "debian", [layer, root], {})
    machine.write("/etc/nix/nix.conf", NIX_CONF)
    try:
        machine.boot()
        machine.run("useradd", "--create-home", "--shell", "/bin/bash", "--groups", "nix-users", "ann")
        check(Installed(machine), server, client)
    except AssertionError:
        if machine.leader is not None:
            print(machine.journal("nixbuild-*"))
        raise
    finally:
        machine.switch_off()


main()
