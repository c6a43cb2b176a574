"""The hot paths against an earlier build of this program, in paired rounds."""

import subprocess
import time

from lib import large, load, many, measure
from lib.builds import BuildServer
from lib.report import Result

ABOUT = "the hot paths against an earlier build of nixbuild, the program that --earlier names"

TOLERANCE = 0.03  # or the spread of the rounds, if that is larger
RUNS = 50  # processes of a round


def result(what, ratio, spread, ours, theirs, notes):
    """`ratio`: how many times as fast this program is."""
    return Result(
        what, ratio, 1 - max(TOLERANCE, spread), True, "×", ours, f"earlier {theirs}",
        [*notes, f"the larger spread of both sides is {spread:.0%}"],
    )  # fmt: skip


def requests(lab, what, servers, mode, argument):
    comparison = many.Comparison(lab, servers, mode, argument)
    ours, theirs = comparison.rate("nixbuild"), comparison.rate("earlier")
    return result(
        f"{what}, requests/s", ours / theirs, comparison.spread, f"{ours:,.0f}/s", f"{theirs:,.0f}/s",
        comparison.notes(),
    )  # fmt: skip


def transfers(lab, what, servers, path):
    def url(server):
        narinfo = load.get(server.port, path.narinfo).decode()
        return "/" + narinfo.partition("\nURL: ")[2].partition("\n")[0]

    def uncompressed(_):
        return path.nar()

    results = []
    for kind, choose in (("warm .nar.zst", url), (".nar", uncompressed)):
        comparison = large.Comparison(
            lab, {name: lambda s=server, u=choose(server): large.download(s, u) for name, server in servers.items()}
        )  # fmt: skip
        results.append(
            result(
                f"{kind} of {what}", comparison.seconds("earlier") / comparison.seconds("nixbuild"),
                comparison.spread, comparison.rate_text("nixbuild"), comparison.rate_text("earlier"),
                comparison.notes(),
            )  # fmt: skip
        )
    return results


def cache(lab, programs):
    store, hash_parts = lab.small_database
    paths = lab.path_list(hash_parts)
    servers = {name: lab.start_nixbuild(store, program=program) for name, program in programs.items()}
    try:
        yield requests(lab, "hot narinfo", servers, "paths", lambda _: paths)
        yield requests(lab, "absent narinfo", servers, "absent", lambda _: lab.new_seed())
    finally:
        for server in servers.values():
            server.stop()
    servers = {name: lab.start_nixbuild(lab.store, program=program) for name, program in programs.items()}
    try:
        yield from transfers(lab, lab.size_text, servers, lab.large_tree)
    finally:
        for server in servers.values():
            server.stop()


def api(lab, programs):
    builds = {name: BuildServer(lab, {"hello": "echo hello > $out"}, program) for name, program in programs.items()}
    for each in builds.values():
        each.build()
    paths = lab.new_file("paths")
    paths.write_text("/build/status\n", "ascii")
    servers = {name: each.start_api() for name, each in builds.items()}
    try:
        yield requests(lab, "GET /build/status", servers, "paths", lambda _: paths)

        def status(name):
            environment = {**builds[name].environment, "NIXBUILD_SERVER": f"http://127.0.0.1:{servers[name].port}"}

            def run():
                for _ in range(RUNS):
                    subprocess.run(
                        [programs[name], "status"], env=environment, check=True,
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    )  # fmt: skip

            return run

        yield processes(lab, "nixbuild status, the whole process", {name: status(name) for name in programs}, RUNS)
    finally:
        for server in servers.values():
            server.stop()
    yield processes(lab, "run-build of what is up to date", {name: each.build for name, each in builds.items()}, 1)


def processes(lab, what, sides, runs):
    def seconds(run):
        began = time.perf_counter()
        run()
        return (time.perf_counter() - began) / runs

    series = measure.alternate({name: lambda r=run: seconds(r) for name, run in sides.items()}, lab.rounds)
    milliseconds = {name: one.median * 1e3 for name, one in series.items()}
    return result(
        what, milliseconds["earlier"] / milliseconds["nixbuild"], max(one.spread for one in series.values()),
        f"{milliseconds['nixbuild']:.1f} ms", f"{milliseconds['earlier']:.1f} ms", [],
    )  # fmt: skip


def run(lab):
    programs = {"nixbuild": lab.binary, "earlier": lab.earlier}
    return [*cache(lab, programs), *api(lab, programs)]
