"""The build server of the lab, as its owner sets it up."""

import json
import re

from support.machine import wait_for

CONFIGURATION = """
[[repository]]
name = "nix-terminal"
url = "git://build-server/nix-terminal"
branch = "main"
"""

# What the README says to do after `meson install`.
SET_UP = (
    ["systemd-sysusers"],
    ["systemd-tmpfiles", "--create"],
    ["systemctl", "enable", "--now", "nixbuild-cache", "nixbuild-api"],
)


class BuildServer:
    def __init__(self, lab):
        self.lab = lab
        self.machine = lab.machines["build-server"]
        self.run = self.machine.run
        self.machine.write("/etc/nixbuild/config.toml", CONFIGURATION)
        for command in SET_UP:
            self.run(*command)
        self.run("git", "init", "--quiet", "--bare", "--initial-branch=main", "/srv/git/nix-terminal")
        self.start_git_daemon()

    def start_git_daemon(self):
        """A place to push to and to fetch from, as a forge is. After a power cut, git leaves it to people to remove its locks."""
        self.run("find", "/srv/git", "-name", "*.lock", "-delete")
        self.run("systemd-run", "--unit=git-daemon", "git", "daemon", "--export-all", "--enable=receive-pack",
                 "--base-path=/srv/git", "--reuseaddr")  # fmt: skip

    def join_tailnet(self):
        """Tailscale connects, if it is not already; returns when both services answer there."""
        if self.run("ip", "link", "show", "tailscale0", code=None).code != 0:
            self.machine.plug_in(self.lab.tailnet)
        wait_for(lambda: {"5000", "8000"} <= self.ports_of("100.64.0.1"), "both services listen on tailscale0")

    def listening(self):
        """(address, port) of each TCP socket that takes connections on Nixbuild's ports."""
        sockets = set()
        for line in self.run("ss", "--no-header", "--listening", "--tcp", "--numeric").stdout.splitlines():
            address, port = line.split()[3].rsplit(":", 1)
            if port in ("5000", "8000"):
                sockets.add((address.split("%")[0].strip("[]"), port))
        return sockets

    def ports_of(self, address):
        return {port for other, port in self.listening() if other == address}

    def property(self, unit, name):
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def public_key(self):
        info = self.run("curl", "--silent", "--show-error", "--fail", "http://127.0.0.1:5000/nix-cache-info").stdout
        return re.search(r"^PublicKey: (\S+)$", info, re.MULTILINE)[1]

    def status(self, repository="nix-terminal"):
        url = f"http://127.0.0.1:8000/build/status/{repository}"
        return json.loads(self.run("curl", "--silent", "--show-error", "--fail", url).stdout)

    def wait_until_built(self, seconds=60):
        def status():
            status = self.status()
            return None if status["is_running"] else status

        return wait_for(status, "the build is over", seconds)

    def builds(self):
        """All that the history has, newest first."""
        url = "http://127.0.0.1:8000/builds?limit=1000"
        return json.loads(self.run("curl", "--silent", "--show-error", "--fail", url).stdout)["builds"]

    def check_served(self, client, *paths):
        """A client can have these store paths, whole and signed."""
        client.run("nix", "store", "verify", "--store", "http://build-server:5000", "--sigs-needed", "1",
                   "--trusted-public-keys", self.public_key(), *paths)  # fmt: skip

    def check_rooted(self, *paths):
        """The garbage collector leaves them, as outputs of a build."""
        for path in paths:
            roots = self.run("nix-store", "--query", "--roots", path).stdout
            assert "/var/lib/nixbuild/gcroots/nix-terminal/" in roots, path
