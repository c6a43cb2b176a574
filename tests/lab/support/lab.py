"""The lab: machines and the two networks between them."""

import errno
import os
import pathlib

from support.machine import Machine, ip, wait_for

# What a person writes who has Nix on Debian: flakes on, and no cache of the outside world, which is not
# there. Without the sandbox /bin/sh can build.
NIX_CONF = """
experimental-features = nix-command flakes
sandbox = false
substituters =
flake-registry =
"""


class Network:
    def __init__(self, name, interface):
        self.name = name
        self.interface = interface
        ip("link", "add", name, "type", "bridge")
        ip("link", "set", name, "up")


class Lab:
    """Builds machines by name. The tailnet's names are in each machine's /etc/hosts, as MagicDNS's would be."""

    def __init__(self):
        self.directory = pathlib.Path(os.environ["NIXBUILD_LAB_DIRECTORY"])
        self.layers = os.environ["NIXBUILD_LAB_LAYERS"].split(":")  # what each machine boots, the upper first
        self.tailnet = Network("tailnet", "tailscale0")
        self.lan = Network("lan", "lan0")
        self.machines = {}

    def add(self, name, number):
        networks = {
            self.tailnet: [f"100.64.0.{number}/10", f"fd7a:115c:a1e0::{number}/48"],
            self.lan: [f"192.168.77.{number}/24"],
        }
        machine = Machine(name, self.directory / name, self.layers, networks)
        machine.write("/etc/nix/nix.conf", NIX_CONF)
        self.machines[name] = machine
        return machine

    def start(self):
        """The build server and its two clients; the server is not in the tailnet yet."""
        machines = [self.add(name, number) for number, name in enumerate(("build-server", "laptop", "desktop"), 1)]
        for machine in machines:
            machine.plug_in(self.lan)
        for machine in machines[1:]:
            machine.plug_in(self.tailnet)
        self.boot(*machines)

    def boot(self, *machines):
        """Starts them all at once, each with a user who is nobody special."""
        self.write_hosts()
        for machine in machines:
            machine.switch_on()
        for machine in machines:
            state = machine.wait_until_booted()
            assert state == "running", machine.run("systemctl", "--failed", "--no-legend").stdout
            # Debian's daemon talks to this group only; that makes nobody a trusted user.
            machine.run("useradd", "--create-home", "--shell", "/bin/bash", "--groups", "nix-users", "alice")

    def write_hosts(self):
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"{machine.address(self.tailnet)} {name}" for name, machine in self.machines.items()]
        for machine in self.machines.values():
            machine.write("/etc/hosts", "\n".join(lines) + "\n")

    def close(self):
        for machine in self.machines.values():
            machine.switch_off()
            wait_for(lambda machine=machine: remove_cgroup(machine.cgroup), "the last processes are gone")


def remove_cgroup(cgroup):
    """Whether it is gone; the kernel keeps it for as long as a process is in it."""
    try:
        for directory, _, _ in os.walk(cgroup, topdown=False):
            os.rmdir(directory)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
