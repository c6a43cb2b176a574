"""Measuring: rounds that take turns, medians, and whether the machine is quiet enough."""

import os
import statistics
import sys
import time


class MachineBusy(Exception):
    """Something else uses the processors, so figures would say nothing."""


class Series:
    """The values of one side over all rounds."""

    def __init__(self):
        self.values = []

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def spread(self):
        """Largest minus smallest value, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


def alternate(sides, rounds, warm_up=True):
    """Runs each of `sides` (name → function returning a number) `rounds` times, taking turns, so that
    a slow minute of the machine hits all of them. Returns name → Series."""
    if warm_up:
        for run in sides.values():
            run()
    series = {name: Series() for name in sides}
    for number in range(rounds):
        # Every other round goes backwards: no side always comes right after the same other one.
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in order:
            series[name].values.append(sides[name]())
            progress(".")
    progress("\n")
    return series


def progress(text):
    sys.stderr.write(text)
    sys.stderr.flush()


def say(text):
    print(f"    {text}", file=sys.stderr, flush=True)


def busy_share(seconds=1.0):
    """The share of all processors' time that was used in the next `seconds`, 0 to 1."""

    def read():
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(field) for field in stat.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total_before, idle_before = read()
    time.sleep(seconds)
    total, idle = read()
    return 1 - (idle - idle_before) / max(1, total - total_before)


def wait_until_quiet(limit=0.10, patience=60.0):
    """Returns once less than `limit` of the processors' time is used. Throws MachineBusy when that
    does not come within `patience` seconds."""
    deadline = time.monotonic() + patience
    told = False
    while True:
        share = busy_share()
        if share < limit:
            return
        if time.monotonic() > deadline:
            load = " ".join(f"{value:.2f}" for value in os.getloadavg())
            raise MachineBusy(
                f"{share:.0%} of the processors' time is used by something else (load {load}); "
                "try again when the machine is quiet, or give --busy-ok for figures to look at, "
                "not to keep"
            )
        if not told:
            say(f"waiting for the machine to get quiet: {share:.0%} of its processors are in use")
            told = True


def processor_seconds(pids):
    """User and system time that the processes have used so far, in seconds."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / ticks
