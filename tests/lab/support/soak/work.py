"""What clients do during a soak, again and again, and what is held against them."""

import json
import pathlib
import re
import subprocess
import threading
import time

from support.soak.report import Wrong

SUBSTITUTION, LOOK, BUILD = "substitution", "look", "build"
EVERYTHING = {SUBSTITUTION, LOOK, BUILD}

LINES = 25  # that a build says
HUNG = 400  # seconds; longer than Nix waits for a download that has stalled


class Worker(threading.Thread):
    """Repeats `once` until `stop` is set; what fails is a violation unless a fault excuses it."""

    kind = None

    def __init__(self, report, stop):
        super().__init__(name=type(self).__name__, daemon=True)
        self.report = report
        self.stop = stop

    def run(self):
        while not self.stop.is_set():
            begin = time.monotonic()
            try:
                self.once()
            except Wrong as error:
                self.report.violation(f"{self.name}: {error}")
            except subprocess.TimeoutExpired as error:
                self.report.violation(f"{self.name}: hangs: {error}")
            except Exception as error:
                if self.report.is_excused(self.kind, begin):
                    self.report.count(f"given up during a fault: {self.name}")
                    self.stop.wait(1)
                else:
                    self.report.violation(f"{self.name}: {error}")


class Substituter(Worker):
    """An ordinary user's Nix, which deletes a path and gets it again."""

    kind = SUBSTITUTION

    def __init__(self, report, stop, machine, known, random):
        super().__init__(report, stop)
        self.name = f"Nix on {machine.name}"
        self.machine = machine
        self.known = known
        self.random = random

    def once(self):
        path, nar_hash = self.random.choice(self.known.paths())
        self.machine.run("nix-store", "--delete", path, code=None)
        self.get(path, nar_hash)

    def get(self, path, nar_hash):
        self.machine.run("nix-store", "--realise", path, user="alice", timeout=HUNG)
        found = self.machine.run("nix-store", "--query", "--hash", path).stdout.strip()
        verified = self.machine.run("nix-store", "--verify-path", path, user="alice", code=None)
        if found != nar_hash or "was modified" in verified.stderr:
            raise Wrong(f"{path} has come as {found}, and was to be {nar_hash}: {verified.stderr}")
        assert verified.code == 0, verified
        self.report.count(f"substitutions by {self.name}")


class OtherSubstituter(Worker):
    """The same by the Nix of this machine, which has no daemon."""

    kind = SUBSTITUTION

    def __init__(self, report, stop, nix, known, random):
        super().__init__(report, stop)
        self.name = "this machine's Nix"
        self.nix = nix
        self.known = known
        self.random = random

    def once(self):
        path, nar_hash = self.random.choice(self.known.paths())
        self.nix.run("nix-store", "--store", self.nix.store, "--delete", path)
        self.get(path, nar_hash)

    def get(self, path, nar_hash):
        code, said = self.nix.run(*self.nix.realise(path), timeout=HUNG)
        assert code == 0, said
        found = self.nix.hash_of(path)
        if found != nar_hash:
            raise Wrong(f"{path} has come as {found}, and was to be {nar_hash}")
        self.report.count(f"substitutions by {self.name}")


class LogReader(Worker):
    """Looks at what there is, as people do."""

    kind = LOOK

    def __init__(self, report, stop, machine, random):
        super().__init__(report, stop)
        self.machine = machine
        self.random = random

    def once(self):
        command = self.random.choice(("bs", "bl", "builds", "health", "page"))
        if command == "bl":
            done = self.machine.run("bl", user="alice", code=None)
            assert done.code == 0, done
        elif command == "page":
            url = "http://build-server:8000/builds?limit=20"
            done = self.machine.run("curl", "--silent", "--show-error", "--fail", "--max-time", "30", url)
            self.parse(done.stdout)
        else:
            words = ("bs", "--json") if command == "bs" else ("nixbuild", command, "--json")
            done = self.machine.run(*words, user="alice", code=None)
            # `health` ends with 1 where something is degraded, and says what.
            assert done.code == 0 or (command == "health" and done.code == 1 and done.stdout), done
            self.parse(done.stdout)
        self.report.count("looks at status, history and logs")
        self.stop.wait(0.1)

    @staticmethod
    def parse(text):
        try:
            json.loads(text)
        except ValueError:
            raise Wrong(f"this is no JSON: {text[:200]!r}") from None


class Builder(Worker):
    """Pushes a change, triggers its build, and follows that on two machines."""

    kind = BUILD

    def __init__(self, report, stop, clone, desktop, server, power, known, random, numbers):
        """`random` and `numbers` go on from one Builder to the next: the outputs are random, so a path that is built a
        second time, after its garbage collection, has contents that the narinfo in a client's cache does not describe."""
        super().__init__(report, stop)
        self.clone = clone
        self.desktop = desktop
        self.server = server
        self.power = power
        self.known = known
        self.random = random
        self.numbers = numbers
        self.number = 0

    def once(self):
        self.number = next(self.numbers)
        mark = f"build-{self.random.randrange(1 << 40):x}"
        noise = self.random.choice((1_000, 50_000, 3_000_000))
        script = f"for n in $(seq {LINES}); do echo {mark} $n; sleep 0.1; done; head -c {noise} /dev/urandom > $out"
        self.clone.push(**{f"soak-{self.number}": script})
        watcher = self.desktop.start("bt", "--follow", user="alice")
        try:
            done = self.clone.machine.run("bt", "--follow", user="alice", code=None, timeout=HUNG)
            watched = watcher.communicate(timeout=HUNG)[0], watcher.returncode
        finally:
            watcher.kill()
            watcher.communicate()
        # A build that was under way already may be of what was there before.
        for text, code in ((done.stdout, done.code), watched):
            if code == 0:
                self.check_lines(text, mark)
        assert done.code == 0, done
        self.report.count("builds that succeeded")
        with self.power:
            self.learn()

    @staticmethod
    def check_lines(text, mark):
        """Each attempt at a build, which is repeated if Nix is killed, says each line once; the last says all."""
        attempts = [[int(number) for number in re.findall(rf"{mark} (\d+)$", attempt, re.MULTILINE)]
                    for attempt in text.split("nix-store gave up: ")]  # fmt: skip
        attempts = [said for said in attempts if said]
        complete = list(range(1, LINES + 1))
        if attempts and (attempts[-1] != complete or any(said != complete[: len(said)] for said in attempts)):
            raise Wrong(f"of the {LINES} lines that a build said, these came in each attempt: {attempts}")

    def learn(self):
        status = self.server.status()
        if status["last_status"] != "success":
            return
        for path in status["outputs"]:
            if pathlib.PurePath(path).name[33:] == f"soak-{self.number}":
                self.known.learn(path, self.server.run("nix-store", "--query", "--hash", path).stdout.strip())


class Known:
    """Store paths that the server has and keeps, with their hashes from its own Nix."""

    def __init__(self, base):
        self.lock = threading.Lock()
        self.base = base
        self.latest = []

    def paths(self):
        with self.lock:
            return list(self.base.items()) + self.latest

    def learn(self, path, nar_hash):
        """The newest two of many: the server keeps those of five builds."""
        with self.lock:
            self.latest = [*self.latest[-1:], (path, nar_hash)]
