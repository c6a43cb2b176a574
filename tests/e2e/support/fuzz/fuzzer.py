"""Sends what a grammar and mutations make to a server, over many connections at once, and judges what comes back.

Everything of a case follows from the seed and the case's number, so that both tell it again.
"""

import dataclasses
import os
import pathlib
import random
import socket
import struct
import threading
import time

from support.fuzz import wire
from support.fuzz.mutations import mutate

CONNECTIONS = 24
# An answer that takes longer has got lost. Sanitizers and a busy machine are slow.
PATIENCE = 60
# For so long a request's head may come in, in seconds, and some more.
HEADER_TIME = 10 + 4
# Where the fuzzer itself was held up for so long, what it has seen of time-outs says nothing of the server.
HELD_UP = 4


class Finding(Exception):
    """What the server did wrong."""


@dataclasses.dataclass
class Case:
    number: int
    requests: list  # as they are meant, one behind the other
    sent: bytes  # what goes over the wire
    mutated: bool
    generator: random.Random  # for how it is sent

    def describe(self):
        return f"case {self.number}, {'mutated' if self.mutated else 'right'}, {len(self.sent)} bytes"


def make_case(grammar, seed, number):
    generator = random.Random(f"{seed}:{number}")
    requests = []
    for _ in range(generator.choice([1, 1, 1, 2, 3, 8])):
        requests.append(grammar.make(generator))
        if requests[-1].is_last:
            break
    sent = b"".join(request.render(generator) for request in requests)
    mutated = generator.random() < 0.6
    if mutated:
        sent = mutate(sent, generator)
    return Case(number, requests, sent, mutated, generator)


