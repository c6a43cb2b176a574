"""`aliases`: what shells take, startup files, and an Atuin that sets aliases itself: a real one and a stand-in.
For newer ones see test_synced_aliases.py."""

import json
import os
import pathlib
import shutil
import stat
import subprocess

import pytest
from support.atuin import BUILT_IN, STAND_IN, atuin_command, write_wrapper
from support.server import program

pytestmark = [pytest.mark.distribution, pytest.mark.once]

ODD = """echo it's "quoted" \\ $(false) `false` ${HOME} %s !x *"""


@pytest.fixture
def home(root):
    (root / "home").mkdir()
    (root / "bin").mkdir()
    return root / "home"


def aliases(home, *arguments, code=0, shell="/bin/bash", **environment):
    path = f"{home.parent / 'bin'}:{os.environ['PATH']}"
    result = program("aliases", *arguments, environment={"HOME": str(home), "SHELL": shell, "PATH": path, **environment})
    assert result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def run_shell(shell, script, **environment):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    return subprocess.run([shell, "-c", script], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}).stdout  # fmt: skip


@pytest.mark.parametrize("shell, value", [
    ("bash", 'printf %s "${BASH_ALIASES[odd]}"'), ("zsh", 'printf %s "$aliases[odd]"'),
])  # fmt: skip
def test_shells_read_back_what_was_meant(home, shell, value):
    file = home / "lines"
    file.write_text(aliases(home, "--shell", shell, "--extra", f"odd={ODD}").stdout)
    assert run_shell(shell, f". {file}; {value}") == ODD
    names = run_shell(shell, f". {file}; alias bt bs bl rebuild system-update")
    assert names.count("\n") == 5 and "nixbuild system-update --no-update --no-gc" in names


def test_fish_runs_what_was_meant(home):
    file = home / "lines"
    file.write_text(aliases(home, "--shell", "fish", "--extra", """odd=printf '%s|' 'a\\\\b $x "q"' it\\'s""").stdout)
    assert run_shell("fish", f"source {file}; odd") == """a\\b $x "q"|it's|"""
    assert "nixbuild system-update --no-update --no-gc" in run_shell("fish", f"source {file}; functions rebuild")


def test_the_shell_is_that_of_the_user(home):
    assert aliases(home, shell="/usr/bin/fish").stdout.startswith("alias bl 'nixbuild logs'\n")
    assert aliases(home, shell="/bin/zsh").stdout.startswith("alias bl='nixbuild logs'\n")
    assert "--shell" in aliases(home, shell="/bin/nu", code=2).stderr
    assert "SHELL is not set" in aliases(home, shell="", code=2).stderr
    assert "sh" in aliases(home, "--shell", "sh", code=2).stderr


def test_the_configuration_adds_and_leaves_out(home):
    config = home / "config.toml"
    config.write_text('[aliases]\nextra = ["ll=ls -l", "bt=nixbuild trigger --wait"]\nwithout = ["bl"]\n')
    lines = aliases(home, "--config", config).stdout.splitlines()
    assert "alias ll='ls -l'" in lines and "alias bt='nixbuild trigger --wait'" in lines
    assert not any(line.startswith("alias bl=") for line in lines)
    config.write_text('[aliases]\nextra = ["a b=c"]\n')
    assert "NAME=COMMAND" in aliases(home, "--config", config, code=2).stderr
    assert "excludes" in aliases(home, "--sync", "--install", code=2).stderr


# Startup files.


@pytest.mark.parametrize("shell, file", [
    ("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish/conf.d/nixbuild-aliases.fish"),
])  # fmt: skip
def test_install_once_and_again(home, shell, file):
    path = home / file
    if shell != "fish":
        path.write_text("mine=1")
        path.chmod(0o600)
    aliases(home, "--install", "--shell", shell)
    first = path.read_text()
    assert first.count("alias bt") == 1 and (shell == "fish" or first.startswith("mine=1\n"))
    assert shell == "fish" or stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.stat().st_ino
    assert "already" in aliases(home, "--install", "--shell", shell).stderr
    assert path.stat().st_ino == before
    aliases(home, "--install", "--shell", shell, "--without", "bt")
    assert "alias bt" not in path.read_text() and path.read_text().count(">>>") == 2
    assert list(path.parent.iterdir()) == [path]


def test_install_obeys_zdotdir_and_refuses_what_it_would_break(home, root):
    aliases(home, "--install", "--shell", "zsh", ZDOTDIR=str(root))
    assert (root / ".zshrc").exists() and not (home / ".zshrc").exists()
    (home / ".bashrc").symlink_to("/nix/store/00000000000000000000000000000000-bashrc")
    assert "programs.bootstrap.aliases" in aliases(home, "--install", code=1).stderr
    (home / ".bashrc").unlink()
    (home / ".bashrc").write_text("# >>> nixbuild aliases >>>\n")
    assert ".bashrc" in aliases(home, "--install", code=1).stderr
    assert (home / ".bashrc").read_text() == "# >>> nixbuild aliases >>>\n"
    (home / ".bashrc").unlink()
    (home / ".bashrc").mkdir()
    assert ".bashrc" in aliases(home, "--install", code=1).stderr


