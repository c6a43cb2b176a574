"""Results, and the table of them."""

import json
import os
import platform
import subprocess


class Result:
    """One line of the table.

    `value` is what `required` is about; with `at_least` a larger one is better, else a smaller one.
    `ours` and `peer` are the raw figures of both sides as text, `notes` whatever explains them.
    """

    def __init__(self, what, value, required, at_least, unit, ours, peer="", notes=()):
        self.what = what
        self.value = value
        self.required = required
        self.at_least = at_least
        self.unit = unit
        self.ours = ours
        self.peer = peer
        self.notes = list(notes)

    @property
    def passed(self):
        return self.value >= self.required if self.at_least else self.value <= self.required

    def _with_unit(self, number):
        if self.unit == "×":
            return f"{number:.2f} ×"
        digits = 1 if number < 10 and number != int(number) else 0
        return f"{number:.{digits}f} {self.unit}"

    def cells(self):
        sign = "≥" if self.at_least else "≤"
        return [
            self.what,
            f"{sign} {self._with_unit(self.required)}",
            self._with_unit(self.value),
            "pass" if self.passed else "MISS",
            self.ours,
            self.peer or "–",
        ]

    def as_json(self):
        return {
            "what": self.what,
            "required": self.required,
            "at_least": self.at_least,
            "reached": self.value,
            "unit": self.unit,
            "passed": self.passed,
            "ours": self.ours,
            "peer": self.peer,
            "notes": self.notes,
        }


HEAD = ["what", "required", "reached", "", "nixbuild", "peer"]


def table(results):
    """A table that reads well on a terminal and is Markdown."""
    rows = [HEAD] + [result.cells() for result in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]

    def line(cells):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(rows[0]), rule] + [line(row) for row in rows[1:]])


def machine(binary):
    """What the figures were taken on: name → text."""

    def last_line(*command):
        run = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return run.stdout.strip().rpartition("\n")[2].strip()

    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for text in info:
            if text.startswith("model name"):
                model = text.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processors": f"{os.cpu_count()} × {model}",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "nixbuild": last_line(binary, "--version"),
        "nginx": last_line("nginx", "-v").rpartition(":")[2].strip(),
        "nix": last_line("nix", "--version"),
        "zstd": last_line("zstd", "--version").strip("* "),
        "load": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def write_json(path, results, about):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(
            {"machine": about, "results": [result.as_json() for result in results]},
            out,
            indent=2,
            ensure_ascii=False,
        )
        out.write("\n")
