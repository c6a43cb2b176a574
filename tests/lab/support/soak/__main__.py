"""Runs a soak: `python3 -m support.soak SECONDS SEED`, in the namespaces that tests/lab/soak makes."""

import itertools
import random
import sys
import threading
import time

from support.host_nix import HostNix, has_host_nix
from support.lab import Lab
from support.load import Clients, wants
from support.machine import wait_for
from support.repository import Clone
from support.server import BuildServer
from support.soak.faults import Faults
from support.soak.report import Report
from support.soak.watch import Watch
from support.soak.work import Builder, Known, LogReader, OtherSubstituter, Substituter

READERS = 6  # raw connections that are read from at once
IDLE = 75  # seconds, after which the services close a connection that nothing comes from
ROUND = 300  # seconds, more or less, between two services that have run for all of the latter part of it
WARM_UP = 12  # seconds of load without faults, before memory is looked at
BASE = {
    **{f"small-{number}": f"head -c {number}7000 /dev/urandom > $out" for number in range(1, 6)},
    "tree": "mkdir $out; for n in $(seq 300); do mkdir $out/$n; echo $n > $out/$n/file; done",
    "text": "seq 400000 > $out",
    "noise": "head -c 12000000 /dev/urandom > $out",
}


class Soak:
    def __init__(self, lab, report, seconds, seed):
        self.lab = lab
        self.report = report
        self.seconds = seconds
        self.seed = seed
        self.server = BuildServer(lab)
        self.server.join_tailnet()
        self.laptop, self.desktop = lab.machines["laptop"], lab.machines["desktop"]
        self.clone = Clone(self.laptop)
        self.known = Known(self.build_base())
        self.wants = wants(self.server, self.known.base)
        key = self.server.public_key()
        for client in (self.laptop, self.desktop):
            client.trust(key)
        self.host = HostNix(self.laptop, lab.directory, key) if has_host_nix else None
        self.faults = Faults(lab, self.server, report, self.random("faults"))
        self.watch = Watch(self.server, report)
        self.builds, self.numbers = self.random("builds"), itertools.count(1)

    def random(self, name):
        return random.Random(f"{self.seed} {name}")

    def build_base(self):
        """What is substituted all the time, and kept by roots of its own."""
        self.clone.push(**BASE)
        self.laptop.run("bt", "--wait", user="alice")
        hashes = {}
        for number, path in enumerate(self.server.status()["outputs"]):
            self.server.run("nix-store", "--realise", path, "--add-root", f"/nix/var/nix/gcroots/soak-{number}")
            hashes[path] = self.server.run("nix-store", "--query", "--hash", path).stdout.strip()
        assert len(hashes) == len(BASE), hashes
        return hashes

    def workers(self, stop):
        common = self.report, stop
        workers = [Substituter(*common, machine, self.known, self.random(machine.name))
                   for machine in (self.laptop, self.desktop)]  # fmt: skip
        if self.host:
            workers.append(OtherSubstituter(*common, self.host, self.known, self.random("host")))
        workers.append(LogReader(*common, self.desktop, self.random("logs")))
        workers.append(Builder(*common, self.clone, self.desktop, self.server, self.faults.power, self.known,
                               self.builds, self.numbers))  # fmt: skip
        return workers

    def load(self, faults, seconds, pause=(1, 6)):
        """Everybody works for so long, while these faults happen; returns when all is quiet."""
        stop = threading.Event()
        workers = self.workers(stop)
        watching = threading.Thread(target=self.look, args=(stop,), daemon=True)
        with Clients(self.laptop, "read", clients=READERS, wants=self.wants, seed=self.seed) as readers:
            for thread in (*workers, watching):
                thread.start()
            try:
                if faults:
                    self.faults.run(faults, seconds, pause)
                else:
                    time.sleep(seconds)
            except Exception as error:
                self.report.violation(f"while something was broken: {type(error).__name__}: {error}")
            readers.stop()
            result = readers.result(timeout=200)
            stop.set()
            for thread in (*workers, watching):
                thread.join(500)
                if thread.is_alive():
                    self.report.violation(f"{thread.name} does not come to an end")
        for wrong in result.pop("wrong"):
            self.report.violation(f"raw reader: {wrong}")
        for what, number in result.items():
            self.report.count(f"raw readers: {what}", number)

    def look(self, stop):
        while not stop.wait(1):
            self.watch.peaks()

    def run(self):
        end = time.monotonic() + self.seconds
        rounds = max(1, round(self.seconds / ROUND))
        for left in range(rounds, 0, -1):
            seconds = max(20, (end - time.monotonic()) / left - WARM_UP)
            self.load(self.faults.hard, seconds * 0.4)
            self.load((), WARM_UP)
            before = self.watch.quiet()
            self.load(self.faults.soft, seconds * 0.6)
            self.watch.compare(before, self.watch.quiet())
            if self.report.violations:
                break  # what is in the journal now is about them
        self.check_end()

    def check_end(self):
        """With nothing broken any more, everybody gets everything."""
        self.report.say("the end: all of it once more, without faults")
        time.sleep(11)  # longer than faults excuse
        stop = threading.Event()
        for worker in self.workers(stop):
            if isinstance(worker, (Substituter, OtherSubstituter)):
                for path, nar_hash in self.known.base.items():
                    worker.get(path, nar_hash)
        for client in (self.laptop, self.desktop):
            client.run("nix-store", "--verify", "--check-contents")
        wait_for(self.watch.are_gone, "no connection is left", IDLE + 15)


def main():
    seconds, seed = int(sys.argv[1]), int(sys.argv[2])
    report = Report()
    report.say(f"{seconds} s, --seed {seed}")
    lab = Lab()
    soak = None
    try:
        lab.start()
        soak = Soak(lab, report, seconds, seed)
        report.say("the machines have booted, and the server has built something")
        soak.run()
    except Exception as error:
        report.violation(f"{type(error).__name__}: {error}")
    finally:
        if report.violations and soak and soak.server.machine.leader:
            print("\n".join(soak.server.machine.journal("nixbuild-*").splitlines()[-100:]))
        lab.close()
    print(report.summary())
    if soak:
        for service, memory in soak.watch.most.items():
            print(f"Most memory of serve-{service}: {memory / (1 << 20):.1f} MiB")
    print(f"--seed {seed}: " + ("something did not hold" if report.violations else "all held"))
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