def test_a_bash_with_the_aliases_runs_them(home):
    command = home.parent / "bin/nixbuild"
    command.write_text('#!/bin/sh\necho called with "$@"\n')
    command.chmod(0o755)
    aliases(home, "--install")
    shown = run_shell("bash", f"shopt -s expand_aliases\n. {home}/.bashrc\nrebuild --dry-run",
                      PATH=f"{command.parent}:{os.environ['PATH']}")  # fmt: skip
    assert shown == "called with system-update --no-update --no-gc --dry-run\n"


# Atuin.


class Machine:
    """A home directory with an `atuin` in PATH that is the real one or a stand-in."""

    def __init__(self, home, command, config="[dotfiles]\nenabled = true\n"):
        self.home = home
        self.real = command is not None
        shim = home.parent / "bin/atuin"
        if self.real:
            write_wrapper(shim, command)
            (home / ".config/atuin").mkdir(parents=True)
            self.configure(config)
        else:
            shim.write_text(STAND_IN)
            shim.chmod(0o755)

    def configure(self, config):
        (self.home / ".config/atuin/config.toml").write_text("auto_sync = false\n" + config)

    def atuin(self, *arguments):
        return subprocess.run([self.home.parent / "bin/atuin", *arguments], check=True, capture_output=True, text=True,
                              env={"PATH": os.environ["PATH"], "HOME": str(self.home)}).stdout  # fmt: skip

    def list(self):
        return dict(line.split("=", 1) for line in self.atuin("dotfiles", "alias", "list").splitlines())

    def sync(self, *arguments, code=0):
        return aliases(self.home, "--sync", *arguments, code=code).stderr


@pytest.fixture(params=["real Atuin", "stand-in Atuin"])
def machine(request, home, root):
    if request.param == "stand-in Atuin":
        return Machine(home, None)
    command, missing = atuin_command(root)
    if missing:
        pytest.skip(missing)
    return Machine(home, command)


def synced_code(machine):
    """The real Atuin of these tests has no account."""
    return 1 if machine.real else 0


def test_sync_sets_them_once(machine):
    machine.atuin("dotfiles", "alias", "set", "mine", "my own")
    code = synced_code(machine)
    said = machine.sync(code=code)
    assert machine.list() == {**BUILT_IN, "mine": "my own"}
    assert "✓ bt = nixbuild trigger" in said and "5 of 5 aliases" in said
    said = machine.sync(code=code)
    assert "bt =" not in said and "5 of 5 aliases" in said
    if machine.real:
        assert "not logged in" in said and "atuin login" in said


def test_sync_removes_what_it_set_and_no_longer_wants(machine):
    code = synced_code(machine)
    machine.atuin("dotfiles", "alias", "set", "mine", "my own")
    machine.sync("--extra", "x=first", "--extra", "y=one", code=code)
    machine.atuin("dotfiles", "alias", "set", "y", "changed by hand")
    assert "✓ x = second" in machine.sync("--extra", "x=second", "--extra", "y=changed by hand", code=code)
    assert "✓ x removed" in machine.sync("--without", "bl", code=code)
    expected = {name: command for name, command in BUILT_IN.items() if name != "bl"}
    assert machine.list() == {**expected, "mine": "my own", "y": "changed by hand"}


def test_another_s_alias_of_that_name_stays(machine):
    machine.atuin("dotfiles", "alias", "set", "bt", "bluetoothctl")
    said = machine.sync(code=1)
    assert "! bt stays 'bluetoothctl'" in said and "--force" in said and "4 of 5 aliases" in said
    assert machine.list() == {**BUILT_IN, "bt": "bluetoothctl"}
    machine.sync("--force", code=synced_code(machine))
    assert machine.list() == BUILT_IN


def test_odd_commands_reach_atuin_unchanged(machine):
    machine.sync("--extra", f"odd={ODD}", "--extra", "dash=--help", code=synced_code(machine))
    assert machine.list()["odd"] == ODD and machine.list()["dash"] == "--help"


def test_without_dotfiles_nothing_is_claimed(machine):
    if machine.real:
        machine.configure("")
    else:
        (machine.home / "atuin-is").write_text("disabled")
    said = machine.sync(code=2)
    assert "[dotfiles]\nenabled = true" in said and "✓" not in said


@pytest.mark.parametrize("state, code, words", [
    ("deaf", 1, "did not"), ("ancient", 1, "Atuin 18"), ("keyless", 1, "`atuin key`"), ("logged-out", 1, "atuin login"), ("unreachable", 1, "http://x/"),
])  # fmt: skip
def test_an_atuin_that_fails(home, state, code, words):
    machine = Machine(home, None)
    (home / "atuin-is").write_text(state)
    said = machine.sync(code=code)
    assert words in said and "Location" not in said and (state == "ancient") == ("Atuin 18" in said)


def test_the_stand_in_s_record_goes_with_the_account(home):
    machine = Machine(home, None)
    machine.sync("--extra", "x=1")
    state = json.loads((home / "atuin-stand-in.json").read_text())
    assert json.loads(state["kv"]["aliases"])["x"] == ["1"]
    calls = (home / "atuin-calls").read_text().splitlines()
    # Known before it is changed, changed before it is sent.
    assert calls.index("sync") < calls.index("dotfiles alias set") and calls[-1] == "sync"
    pathlib.Path(home / "atuin-calls").unlink()
    machine.sync("--extra", "x=1")
    assert "dotfiles alias set" not in (home / "atuin-calls").read_text()


def test_without_atuin(home):
    result = aliases(home, "--sync", code=1, PATH="/nonexistent")
    assert "--install" in result.stderr and "Atuin" in result.stderr
