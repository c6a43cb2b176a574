"""serve-api: the status under load, the end of a long log, memory while that log is sent."""

import http.client
import json
import os
import time

from lib import load, many, measure
from lib.builds import BuildServer
from lib.memory import MIB, most, resident
from lib.report import Result

ABOUT = "the status under load, against FastAPI and Uvicorn; the end of a log of 1 GB, and its memory"

ROUTE = "/build/status"
SEED_FIELDS = ("is_running", "last_start", "last_finish", "last_status", "last_commit")
TAIL = "/build/logs?lines=100"
TAIL_REQUESTS = 200  # of a round
DOWNLOADS = 20


def status_under_load(lab, builds):
    with builds.start_api() as server:
        status = json.loads(load.get(server.port, ROUTE))
        file = lab.new_file("status.json")
        file.write_text(json.dumps({field: status[field] for field in SEED_FIELDS}), "utf-8")
        paths = lab.new_file("paths")
        paths.write_text(f"{ROUTE}\n", "ascii")
        with lab.start_fastapi(file) as peer:
            told = json.loads(load.get(peer.port, ROUTE))
            for field in SEED_FIELDS:
                # FastAPI writes the same moment in another way.
                if str(told[field]).replace("+00:00", "Z") != str(status[field]):
                    raise load.WrongAnswer(f"{field}: {told[field]} here, {status[field]} there")
            servers = {"nixbuild": server, "FastAPI": peer}
            comparison = many.Comparison(lab, servers, "paths", lambda _: paths)
    ours, theirs = comparison.rate("nixbuild"), comparison.rate("FastAPI")
    p99 = {name: comparison.p99(name) * 1e3 for name in servers}
    return [
        Result(
            f"GET {ROUTE}, requests/s, 50 connections",
            ours / theirs, 20, True, "×", f"{ours:,.0f}/s", f"FastAPI {theirs:,.0f}/s",
            comparison.notes(),
        ),
        Result(
            f"GET {ROUTE}, p99, 50 connections",
            p99["nixbuild"], 5, False, "ms",
            f"{p99['nixbuild']:.2f} ms", f"FastAPI {p99['FastAPI']:.1f} ms",
        ),
    ]  # fmt: skip


def write_log(file, size):
    """A log of about `size` bytes, in lines as a compiler's are."""
    line = "cc -O2 -c -o objects/module-%07d.o source/module-%07d.c -Iinclude -Wall -fPIC -g -DNDEBUG\n"
    with open(file, "w", encoding="ascii") as out:
        written = number = 0
        while written < size:
            piece = "".join(line % (each, each) for each in range(number, number + 10_000))
            out.write(piece)
            written += len(piece)
            number += 10_000


class Tail:
    """Asks for the end of the log over one connection, one request after the other."""

    def __init__(self, builds, size):
        write_log(builds.log(1), size)
        with open(builds.log(1), "rb") as log:
            log.seek(-20_000, os.SEEK_END)
            self.wanted = log.read().decode().splitlines()[-100:]
        self.seconds = measure.Series()
        self.server = builds.start_api()

    def round(self):
        """The median of the requests' seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        times = measure.Series()
        for _ in range(TAIL_REQUESTS):
            began = time.perf_counter()
            connection.request("GET", TAIL)
            body = connection.getresponse().read()
            times.values.append(time.perf_counter() - began)
            if json.loads(body)["logs"] != self.wanted:
                raise load.WrongAnswer(f"GET {TAIL}: not the log's last lines")
        connection.close()
        self.seconds.values += times.values
        return times.median

    @property
    def p99(self):
        ordered = sorted(self.seconds.values)
        return ordered[len(ordered) * 99 // 100]


def end_of_log(lab, long_log, short_log):
    sides = {
        lab.size_text: Tail(long_log, lab.large),
        "1 MiB": Tail(short_log, MIB),
    }
    try:
        series = measure.alternate({name: side.round for name, side in sides.items()}, lab.rounds)
    finally:
        for side in sides.values():
            side.server.stop()
    ours, small = (series[name].median * 1e3 for name in sides)
    return Result(
        f"the last 100 lines of a log of {lab.size_text}",
        ours, 2, False, "ms", f"{ours:.2f} ms", f"1 MiB log: {small:.2f} ms",
        [
            f"{name}: median {series[name].median * 1e3:.2f} ms, spread {series[name].spread:.0%}, "
            f"p99 {side.p99 * 1e3:.2f} ms, slowest {max(side.seconds.values) * 1e3:.2f} ms"
            for name, side in sides.items()
        ],
    )  # fmt: skip


def memory_of_log(lab, builds):
    """The most memory while the whole log goes to some that read it slowly, as a file and as events."""
    with builds.start_api() as server:
        half = DOWNLOADS // 2
        urls = ["/builds/1/log"] * half + [f"/build/logs/{builds.name}/stream?build=1"] * half
        top = most(server.process.pid, server.port, urls, 2 * lab.seconds)
        load.download(server.port, "/builds/1/log")
        load.download(server.port, f"/build/logs/{builds.name}/stream?build=1")
        after = resident(server.process.pid)
    top = tuple(map(max, top, after))
    return Result(
        f"memory, a log of {lab.size_text} sent to {DOWNLOADS} slow readers",
        top[0] / MIB, 64, False, "MiB",
        f"RSS {top[0] / MIB:.1f} MiB, PSS {top[1] / MIB:.1f} MiB", "",
        [f"RSS {after[0] / MIB:.1f} MiB after all of it was sent twice more"],
    )  # fmt: skip


def run(lab):
    builds = [BuildServer(lab, {"hello": "echo hello > $out"}) for _ in range(2)]
    for each in builds:
        each.build()
    return [
        *status_under_load(lab, builds[0]),
        end_of_log(lab, *builds),
        memory_of_log(lab, builds[0]),
    ]
