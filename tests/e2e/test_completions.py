"""Completion in real shells: commands and flags from the help, repositories and builds from the server."""

import contextlib
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import time

import pytest
from support.api import ApiServer
from support.build import Repository, flake, make_builder, packages
from support.fake_api import FakeApi, Stream
from support.server import BINARY

SOURCE = pathlib.Path(__file__).resolve().parents[2]
COMPLETIONS = SOURCE / "completions"
LINKS = ("build-trigger", "build-status", "build-logs", "bt", "bs", "bl", "system-update")

# What each shell is told before it is typed into. `got` prints its arguments in a line of their own.
START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"],
             "PS1='ready> '; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; "
             "got() {{ printf 'GOT<%s>\\n' \"$*\"; }}; source {0}/nixbuild.bash\n"),
    "zsh": (["zsh", "-f", "-i"],
            "PS1='ready> '; bindkey -e; unsetopt beep list_beep auto_menu; "
            "got() {{ printf 'GOT<%s>\\n' \"$*\"; }}; fpath=({0} $fpath); autoload -Uz compinit; compinit -u -D\n"),
    "fish": (["fish", "--no-config", "--interactive"],
             "function fish_prompt; printf 'ready> '; end; function fish_greeting; end; "
             "function got; printf 'GOT<%s>\\n' \"$argv\"; end; source {0}/nixbuild.fish\n"),
}  # fmt: skip


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, name, directory, server):
        command, setup = START[name]
        tools = directory / "bin"
        if not tools.exists():
            tools.mkdir()
            for link in ("nixbuild", *LINKS):
                (tools / link).symlink_to(BINARY)
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(directory), "TERM": "dumb", "LC_ALL": "C.UTF-8",
            "NIXBUILD_SERVER": server, "NIXBUILD_CONFIG": "/dev/null", "COLUMNS": "200",
        }  # fmt: skip
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe(command[0], command, environment)
        self.output = ""
        self.type(setup.format(COMPLETIONS) + "got begun\n")
        self.wait_for("GOT<begun>")

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait_for(self, pattern, seconds=30):
        """What the shell has printed once that holds `pattern`; it is then forgotten."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.output):
            ready, _, _ = select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{pattern} did not come: {self.output!r}"
            self.output += os.read(self.terminal, 65536).decode(errors="replace")
        printed, self.output = self.output, ""
        return printed

    def complete(self, line):
        """What the Tab key makes of `line`, and all that was printed meanwhile."""
        # To the line's beginning: it becomes the arguments of `got`, which ends it.
        self.type(f"{line}\t\x01got \n")
        printed = self.wait_for(r"GOT<.*>")
        return re.search(r"GOT<(.*)>", printed)[1].strip(), printed

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module")
def api():
    """A server with one repository, which it has built once."""
    for builder in make_builder():
        source = Repository(builder.root / "src", {"flake.nix": flake(packages(x="echo hello > $out"))})
        builder.add("nix-terminal", source.path)
        server = ApiServer(builder).start()
        server.post("/build/trigger")
        server.wait_until_done("nix-terminal")
        yield server
        server.stop()


@pytest.fixture(params=sorted(START))
def shell(request, tmp_path):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    opened = []

    def start(server):
        opened.append(Shell(request.param, tmp_path, server))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.mark.parametrize("line, wanted", [
    ("nixbuild ke", "nixbuild keys"),
    ("nixbuild keys g", "nixbuild keys generate"),
    ("nixbuild keys generate --na", "nixbuild keys generate --name"),
    ("nixbuild serve-cache --compression zs", "nixbuild serve-cache --compression zstd"),
    ("nixbuild serve-cache --threads 2 --pri", "nixbuild serve-cache --threads 2 --priority"),
    ("nixbuild serve-cache --compression=zs", "nixbuild serve-cache --compression=zstd"),
    ("nixbuild status n", "nixbuild status nix-terminal"),
    ("nixbuild logs -n 5 n", "nixbuild logs -n 5 nix-terminal"),
    ("nixbuild builds --repository n", "nixbuild builds --repository nix-terminal"),
    ("nixbuild builds n", "nixbuild builds nix-terminal"),
    ("nixbuild builds 1", "nixbuild builds 1"),
    ("nixbuild builds --before ", "nixbuild builds --before 1"),
    ("nixbuild run-build n", "nixbuild run-build nix-terminal"),
    ("bs n", "bs nix-terminal"),
    ("build-trigger --fo", "build-trigger --follow"),
    ("nixbuild builds --json --lim", "nixbuild builds --json --limit"),
])  # fmt: skip
def test_tab_completes(api, shell, line, wanted):
    assert shell(api.url).complete(line)[0] == wanted


def test_the_server_that_the_line_names_is_asked(api, shell):
    line = f"nixbuild status --server 127.0.0.1:{api.port} n"
    assert shell("127.0.0.1:1").complete(line)[0] == line + "ix-terminal"


def test_nothing_happens_when_the_server_is_away(shell):
    shell = shell("127.0.0.1:1")
    line, printed = shell.complete("nixbuild status n")
    assert line == "nixbuild status n"
    assert not re.search(r"error|cannot|127\.0\.0\.1", printed), printed
    # The rest of the completion needs no server.
    assert shell.complete("nixbuild status --wa")[0] == "nixbuild status --watch"


def test_a_server_that_does_not_answer_is_not_waited_for(shell):
    fake = FakeApi()
    try:
        fake.answers["GET /repositories"] = Stream(60)
        assert shell(fake.address).complete("nixbuild status n")[0] == "nixbuild status n"
    finally:
        fake.stop()


def test_what_a_server_says_is_not_run(shell, tmp_path):
    fake = FakeApi()
    try:
        names = ["nice", "n$(touch ran)", "n`touch ran`", "n;touch ran", "n'\"", "n\ttouch ran", "-n", "n\nnothing\tx"]
        fake.answers["GET /repositories"] = {
            "repositories": [{"name": name, "url": "$(touch ran)\x1b[2J", "branch": None, "lock": "updated"}
                             for name in names]}  # fmt: skip
        assert shell(fake.address).complete("nixbuild status n")[0] == "nixbuild status nice"
        assert not (tmp_path / "ran").exists()
    finally:
        fake.stop()
