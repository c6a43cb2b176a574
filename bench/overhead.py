"""What run-build costs beyond the commands that one would type."""

import time

from lib import measure
from lib.builds import BuildServer
from lib.report import Result

ABOUT = "run-build of what is up to date, against git pull, nix flake update and nix build"

RUNS = 5  # of a round


def mean_seconds(run_once):
    began = time.perf_counter()
    for _ in range(RUNS):
        run_once()
    return (time.perf_counter() - began) / RUNS


def run(lab):
    builds = BuildServer(lab, {"default": "echo hello > $out"})
    clone = lab.new_directory("clones") / "demo"
    builds.run("git", "clone", "--quiet", builds.source, clone)

    def by_hand():
        builds.run("git", "pull", "--quiet", directory=clone)
        builds.run("nix", "flake", "update", directory=clone)
        builds.run("nix", "build", directory=clone)

    series = measure.alternate(
        {"run-build": lambda: mean_seconds(builds.build), "by hand": lambda: mean_seconds(by_hand)},
        lab.rounds,
    )
    ours, peer = (series[name].median * 1e3 for name in ("run-build", "by hand"))
    return [
        Result(
            "run-build's own overhead, repository up to date",
            ours - peer, 150, False, "ms", f"{ours:.0f} ms",
            f"git pull && nix flake update && nix build {peer:.0f} ms",
            [f"{name}: spread {one.spread:.0%}" for name, one in series.items()],
        )
    ]  # fmt: skip
