"""Memory and open descriptors of both services, which are to be flat."""

import contextlib
import errno
import os
import pathlib

from support.load import metric
from support.machine import wait_for

SERVICES = ("cache", "api")
MEBIBYTE = 1 << 20

# What is allowed between two quiet moments of one process, with load between them and before them; and at any time.
GROWTH = 1.2
GROWTH_BYTES = 8 * MEBIBYTE
GROWTH_DESCRIPTORS = 8
MOST_BYTES = 160 * MEBIBYTE


def processes(machine, unit):
    """The unit's processes, numbered as they are here, outside of the machine."""
    while True:
        try:
            for file in machine.cgroup.glob(f"**/{unit}/cgroup.procs"):
                return [int(line) for line in file.read_text().split()]
            return []
        except OSError as error:
            # A cgroup went while it was looked at; whose it was shows the next time.
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise


class Sample:
    """A moment of a service."""

    def __init__(self, server, service):
        [self.pid] = processes(server.machine, f"nixbuild-{service}.service")
        self.memory = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        self.descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        self.connections = 0

    def __str__(self):
        return (f"{self.memory / MEBIBYTE:.1f} MiB, {self.descriptors} descriptors, "
                f"{self.connections} of them connections")  # fmt: skip


class Watch:
    def __init__(self, server, report):
        self.server = server
        self.report = report
        self.most = dict.fromkeys(SERVICES, 0)

    def peaks(self):
        """To be called now and then under load."""
        for service in SERVICES:
            try:
                memory = Sample(self.server, service).memory
            except (OSError, ValueError):
                continue  # it is being restarted
            if memory > self.most[service]:
                self.most[service] = memory
                if memory > MOST_BYTES:
                    self.report.violation(f"serve-{service} takes {memory / MEBIBYTE:.1f} MiB")

    def connections(self, service):
        return int(metric(self.server, f"nixbuild_{service}_connections", service))

    def are_gone(self):
        """All clients, but the one that asks, and serve-api, which keeps a connection to serve-cache."""
        return all(self.connections(service) <= 2 for service in SERVICES)

    def quiet(self, seconds=15):
        """Samples of both once all clients have gone.

        Connections that a network cut has left half open are there for as long as idle ones are; they are not waited
        for here, and do not count.
        """
        with contextlib.suppress(AssertionError):
            wait_for(self.are_gone, "all clients have gone", seconds)
        samples = {service: Sample(self.server, service) for service in SERVICES}
        for service, sample in samples.items():
            sample.connections = self.connections(service)
        self.report.say("quiet: " + "; ".join(f"serve-{service} {sample}" for service, sample in samples.items()))
        return samples

    def compare(self, before, after):
        for service in SERVICES:
            first, last = before[service], after[service]
            if first.pid != last.pid:
                self.report.violation(f"serve-{service} has ended, which nobody asked it to")
            elif last.memory > first.memory * GROWTH + GROWTH_BYTES:
                self.report.violation(f"serve-{service}'s memory has grown: {first}, then {last}")
            elif last.descriptors - last.connections > first.descriptors - first.connections + GROWTH_DESCRIPTORS:
                self.report.violation(f"serve-{service}'s descriptors have grown: {first}, then {last}")
            self.report.count("comparisons of memory and descriptors")
