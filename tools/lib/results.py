"""Counts the results of a test run, for tools/test.

    results.py meson BUILD_DIRECTORY      test cases of the last `meson test`
    results.py junit FILE                 test cases of a pytest run with --junitxml

Prints `PASSED FAILED` and then, a line each, why cases were skipped: `COUNT REASON`.
"""

import collections
import json
import pathlib
import re
import sys
import xml.etree.ElementTree

# Written by tests/unit/support/skip.hpp.
DOCTEST_SKIP = re.compile(r"^\[skipped\] (.+)$", re.MULTILINE)
DOCTEST_SUMMARY = re.compile(r"\[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed")


def count_meson(build_directory):
    passed = failed = 0
    skipped = collections.Counter()
    for line in (build_directory / "meson-logs/testlog.json").read_text().splitlines():
        test = json.loads(line)
        good = test["result"] in ("OK", "EXPECTEDFAIL", "SKIP")
        output = re.sub("\x1b\\[[0-9;]*m", "", test.get("stdout", ""))
        summary = DOCTEST_SUMMARY.search(output)
        if summary is None:
            # Not a doctest program, or one that crashed before its report.
            passed, failed = passed + good, failed + (not good)
            continue
        skips = DOCTEST_SKIP.findall(output)  # each ended a case, which doctest counts as passed
        skipped.update(skips)
        passed += int(summary[1]) - len(skips)
        failed += int(summary[2])
        if not good and summary[2] == "0":
            failed += 1  # all cases passed, yet the program failed: a sanitizer's report
    return passed, failed, skipped


def count_junit(path):
    passed = failed = 0
    skipped = collections.Counter()
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif skip is not None:
            skipped[skip.get("message", "")] += 1
        else:
            passed += 1
    return passed, failed, skipped


def main():
    kind, path = sys.argv[1:]
    count = {"meson": count_meson, "junit": count_junit}[kind]
    passed, failed, skipped = count(pathlib.Path(path))
    print(passed, failed)
    for reason, number in skipped.items():
        print(number, reason)


main()
