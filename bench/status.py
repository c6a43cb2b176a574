"""`nixbuild status` as a whole process, and what loads a shell's aliases."""

import json
import os
import subprocess
import time

from lib import load, measure
from lib.builds import BuildServer
from lib.report import Result

ABOUT = "nixbuild status as a whole process, against curl piped into jq, and aliases --from-atuin"

RUNS = 100  # of a round


def mean_seconds(run_once):
    began = time.perf_counter()
    for _ in range(RUNS):
        run_once()
    return (time.perf_counter() - began) / RUNS


def load_aliases(lab):
    """What a starting shell waits for; without Atuin in PATH, so that nothing else runs meanwhile."""
    home = lab.new_directory("home")
    copy = home / ".local/state/nixbuild/aliases.json"
    copy.parent.mkdir(parents=True)
    copy.write_text(json.dumps({"aliases": {f"alias-{n}": f"command --with 'words' {n}" for n in range(30)}}))
    copy.chmod(0o600)
    with open(os.devnull, "wb") as nowhere:

        def once():
            subprocess.run([lab.binary, "aliases", "--shell", "zsh", "--from-atuin"], stdout=nowhere, check=True,
                           env={"HOME": str(home), "PATH": "/nonexistent"})  # fmt: skip

        series = measure.alternate({"nixbuild": lambda: mean_seconds(once)}, lab.rounds)["nixbuild"]
    milliseconds = series.median * 1e3
    return Result(
        "a shell's 30 aliases from Atuin, the whole process", milliseconds, 5, False, "ms", f"{milliseconds:.1f} ms", "",
        [f"nixbuild: spread {series.spread:.0%}"],
    )  # fmt: skip


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
        ),
        load_aliases(lab),
    ]  # fmt: skip
