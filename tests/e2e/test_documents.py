"""What is written down of the command line is what the program says of itself."""

import os
import pathlib
import shutil
import subprocess

import pytest

from support.server import BINARY

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def test_man_pages_say_what_help_says():
    result = subprocess.run([SOURCE / "tools/man-pages", "--check", BINARY],
                            text=True, stdout=subprocess.PIPE)
    assert result.returncode == 0, result.stdout + "run tools/man-pages to bring them up to date"


def complete(shell_script, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    directory = os.path.dirname(BINARY)
    return subprocess.run([shell, "-c", shell_script], check=True, text=True, cwd=SOURCE,
                          env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"},
                          stdout=subprocess.PIPE).stdout.split("\n")


@pytest.mark.parametrize("line, wanted", [
    (["nixbuild", "ke"], ["keys"]),
    (["nixbuild", "keys", "g"], ["generate"]),
    (["nixbuild", "keys", "generate", "--na"], ["--name"]),
    (["nixbuild", "serve-cache", "--compression", ""], ["zstd", "xz", "none"]),
    (["nixbuild", "serve-cache", "--threads", "2", "--pri"], ["--priority"]),
])
def test_bash_completes(line, wanted):
    words = " ".join(f"'{word}'" for word in line)
    script = (f"source completions/nixbuild.bash; COMP_WORDS=({words}); "
              f"COMP_CWORD={len(line) - 1}; _nixbuild; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    assert complete(script, "bash")[:-1] == wanted


@pytest.mark.parametrize("line, wanted", [
    ("nixbuild ke", {"keys"}),
    ("nixbuild keys generate --na", {"--name"}),
    ("nixbuild serve-cache --compression ", {"zstd", "xz", "none"}),
])
def test_fish_completes(line, wanted):
    script = f"source completions/nixbuild.fish; complete -C '{line}'"
    shown = complete(script, "fish")
    assert {entry.split("\t")[0] for entry in shown if entry} == wanted
