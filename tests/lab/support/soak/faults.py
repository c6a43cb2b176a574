"""What goes wrong during a soak. After each fault the services have to be well again by themselves."""

import os
import signal
import threading
import time

from support.machine import wait_for
from support.soak.report import Wrong
from support.soak.watch import processes
from support.soak.work import BUILD, EVERYTHING, LOOK, SUBSTITUTION

HEALTHY_WITHIN = 60  # seconds
SPEED = "300mbit"  # of what the server sends: so that much is under way whenever something happens
# Of a service that ends: Nix goes on by itself when the cache is back; a build goes on, and who follows it does too,
# but nobody can be asked to trigger one.
EXCUSED = {"cache": set(), "api": {LOOK, BUILD}}
# Nix tries a download five times, within 5 seconds or so. One end of the cache costs up to three of these.
STRAINED = {"cache": {SUBSTITUTION}, "api": set()}
UNIT = "nixbuild-build@nix-terminal.service"


class Faults:
    def __init__(self, lab, server, report, random):
        self.lab = lab
        self.server = server
        self.machine = server.machine
        self.report = report
        self.random = random
        self.machine.slow_down(lab.tailnet, SPEED)
        # Held while the server has no power: nobody can run a command there.
        self.power = threading.Lock()
        # Those that end a service's process, and those that do not.
        self.hard = [self.restart, self.restart, self.kill, self.kill, self.power_cut, self.kill_build]
        # Not tailscale0 made anew: what is downloaded then stalls until Nix gives it up, after minutes.
        self.soft = [self.network_cut, self.collect_garbage, self.restart_nix, self.reload, self.kill_build]

    def run(self, kinds, seconds, pause):
        """One after the other, each at least once where there is time, with pauses of `pause` (from, to) seconds."""
        end = time.monotonic() + seconds
        waiting = []
        while time.monotonic() < end:
            time.sleep(min(self.random.uniform(*pause), max(0, end - time.monotonic())))
            if time.monotonic() >= end:
                return
            if not waiting:
                waiting = self.random.sample(kinds, len(kinds))
            waiting.pop()()

    def wait_until_well(self):
        self.server.join_tailnet()
        laptop = self.lab.machines["laptop"]

        def well():
            command = ["curl", "--silent", "--fail", "--max-time", "5", "--output", "/dev/null"]
            return all(laptop.run(*command, f"http://build-server:{page}", code=None).code == 0
                       for page in ("5000/nix-cache-info", "8000/health"))  # fmt: skip

        try:
            wait_for(well, "both services answer", HEALTHY_WITHIN)
        except AssertionError as error:
            raise Wrong(f"after a fault: {error}") from None

    # Hard.

    def restart(self):
        service = self.random.choice(("cache", "api"))
        with self.report.fault(f"restart of serve-{service}", EXCUSED[service], STRAINED[service]):
            self.machine.run("systemctl", "restart", f"nixbuild-{service}")
            self.wait_until_well()

    def kill(self):
        service = self.random.choice(("cache", "api"))
        with self.report.fault(f"kill -9 of serve-{service}", EXCUSED[service], STRAINED[service]):
            [pid] = processes(self.machine, f"nixbuild-{service}.service")
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: pid not in processes(self.machine, f"nixbuild-{service}.service"), "it is dead")
            self.wait_until_well()

    def power_cut(self):
        with self.report.fault("power cut of the server", EVERYTHING), self.power:
            self.machine.cut_power()
            self.machine.switch_on()
            self.machine.wait_until_booted()
            self.server.start_git_daemon()
            self.wait_until_well()

    # Either.

    def kill_build(self):
        """Any process of it: run-build itself, git, Nix."""
        running = processes(self.machine, UNIT)
        if not running:
            return
        with self.report.fault("kill -9 of a build's process", {BUILD}):
            try:
                os.kill(self.random.choice(running), signal.SIGKILL)
            except ProcessLookupError:
                pass

    # Soft.

    def network_cut(self):
        machine = self.random.choice(list(self.lab.machines.values()))
        seconds = round(self.random.choice((0.5, 2, 5, 12)) * self.random.uniform(0.5, 1.5), 1)
        with self.report.fault(f"network cut: {machine.name}, {seconds} s", EVERYTHING):
            machine.cut(self.lab.tailnet)
            time.sleep(seconds)
            machine.cut(self.lab.tailnet, again=True)
            self.wait_until_well()

    def collect_garbage(self):
        # It breaks nothing, so it excuses nobody.
        self.report.say("garbage collection")
        self.machine.run("nix-collect-garbage")
        self.report.count("garbage collections")

    def restart_nix(self):
        machine = self.random.choice(list(self.lab.machines.values()))
        with self.report.fault(f"restart of Nix's daemon: {machine.name}", {SUBSTITUTION, BUILD}):
            machine.restart_nix()

    def reload(self):
        # Nor does this.
        self.report.say("reload of both configurations")
        self.machine.run("systemctl", "reload", "nixbuild-cache", "nixbuild-api")
        self.report.count("reloads")
