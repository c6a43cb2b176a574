"""Prints line and branch coverage by folder of src: coverage.py SUMMARY, of `gcovr --json-summary`."""

import collections
import json
import pathlib
import sys


def share(covered, total):
    return f"{100 * covered / total:.1f} %" if total else "-"


def main():
    kinds = ("line_covered", "line_total", "branch_covered", "branch_total")
    folders = collections.defaultdict(collections.Counter)
    for file in json.loads(pathlib.Path(sys.argv[1]).read_text())["files"]:
        # src/cli and its folders count as one, as in docs/architecture.md.
        parts = pathlib.PurePath(file["filename"]).parts[:-1]
        for folder in ("/".join(parts[: 2 if parts[1] == "cli" else 3]), "all of src"):
            folders[folder].update({kind: file[kind] for kind in kinds})
    for folder in sorted(folders, key=lambda name: (name == "all of src", name)):
        counts = folders[folder]
        lines = share(counts["line_covered"], counts["line_total"])
        branches = share(counts["branch_covered"], counts["branch_total"])
        print(f"{folder:24} {counts['line_total']:7} lines {lines:>8}   branches {branches:>8}")


main()
