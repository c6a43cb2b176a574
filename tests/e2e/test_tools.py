"""The checks of tools/test itself: that they refuse what they are there to refuse."""

import json
import subprocess
import sys

import pytest
from support.nix import SOURCE

pytestmark = pytest.mark.once

LAYERS = """# Page
```layers
common/base
common/nix     common/base
server/http    common
server/cache   common server/http
cli            common server/cache/serve_cache.hpp
```
"""


class Tree:
    """A small source tree with the tools in it."""

    def __init__(self, root):
        self.root = root
        self.write("docs/architecture.md", LAYERS)
        for name in ("layers.py", "tidy.py", "results.py"):
            self.write(f"tools/lib/{name}", (SOURCE / "tools/lib" / name).read_text())

    def write(self, file, text, mode=0o644):
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def run(self, name, *arguments):
        command = [sys.executable, self.root / "tools/lib" / name, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


@pytest.mark.parametrize("file, include", [
    ("src/common/base/files.cpp", "common/nix/hash.hpp"),
    ("src/common/nix/hash.hpp", "server/http/server.hpp"),
    ("src/server/http/server.cpp", "server/cache/narinfo.hpp"),
    ("src/server/cache/narinfo.cpp", "cli/output.hpp"),
    ("src/cli/main.cpp", "server/cache/narinfo.hpp"),
    ("src/cli/bootstrap/main.cpp", "server/http/server.hpp"),
    ("src/server/cache/narinfo.cpp", "../../cli/output.hpp"),
])  # fmt: skip
def test_an_include_against_the_layers_is_refused(tree, file, include):
    tree.write(file, f'#include <string>\n\n#include "{include}"\n')
    done = tree.run("layers.py")
    assert done.returncode == 1
    assert done.stdout.startswith(f"{file}:3: ") and include in done.stdout


@pytest.mark.parametrize("file, include", [
    ("src/common/nix/hash.cpp", "common/nix/hash.hpp"),
    ("src/server/cache/narinfo.cpp", "common/nix/hash.hpp"),
    ("src/server/cache/narinfo.cpp", "server/http/server.hpp"),
    ("src/cli/main.cpp", "server/cache/serve_cache.hpp"),
    ("src/cli/bootstrap/main.cpp", "cli/output.hpp"),
])  # fmt: skip
def test_an_include_within_the_layers_is_accepted(tree, file, include):
    tree.write(file, f'#include "{include}"\n')
    done = tree.run("layers.py")
    assert (done.returncode, done.stdout) == (0, "1\n")


def test_every_folder_needs_a_layer_above_those_that_include_it(tree):
    tree.write("src/server/proxy/proxy.cpp", "")
    assert "no layer" in tree.run("layers.py").stdout
    tree.write("docs/architecture.md", "```layers\ncommon/base server/proxy\nserver/proxy common\n```\n")
    assert "common/base may only include folders above it" in tree.run("layers.py").stderr


def test_clang_tidy_checks_only_what_has_changed(tree):
    tidy = tree.write("tidy", "#!/bin/sh\nfor file; do :; done\ngrep -n bad $file | "
                      "sed \"s,^\\([0-9]*\\):.*,$file:\\1:1: warning: bad [x],\"\n", 0o755)  # fmt: skip
    tree.write("tools/test", "#!/bin/sh\necho libc6-dev\n", 0o755)
    tree.write(".clang-tidy", "Checks: x\n")
    sources = [tree.write(f"src/{name}.cpp", f'#include "{name}.hpp"\n') for name in "ab"]
    for name in "ab":
        tree.write(f"src/{name}.hpp", "")
    commands = [{"directory": str(tree.root), "file": str(file), "command": "c++ -c"} for file in sources]
    tree.write("build/compile_commands.json", json.dumps(commands))

    def check():
        done = tree.run("tidy.py", tidy, tree.root / "build", tree.root / "cache")
        return done.returncode, done.stdout.splitlines()

    assert check() == (0, ["2 of 2 units, 0 findings"])
    assert check() == (0, ["0 of 2 units, 0 findings"])
    tree.write("src/a.hpp", "// changed\n")
    assert check() == (0, ["1 of 2 units, 0 findings"])
    tree.write("src/b.cpp", "bad\n")
    for _ in range(2):  # a finding is not remembered
        assert check() == (1, ["src/b.cpp:1:1: warning: bad [x]", "1 of 2 units, 1 findings"])
    tree.write("src/b.cpp", "good\n")
    tree.write(".clang-tidy", "Checks: y\n")
    assert check() == (0, ["2 of 2 units, 0 findings"])


def test_skipped_unit_tests_do_not_count_as_passed(tree):
    summary = "[doctest] test cases: 3 | 3 passed | 0 failed | 0 skipped"
    test = {"name": "unit x", "result": "OK", "stdout": f"[skipped] no moon here\n{summary}\n"}
    tree.write("build/meson-logs/testlog.json", json.dumps(test) + "\n")
    assert tree.run("results.py", "meson", tree.root / "build").stdout == "2 0\n1 no moon here\n"
