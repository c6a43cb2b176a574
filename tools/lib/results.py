"""Counts what a test run did, for tools/test.

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

DOCTEST_SUMMARY = re.compile(r"\[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed")


def count_meson(build_directory):
    passed = failed = 0
    for line in (build_directory / "meson-logs/testlog.json").read_text().splitlines():
        test = json.loads(line)
        good = test["result"] in ("OK", "EXPECTEDFAIL", "SKIP")
        summary = DOCTEST_SUMMARY.search(re.sub("\x1b\\[[0-9;]*m", "", test.get("stdout", "")))
        if summary is None:
            # No doctest, or one that did not live to report.
            passed, failed = passed + good, failed + (not good)
            continue
        passed += int(summary[1])
        failed += int(summary[2])
        if not good and summary[2] == "0":
            failed += 1  # all cases held, and yet the program failed: a sanitizer's finding
    return passed, failed, collections.Counter()


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
