"""Runs clang-tidy on src/, and remembers which files were clean.

    tidy.py CLANG_TIDY BUILD_DIRECTORY CACHE_DIRECTORY

The compile commands are those of BUILD_DIRECTORY. If that is configured with combine_sources, each
unit of several source files is checked at once, which takes a fifth of the time. A unit is checked
again if one of these has changed: its source files, a project header that they include (directly or
not), its compile command, .clang-tidy, clang-tidy, or the version of a package that the build needs.
Prints each finding once, then `CHECKED of TOTAL units, N findings`; exits 1 if there are findings.
NIXBUILD_TIDY_JOBS units are checked at the same time (default: one for each processor).
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(rb'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
FINDING = re.compile(r"^(\S+?):(\d+):(\d+): (?:warning|error): .*$", re.MULTILINE)
KEPT_SECONDS = 30 * 24 * 3600


class Project:
    """The project's own files, and what each of them includes."""

    def __init__(self, build):
        self.roots = [SOURCE / "src", build / "src", build]
        self.included = {}

    def closure(self, file):
        seen, ahead = set(), [file]
        while ahead:
            current = ahead.pop()
            if current not in seen:
                seen.add(current)
                ahead.extend(self.includes(current))
        return sorted(seen)

    def includes(self, file):
        if file not in self.included:
            names = [name.decode() for name in INCLUDE.findall(file.read_bytes())]
            places = ([root / name for root in [file.parent, *self.roots]] for name in names)
            found = (next((place for place in options if place.is_file()), None) for options in places)
            self.included[file] = [place.resolve() for place in found if place]
        return self.included[file]


def output_of(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout


def common_key(tidy):
    """What every file's findings depend on."""
    packages = output_of(SOURCE / "tools/test", "--packages", "build").decode().split()
    digest = hashlib.sha256(output_of(tidy, "--version"))
    digest.update((SOURCE / ".clang-tidy").read_bytes())
    digest.update(output_of("dpkg-query", "--show", *packages))
    return digest


def key_of(common, project, entry, file):
    digest = common.copy()
    digest.update(entry["command"].replace(str(SOURCE), "").encode())
    for name in project.closure(file):
        content = name.read_bytes().replace(os.fsencode(SOURCE), b"")  # the units name their files so
        digest.update(b"\0" + os.fsencode(name.name) + b"\0" + content)
    return digest.hexdigest()


def check(tidy, build, file):
    """The findings, one a line. Paths are relative to the source directory."""
    result = subprocess.run(
        [tidy, "-p", str(build), "--quiet", "--extra-arg=-Wno-unknown-warning-option", str(file)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    findings = []
    for match in FINDING.finditer(result.stdout):
        path = pathlib.Path(os.path.normpath(build / match[1]))
        if path.is_relative_to(SOURCE):
            findings.append(f"{path.relative_to(SOURCE)}{match[0].removeprefix(match[1])}")
    if result.returncode != 0 and not findings:
        findings.append(f"{file}: clang-tidy failed: {result.stderr.strip()}")
    return sorted(set(findings))


def prune(cache):
    for entry in cache.iterdir():
        if entry.stat().st_mtime < time.time() - KEPT_SECONDS:
            entry.unlink(missing_ok=True)


def main():
    tidy, build, cache = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3])
    cache.mkdir(parents=True, exist_ok=True)
    prune(cache)
    entries = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if any(file.is_relative_to(root) for root in (SOURCE / "src", build / "src")):
            entries[file] = entry
    common, project = common_key(tidy), Project(build)
    keys = {file: key_of(common, project, entry, file) for file, entry in entries.items()}
    # Entries are empty: a file with findings is checked again.
    todo = []
    for file, key in keys.items():
        if (cache / key).exists():
            (cache / key).touch()
        else:
            todo.append(file)
    printed = set()
    jobs = int(os.environ.get("NIXBUILD_TIDY_JOBS") or os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for file, findings in zip(todo, pool.map(lambda file: check(tidy, build, file), todo)):
            if not findings:
                (cache / keys[file]).touch()
            for finding in findings:
                if finding not in printed:  # those in headers come with each file that includes them
                    print(finding, flush=True)
                printed.add(finding)
    print(f"{len(todo)} of {len(keys)} units, {len(printed)} findings")
    raise SystemExit(1 if printed else 0)


main()
