"""What a soak has done and seen, told by many threads."""

import collections
import contextlib
import threading
import time

# Seconds after a fault is over, as far as the services are concerned, in which clients may still give up for it.
GRACE = 10


class Wrong(Exception):
    """Something that no fault excuses."""


class Report:
    def __init__(self):
        self.begun = time.monotonic()
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.faults = collections.Counter()
        self.violations = []
        self.windows = []  # [end, what may fail, what it strains] of each fault; the end is None while it lasts

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] += number

    def violation(self, text):
        with self.lock:
            self.violations.append(f"{self.clock()} {text}")
        self.say(f"VIOLATION: {text}")

    def clock(self):
        return f"{time.monotonic() - self.begun:6.1f} s"

    def say(self, text):
        print(f"{self.clock()}  {text}", flush=True)

    @contextlib.contextmanager
    def fault(self, name, excuses, strains=frozenset()):
        """It lasts until the end of the `with`; `excuses` are the kinds of work that may fail for it, `strains` those
        that survive one such fault, but not always a second one."""
        self.say(name)
        window = [None, excuses, strains]
        with self.lock:
            self.faults[name.split(":")[0]] += 1
            self.windows.append(window)
        try:
            yield
        finally:
            window[0] = time.monotonic()

    def is_excused(self, kind, begin):
        """Whether faults for which such work may fail lasted at some time since `begin`."""
        with self.lock:
            windows = list(self.windows)
        excused = any(kind in kinds and (end is None or end + GRACE > begin) for end, kinds, _ in windows)
        return excused or sum(kind in strained and (end is None or end > begin) for end, _, strained in windows) > 1

    def summary(self):
        lines = ["", "What was done:"]
        lines += [f"  {number:>14,}  {what}" for what, number in sorted(self.counts.items())]
        lines += ["Faults:"]
        lines += [f"  {number:>14,}  {what}" for what, number in sorted(self.faults.items())]
        lines += [f"Violations: {len(self.violations)}"]
        lines += [f"  {text}" for text in self.violations]
        return "\n".join(lines)
