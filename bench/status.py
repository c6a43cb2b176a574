"""`nixbuild status` as a whole process."""

import os
import subprocess
import time

from lib import load, measure
from lib.builds import BuildServer
from lib.report import Result

ABOUT = "nixbuild status as a whole process, against curl piped into jq"

RUNS = 100  # of a round


def mean_seconds(run_once):
    began = time.perf_counter()
    for _ in range(RUNS):
        run_once()
    return (time.perf_counter() - began) / RUNS


def run(lab):
    builds = BuildServer(lab, {"hello": "echo hello > $out"})
    builds.build()
    with builds.start_api() as server:
        url = f"http://127.0.0.1:{server.port}"
        environment = {**builds.environment, "NIXBUILD_SERVER": url}
        with open(os.devnull, "wb") as nowhere:

            def ours():
                subprocess.run(
                    [lab.binary, "status"], env=environment, stdout=nowhere, stderr=nowhere, check=True
                )

            def peer():
                with subprocess.Popen(
                    ["curl", "--silent", "--fail", f"{url}/build/status"],
                    env=environment,
                    stdout=subprocess.PIPE,
                ) as curl:
                    subprocess.run(
                        ["jq", "."], env=environment, stdin=curl.stdout, stdout=nowhere, check=True
                    )
                if curl.returncode:
                    raise load.WrongAnswer(f"curl: exit status {curl.returncode}")

            series = measure.alternate(
                {"nixbuild": lambda: mean_seconds(ours), "curl | jq": lambda: mean_seconds(peer)},
                lab.rounds,
            )
    milliseconds = {name: one.median * 1e3 for name, one in series.items()}
    return [
        Result(
            "nixbuild status, the whole process, time",
            milliseconds["nixbuild"] / milliseconds["curl | jq"], 1, False, "×",
            f"{milliseconds['nixbuild']:.1f} ms", f"curl | jq {milliseconds['curl | jq']:.1f} ms",
            [f"{name}: spread {one.spread:.0%}" for name, one in series.items()],
        )
    ]  # fmt: skip