def pieces(data, generator):
    """`data` as it is cut for sending, and how long to wait behind each piece."""
    how = generator.choice(["whole", "whole", "two", "few", "bytes"])
    if how == "bytes" and len(data) <= 400:
        return [(data[n : n + 1], 0) for n in range(len(data))]
    cuts = {"whole": 0, "two": 1}.get(how, 6)
    places = sorted(generator.randrange(len(data) + 1) for _ in range(cuts))
    pause = generator.choice([0, 0.001, 0.02])
    return [(data[begin:end], pause) for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


class Connection:
    """One connection to the server, and all that has come on it."""

    def __init__(self, port, generator):
        self.socket = socket.socket()
        if generator.random() < 0.1:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.ended = None  # "closed" or "reset", by the server

    def send(self, data):
        """False when the server does not take it any more."""
        # While it is being sent answers may come, without whose being read the server need not go on.
        view, deadline = memoryview(data), time.monotonic() + PATIENCE
        self.socket.setblocking(False)
        try:
            while view and self.ended is None:
                try:
                    view = view[self.socket.send(view) :]
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Finding("it does not read what is sent") from None
                    time.sleep(0.001)
                except (BrokenPipeError, ConnectionResetError):
                    self.drain()
                    self.ended = self.ended or "reset"
                self.drain()
        finally:
            self.socket.settimeout(PATIENCE)
        return self.ended is None

    def drain(self):
        """Takes what has come, without waiting."""
        self.socket.setblocking(False)
        try:
            while self.ended is None:
                self.take(1 << 18)
        except BlockingIOError:
            pass

    def take(self, size):
        try:
            piece = self.socket.recv(size)
        except ConnectionResetError:
            self.ended = "reset"
            return
        self.received += piece
        if not piece:
            self.ended = "closed"

    def half_close(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def read_to_end(self, seconds):
        deadline = time.monotonic() + seconds
        while self.ended is None:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                self.take(1 << 18)
            except TimeoutError:
                return
            if time.monotonic() > deadline:
                return

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def run_case(port, case):
    """Sends one case and judges what comes back. Raises Finding."""
    generator = case.generator
    endless = any(request.endless for request in case.requests)
    # How it ends: patiently, by going in the middle, by no more sending, or by waiting for the server to give up.
    ending = generator.choices(["patient", "gone", "silent"], [80, 19, 0.3 if case.mutated else 0])[0]
    connection = Connection(port, generator)
    try:
        for piece, pause in pieces(case.sent, generator):
            if not connection.send(piece):
                break
            if pause:
                time.sleep(pause)
        if ending == "gone":
            # In the middle of an answer, or before it.
            if generator.random() < 0.7:
                connection.socket.settimeout(2)
                try:
                    connection.take(generator.choice([1, 100, 10_000, 1 << 20]))
                except TimeoutError:
                    pass
            judge(case, connection)
            if generator.random() < 0.5:
                connection.reset()
            return
        if endless:
            connection.socket.settimeout(0.3)
            try:
                while connection.ended is None:
                    connection.take(1 << 18)
            except TimeoutError:
                pass
            if generator.random() < 0.5:
                connection.half_close()
            judge(case, connection)
            return
        if ending == "silent":
            # What is no whole request is given up by the server; behind one it waits for the next.
            connection.read_to_end(HEADER_TIME)
            judge(case, connection)
            return
        connection.half_close()
        connection.read_to_end(PATIENCE)
        if connection.ended is None and not (case.mutated and b"text/event-stream" in connection.received):
            raise Finding("it neither answers nor closes")
        judge(case, connection)
    finally:
        connection.socket.close()


def judge(case, connection):
    data = bytes(connection.received)
    ended = connection.ended == "closed"
    methods = [] if case.mutated else [request.method for request in case.requests]
    try:
        found = wire.read_answers(data, methods, ended, b"HEAD" in case.sent)
    except wire.Malformed as error:
        raise Finding(f"malformed: {error}") from error
    if case.mutated:
        return
    if connection.ended == "reset":
        raise Finding("a right request was answered by a reset")
    if len(found) > len(case.requests):
        raise Finding(f"{len(found)} answers to {len(case.requests)} requests")
    if ended and len(found) < len(case.requests):
        raise Finding(f"only {len(found)} answers to {len(case.requests)} requests")
    for number, (request, answer) in enumerate(zip(case.requests, found, strict=False), 1):
        try:
            request.check(answer)
        except (AssertionError, ValueError, KeyError) as error:
            raise Finding(f"answer {number}, to {request.method} {request.target}: {error!r}") from error


class Fuzzer:
    """Runs cases until a time is over or something is found."""

    def __init__(self, server, grammar, seed, directory):
        self.server = server
        self.grammar = grammar
        self.seed = seed
        self.directory = pathlib.Path(directory)
        self.next = 0
        self.findings = []
        self.lock = threading.Lock()
        self.pulse = Pulse()

    def run(self, seconds):
        """Returns how many cases there were."""
        self.pulse.start()
        before, deadline = self.next, time.monotonic() + seconds
        threads = [threading.Thread(target=self.work, args=(deadline,)) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.pulse.stop()
        self.check()
        return self.next - before

    def run_one(self, number):
        self.attempt(number)
        self.check()

    def check(self):
        if not self.findings:
            return
        time.sleep(3)  # for a sanitizer to write its report
        state = "alive" if self.server.alive() else "gone"
        raise AssertionError("\n".join([*self.findings[:5], f"The server is {state}. Its log:", *self.server.log[-100:]]))

    def work(self, deadline):
        while time.monotonic() < deadline and not self.findings:
            with self.lock:
                number, self.next = self.next, self.next + 1
            self.attempt(number)

    def attempt(self, number):
        case = make_case(self.grammar, self.seed, number)
        held_up = self.pulse.held_up
        try:
            run_case(self.server.port, case)
            if not self.server.alive():
                raise Finding("the server has ended")
        except (Finding, OSError) as error:
            if self.pulse.held_up == held_up or not self.server.alive():
                self.report(case, error)

    def report(self, case, error):
        file = self.directory / f"seed-{self.seed}-case-{case.number}"
        with self.lock:
            self.directory.mkdir(parents=True, exist_ok=True)
            file.write_bytes(case.sent)
            self.findings.append(f"{case.describe()}: {error}\n  {threads_of(self.server)}\n  the bytes: {file}\n  again: NIXBUILD_FUZZ_SEED={self.seed} "
                                 f"NIXBUILD_FUZZ_CASE={case.number}")  # fmt: skip


class Pulse:
    """Counts how often this process got no processor for longer than HELD_UP."""

    def __init__(self):
        self.held_up = 0
        self.running = False
        self.thread = None

    def start(self):
        self.running = True
        self.thread = threading.Thread(target=self.beat)
        self.thread.start()

    def stop(self):
        self.running = False
        self.thread.join()

    def beat(self):
        last = time.monotonic()
        while self.running:
            time.sleep(0.1)
            now = time.monotonic()
            if now - last > HELD_UP:
                self.held_up += 1
            last = now


def threads_of(server):
    """What each of the server's threads does, for a finding."""
    states = []
    try:
        for task in sorted(pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()):
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            states.append(f"{task.name}: {state} {(task / 'wchan').read_text()}")
    except OSError:
        states.append("(it is gone)")
    return "threads: " + ", ".join(states)


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def resident(server):
    """Bytes."""
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
