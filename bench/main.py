"""Runs the benchmarks; started by tools/bench, which sees to the program and its peers."""

import argparse
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from lib import lab, measure, report

# In the order of the table. Each is a module here with ABOUT and run(lab) → Results.
BENCHMARKS = (
    "narinfo", "absent", "nar", "tree", "warm", "cold", "client", "memory", "growth",
    "api", "follow", "status", "overhead", "earlier",
)  # fmt: skip

DISK_NEEDED = 12 << 30


def parse_arguments():
    modules = {name: importlib.import_module(name) for name in BENCHMARKS}
    width = max(map(len, BENCHMARKS)) + 2
    parser = argparse.ArgumentParser(
        prog="tools/bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Measures nixbuild against its peers, on this machine, in this run.

Every figure is a ratio (or a time or a size) that holds on any machine: both sides run here, take
turns, and the medians of their rounds are compared. The peers (nginx, zstd, Nix, FastAPI, jq) and wrk
come from the distribution: as root they are installed where they are missing, else the command is printed.
All of it happens in a temporary directory and on loopback; nothing of this machine's Nix store is
read or written. Afterwards all is gone, also on Ctrl-C.""",
        epilog="benchmarks:\n"
        + "".join(f"  {name:{width}}{module.ABOUT}\n" for name, module in modules.items())
        + """
examples:
  tools/bench                       all of them, some 30 minutes on two cores
  tools/bench narinfo absent        only these
  tools/bench --quick               a tenth of the data, short rounds: does everything run?
  tools/bench --json figures.json   the figures for a program to read, with all notes

Exit status: 0 when every requirement is met, 1 when one is missed, 2 for wrong use or what is
missing, 3 when the machine is too busy to measure anything. docs/performance.md says how each
figure is taken.
""",
    )
    parser.add_argument(
        "benchmarks", nargs="*", metavar="BENCHMARK", help="which ones (default: all)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="less data, short rounds; not for figures to keep"
    )
    parser.add_argument(
        "--earlier", metavar="PROGRAM", help="an earlier build of nixbuild; adds the benchmark 'earlier'"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE, too")
    parser.add_argument(
        "--directory",
        metavar="DIR",
        default="/var/tmp",
        help="where the temporary directory is made; 12 GB are used there (default: %(default)s)",
    )
    parser.add_argument(
        "--busy-ok", action="store_true", help="measure even when something else uses the machine"
    )
    arguments = parser.parse_args()
    for name in arguments.benchmarks:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark '{name}'; there are {', '.join(BENCHMARKS)}")
    if "earlier" in arguments.benchmarks and not arguments.earlier:
        parser.error("benchmark 'earlier' needs the program to compare with: --earlier PROGRAM")
    chosen = arguments.benchmarks or BENCHMARKS
    if not arguments.earlier:
        chosen = [name for name in chosen if name != "earlier"]
    return arguments, {name: modules[name] for name in BENCHMARKS if name in chosen}


def check_disk(arguments):
    free = shutil.disk_usage(arguments.directory).free
    needed = DISK_NEEDED // 8 if arguments.quick else DISK_NEEDED
    if free < needed:
        sys.exit(
            f"tools/bench: {arguments.directory} has {free >> 30} GiB free, {needed >> 30} GiB are "
            "needed; choose another place with --directory"
        )


def end_by_signal(number, _frame):
    # Lets the temporary directory and the servers be cleaned up.
    raise SystemExit(128 + number)


def run_all(arguments, modules, results):
    """Adds to `results`. Returns the exit status: 0 when all ran."""
    directory = tempfile.mkdtemp(prefix="nixbuild-bench-", dir=arguments.directory)
    try:
        place = lab.Lab(
            directory, os.environ["NIXBUILD_BINARY"], arguments.earlier, arguments.quick
        )
        for name, module in modules.items():
            print(f"{name}: {module.ABOUT}", file=sys.stderr, flush=True)
            if not arguments.busy_ok:
                measure.wait_until_quiet()
            began = time.monotonic()
            new = module.run(place)
            results += new
            for result in new:
                for note in result.notes:
                    measure.say(note)
            measure.say(f"{time.monotonic() - began:.0f} s")
    except measure.MachineBusy as error:
        print(f"tools/bench: {error}", file=sys.stderr)
        return 3
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        print(f"tools/bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ntools/bench: interrupted", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lab.remove_tree(directory)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return 0


def main():
    arguments, modules = parse_arguments()
    check_disk(arguments)
    signal.signal(signal.SIGTERM, end_by_signal)
    signal.signal(signal.SIGHUP, end_by_signal)
    about = report.machine(os.environ["NIXBUILD_BINARY"])
    results = []
    status = run_all(arguments, modules, results)
    # What was measured is told even when not all could be.
    if results:
        print()
        for key, value in about.items():
            print(f"{key}: {value}")
        print()
        print(report.table(results))
        if arguments.busy_ok or arguments.quick:
            print("\nTaken with --busy-ok or --quick: not figures to keep.")
        if arguments.json:
            report.write_json(arguments.json, results, about)
    if status == 0 and not all(result.passed for result in results):
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
