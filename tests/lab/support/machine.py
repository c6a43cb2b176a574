"""A machine of the lab: Debian booted by systemd-nspawn, with a disk and network interfaces of its own."""

import os
import pathlib
import shlex
import signal
import subprocess
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Done:
    """What a command did."""

    def __init__(self, command, result):
        self.command = command
        self.code = result.returncode
        self.stdout = result.stdout
        self.stderr = result.stderr

    def __str__(self):
        return f"{shlex.join(self.command)}: {self.code}\n{self.stdout}\n{self.stderr}"


class Machine:
    def __init__(self, name, directory, layers, networks):
        self.name = name
        self.directory = directory
        self.root = directory / "root"
        self.cgroup = CGROUPS / f"nixbuild-lab-{directory.parent.name}-{name}"
        self.networks = networks
        self.container = None
        self.leader = None
        for part in ("root", "disk", "work"):
            (directory / part).mkdir(parents=True)
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={directory / 'disk'},workdir={directory / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], check=True)
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        self.write("/etc/hostname", f"{name}\n")

    # Power.

    def switch_on(self):
        """Starts it; `wait_until_booted` waits for the end of that."""
        self.cgroup.mkdir(exist_ok=True)
        with open(self.directory / "console", "ab") as console:
            self.container = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--boot", "--directory", self.root, "--machine", self.name,
                 "--keep-unit", "--register=no", f"--network-namespace-path=/run/netns/{self.name}",
                 "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                preexec_fn=lambda: (self.cgroup / "cgroup.procs").write_text("0"),
            )  # fmt: skip

    def wait_until_booted(self):
        """Returns what systemd says of its state: 'running' where every unit is well."""

        def state():
            assert self.container.poll() is None, (self.directory / "console").read_text()
            children = pathlib.Path(f"/proc/{self.container.pid}/task/{self.container.pid}/children").read_text()
            if not children.split():
                return None
            self.leader = int(children.split()[0])
            answer = self.run("systemctl", "is-system-running", code=None).stdout.strip()
            return answer if answer in ("running", "degraded") else None

        return wait_for(state, f"{self.name} has booted", 90)

    def boot(self):
        self.switch_on()
        state = self.wait_until_booted()
        assert state == "running", self.run("systemctl", "--failed", "--no-legend").stdout

    def cut_power(self):
        """Kills its init, and with it all of its processes, without a chance to write anything."""
        os.kill(self.leader, signal.SIGKILL)
        self.container.wait(30)
        self.leader = None

    def switch_off(self):
        if self.container is None or self.container.poll() is not None:
            return
        if self.leader is not None:
            self.cut_power()
        else:
            self.container.kill()
            self.container.wait(30)

    # Commands.

    def command(self, *command, user=None, directory=None, **environment):
        account = ["/usr/sbin/runuser", "-u", user, "--"] if user else []
        home = f"/home/{user}" if user else "/root"
        variables = {"PATH": PATH, "HOME": home, "USER": user or "root", "LANG": "C.UTF-8", **environment}
        return [
            "nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
            f"--wdns={directory or home if user else directory or '/'}", "--",
            *account, "/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items()),
            *map(str, command),
        ]  # fmt: skip

    def run(self, *command, user=None, directory=None, code=0, timeout=120, input=None, **environment):
        """Runs a command as root or as `user`; `code` is what it is to exit with, None any."""
        result = subprocess.run(
            self.command(*command, user=user, directory=directory, **environment), timeout=timeout, text=True,
            errors="replace", capture_output=True, input=input or "",
        )  # fmt: skip
        done = Done([f"{user or 'root'}@{self.name}:", *map(str, command)], result)
        assert code is None or done.code == code, str(done)
        return done

    def start(self, *command, **keywords):
        """The same as a process that runs beside the test."""
        return subprocess.Popen(self.command(*command, **keywords), text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def journal(self, *units):
        options = [f"--unit={unit}" for unit in units]
        return self.run("journalctl", "--no-pager", "--output=short-monotonic", *options, code=None).stdout

    # Its disk, also while it is off.

    def path(self, path):
        return self.root / str(path).lstrip("/")

    def write(self, path, text, owner=None):
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)
        if owner:
            self.run("chown", "--recursive", owner, path)

    def trust(self, key):
        """What the owner of a client writes, as the cache's page says."""
        self.write_about_server(f"extra-substituters = http://build-server:5000\nextra-trusted-public-keys = {key}\n")

    def trust_nobody(self):
        """Takes back what earlier tests had its owner write."""
        self.write_about_server("")

    def write_about_server(self, lines):
        conf = self.path("/etc/nix/nix.conf").read_text().split("# the build server")[0]
        self.write("/etc/nix/nix.conf", f"{conf}# the build server\n{lines}")
        self.restart_nix()

    def follow(self, key):
        """What the owner of a client that follows the server's builds writes, besides."""
        self.write("/etc/nixbuild/config.toml", f'[client]\nrecord_keys = ["{key}"]\n')

    def restart_nix(self):
        # Tests do it more often than systemd takes for sane.
        self.run("systemctl", "reset-failed", "nix-daemon.service", "nix-daemon.socket")
        self.run("systemctl", "restart", "nix-daemon")

    # Its networks.

    def plug_in(self, network):
        """Makes the interface of this network, with the addresses that are this machine's there."""
        cable = f"{self.name[:8]}-{network.name[:4]}"
        # Always the same, so that nobody asks the one that is gone.
        number = int(self.address(network).rsplit(".", 1)[1])
        hardware = f"02:00:00:00:{len(network.name):02x}:{number:02x}"
        ip("link", "add", cable, "type", "veth", "peer", "name", network.interface, "address", hardware, "netns",
           self.name)  # fmt: skip
        ip("link", "set", cable, "master", network.name, "up")
        for address in self.networks[network]:
            ip("-n", self.name, "address", "add", address, "dev", network.interface,
               *(["nodad"] if ":" in address else []))  # fmt: skip
        ip("-n", self.name, "link", "set", network.interface, "up")

    def unplug(self, network):
        """The interface and its addresses are gone, as when tailscaled stops."""
        ip("-n", self.name, "link", "delete", network.interface)

    def cut(self, network, again=False):
        """The interface stays, and nothing comes through: a cable pulled elsewhere, or put back."""
        ip("link", "set", f"{self.name[:8]}-{network.name[:4]}", "up" if again else "down")

    def slow_down(self, network, rate):
        """What it sends there goes at this rate, as tc(8) writes it; None: at full speed again."""
        if rate is None:
            ip("netns", "exec", self.name, "tc", "qdisc", "del", "dev", network.interface, "root")
        else:
            ip("netns", "exec", self.name, "tc", "qdisc", "add", "dev", network.interface, "root", "tbf",
               "rate", rate, "burst", "64kb", "latency", "400ms")  # fmt: skip

    def received(self):
        """Bytes that came in by the tailnet."""
        lines = self.run("grep", "tailscale0:", "/proc/net/dev").stdout
        return int(lines.split(":")[1].split()[0])

    def address(self, network):
        return self.networks[network][0].split("/")[0]


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def wait_for(condition, what, seconds=30):
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return answer
