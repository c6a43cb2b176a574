"""Aliases in the key-value store of Atuin 18.23, beside machines with an older Atuin: real ones, with a real server."""

import json
import os
import shutil
import stat
import subprocess

import pytest
from support.atuin import BUILT_IN, AtuinMachine, AtuinServer, atuin_command, eventually, write_wrapper
from support.server import program

pytestmark = [pytest.mark.distribution, pytest.mark.once]

ODD = """echo it's "quoted" \\ $(false) `false` ${HOME} %s !x * é"""


def aliases(machine, *arguments, code=0, **environment):
    result = program("aliases", *arguments, environment={**machine.environment, **environment})
    assert result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def sync(machine, *arguments, code=0):
    return aliases(machine, "--sync", *arguments, code=code).stderr


def loaded(machine, shell="bash"):
    """What a starting shell gets; the output is what it evaluates."""
    result = aliases(machine, "--shell", shell, "--from-atuin")
    assert result.stderr == ""
    return result.stdout


def bash_has(machine):
    """The aliases of a bash that evaluated the line."""
    script = 'eval "$0"; for name in "${!BASH_ALIASES[@]}"; do printf "%s=%s\\0" "$name" "${BASH_ALIASES[$name]}"; done'
    done = subprocess.run(["bash", "-c", script, loaded(machine)], check=True, capture_output=True, text=True)
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


def gets(machine, expected):
    eventually(lambda: bash_has(machine) == expected, f"{machine.home} has {expected}, not {bash_has(machine)}")


def ended(machine):
    """Waits for the refresh that the last shell began."""
    lock = machine.home / ".local/state/nixbuild/aliases.lock"
    eventually(lambda: not lock.exists() or subprocess.run(["flock", "--nonblock", lock, "true"]).returncode == 0,
               "the refresh ends")  # fmt: skip


@pytest.fixture
def commands(root):
    found = {age: atuin_command(root, age) for age in ("old", "new")}

    def command(age):
        prefix, missing = found[age]
        if missing:
            pytest.skip(missing)
        return prefix

    return command


@pytest.fixture
def account(root):
    command, missing = atuin_command(root, "new", "atuin-server")
    if missing:
        pytest.skip(missing)
    server = AtuinServer(root, command)
    yield server
    server.stop()


@pytest.fixture
def new(commands, account):
    return account.machine(commands("new"))


@pytest.fixture
def alone(root):
    """A machine whose Atuin is whatever the test makes of it."""
    machine = AtuinMachine(root / "alone", ["true"])
    machine.configure("http://127.0.0.1:1")
    return machine


def keep(machine, text):
    """Makes `text` the machine's copy."""
    file = machine.home / ".local/state/nixbuild/aliases.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o600)
    return file


# Between machines.


@pytest.mark.parametrize("here, there", [("new", "new"), ("old", "new"), ("new", "old")])
def test_what_one_machine_sets_is_on_the_other_and_back(commands, account, here, there):
    first, second = account.machine(commands(here)), account.machine(commands(there))
    said = sync(first, "--extra", "ll=ls -l", "--extra", f"odd={ODD}")
    assert "✓ ll = ls -l" in said and "7 of 7 aliases" in said
    second.atuin("sync")
    gets(second, {**BUILT_IN, "ll": "ls -l", "odd": ODD})

    # A change, an addition and two removals, from the other one.
    said = sync(second, "--extra", "ll=ls -la", "--extra", "gs=git status", "--without", "bl")
    assert "✓ ll = ls -la" in said and "✓ odd removed" in said and "✓ bl removed" in said and "bt =" not in said
    expected = {name: command for name, command in BUILT_IN.items() if name != "bl"} | {"ll": "ls -la", "gs": "git status"}
    first.atuin("sync")
    gets(first, expected)
    gets(second, expected)
    if there == "old":
        assert second.dotfiles() == expected
    if here == "old":
        # What its Atuin loads itself changes when it is told to, not before.
        assert first.dotfiles() == {**BUILT_IN, "ll": "ls -l", "odd": ODD}
        sync(first, "--extra", "ll=ls -la", "--extra", "gs=git status", "--without", "bl")
        assert first.dotfiles() == expected
        gets(first, expected)
        second.atuin("sync")
        gets(second, expected)


def test_a_machine_whose_atuin_syncs_by_itself_needs_no_command(commands, account, new):
    other = account.machine(commands("new"), auto_sync=True)
    sync(new, "--extra", "x=one")
    gets(other, {**BUILT_IN, "x": "one"})


def test_the_same_again_changes_nothing(new):
    sync(new)
    records = new.atuin("store", "status")
    said = sync(new)
    assert "bt =" not in said and "5 of 5 aliases" in said and "✓ synced" in said
    assert new.atuin("store", "status") == records


def test_aliases_of_atuin_s_own_come_and_go_with_the_old_machine(commands, account):
    old, new = account.machine(commands("old")), account.machine(commands("new"))
    old.atuin("dotfiles", "alias", "set", "mine", "my own")
    old.atuin("dotfiles", "alias", "set", "bt", "bluetoothctl")
    old.atuin("dotfiles", "alias", "set", "time", "date")
    old.atuin("sync")
    said = sync(new, code=1)
    assert "! time is in Atuin, but no shell loads it" in said
    assert "! bt stays 'bluetoothctl'" in said and "--force" in said and "4 of 5 aliases" in said
    gets(new, {**BUILT_IN, "mine": "my own", "bt": "bluetoothctl"})
    sync(new, "--force")
    gets(new, {**BUILT_IN, "mine": "my own"})
    old.atuin("dotfiles", "alias", "delete", "mine")
    old.atuin("dotfiles", "alias", "set", "bs", "mine, too")
    old.atuin("sync")
    new.atuin("sync")
    gets(new, {**BUILT_IN, "bs": "mine, too"})


def test_an_upgrade_loses_and_doubles_no_alias(commands, account):
    machine = account.machine(commands("old"))
    machine.atuin("dotfiles", "alias", "set", "mine", "my own")
    sync(machine, "--extra", "ll=ls -l", "--extra", f"odd={ODD}")
    expected = {**BUILT_IN, "mine": "my own", "ll": "ls -l", "odd": ODD}
    machine.use(commands("new"))
    gets(machine, expected)  # before any other command
    assert loaded(machine).count("alias ll=") == 1
    said = sync(machine, "--extra", "ll=ls -l", "--extra", f"odd={ODD}")
    assert " = " not in said and "7 of 7 aliases" in said
    gets(machine, expected)
    # The new Atuin cannot delete in its dotfiles, and has to all the same.
    assert "✓ ll removed" in sync(machine, "--without", "bl")
    assert machine.dotfiles()["ll"] == "ls -l"
    kept = {name: command for name, command in BUILT_IN.items() if name != "bl"} | {"mine": "my own"}
    gets(machine, kept)
    assert "removed" not in sync(machine, "--without", "bl")
    # The list outlives the dotfiles.
    wrapper = machine.bin / "atuin"
    write_wrapper(machine.bin / "real", commands("new"))
    wrapper.write_text('#!/bin/sh\n[ "$1" != dotfiles ] || { echo "error: unrecognized subcommand \'dotfiles\'" >&2; exit 2; }\n'
                       f'exec {machine.bin}/real "$@"\n')  # fmt: skip
    gets(machine, kept)
    sync(machine, "--without", "bl", "--extra", "z=1")
    gets(machine, {**kept, "z": "1"})


# What keeps them apart.


def test_offline(commands, account, new):
    sync(new)
    account.stop()
    said = sync(new, "--extra", "x=1", code=1)
    assert "✓ x = 1" in said and f"127.0.0.1:{account.port}" in said and "cannot be reached" in said and "Atuin 18" not in said
    gets(new, {**BUILT_IN, "x": "1"})


def test_not_logged_in(commands, new):
    new.atuin("logout")
    said = sync(new, code=1)
    assert "`atuin login`" in said and "`atuin register`" in said and "Location" not in said and "Atuin 18" not in said
    gets(new, BUILT_IN)


@pytest.mark.parametrize("age", ["new", "old"])
def test_without_a_key_none_is_made(commands, account, age):
    machine = account.machine(commands(age))
    sync(machine)
    key = machine.home / ".local/share/atuin/key"
    key.unlink()
    said = sync(machine, "--extra", "x=1", code=1)
    assert "no encryption key" in said and "`atuin key`" in said and "--install" in said and "Atuin 18" not in said
    loaded(machine)
    ended(machine)
    assert not key.exists()
    key.write_text("garbage")
    said = sync(machine, code=1)
    assert "encryption key" in said and "`atuin login`" in said and "Location" not in said


def test_a_new_home_without_an_account(commands, root):
    machine = AtuinMachine(root / "fresh", commands("new"))
    assert "no encryption key" in sync(machine, code=1)
    assert loaded(machine) == ""
    ended(machine)
    assert not (machine.home / ".local/share/atuin/key").exists()


@pytest.mark.parametrize("age", ["new", "old"])
def test_nothing_is_set_with_another_account_s_key(commands, account, root, age):
    machine = account.machine(commands(age))
    sync(machine)
    stranger = AtuinMachine(root / "stranger", commands(age))
    stranger.configure(account.address)
    stranger.atuin("kv", "set", "--key", "x", "y")
    key = machine.home / ".local/share/atuin/key"
    key.write_bytes((stranger.home / ".local/share/atuin/key").read_bytes())
    said = sync(machine, "--extra", "x=1", code=1)
    assert "not the account's" in said and "`atuin store rekey KEY`" in said and "x = 1" not in said
    # Records of that key would keep older machines from syncing.
    key.write_text(other_key(account))
    assert "x" not in json.loads(machine.atuin("kv", "get", "--namespace", "nixbuild", "aliases"))


def other_key(account):
    return next((home / "home/.local/share/atuin/key").read_text() for home in sorted(account.root.glob("machine-*"))
                if (home / "home/.local/share/atuin/key").exists())  # fmt: skip


def test_a_list_that_atuin_would_drop_is_refused(commands, new):
    long = [word for n in range(12) for word in ("--extra", f"x{n}={'y' * 4000}")]
    said = sync(new, *long, code=1)
    assert "at most 32768" in said
    gets(new, {})


# A starting shell.


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_hostile_list_runs_nothing(alone, root, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    touch = f"touch {root}/ran"
    values = [f"x'; {touch}; '", f"x\"; {touch}; \"", f"$({touch})", f"`{touch}`", f"true; end; {touch}; function y",
              f"({touch})", f"\\'; {touch}; \\'", f"x & {touch} &", f"{touch} #", "-h", f"\\\n{touch}", f"a\n{touch}"]  # fmt: skip
    names = ["alias", "eval", "if", "builtin", "contains", "test", "string", "echo", "printf", "set", "argparse", "read",
             f"x;{touch};y", "a b", "a=b", "$(x)", "-p", "", "a\nb", "é", "x" * 65]  # fmt: skip
    hostile = {f"v{n}": value for n, value in enumerate(values)} | {name: touch for name in names} | {"zz": "last"}
    keep(alone, json.dumps({"aliases": hostile}))
    text = loaded(alone, shell)
    start = {"bash": ["bash", "--norc", "-O", "expand_aliases"], "zsh": ["zsh", "-f"], "fish": ["fish", "--no-config"]}[shell]
    done = subprocess.run([*start, "-c", f'eval "$TEXT"\neval "$TEXT"\n{"builtin " if shell == "fish" else chr(92)}echo fine'],
                          env={"PATH": os.environ["PATH"], "HOME": str(root), "TEXT": text}, capture_output=True, text=True)  # fmt: skip
    assert not (root / "ran").exists()
    assert done.stdout == "fine\n" and done.stderr == "", done.stderr
    assert text.count("alias zz") == 1


def test_fish_functions_do_what_the_alias_says(alone, root):
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    keep(alone, json.dumps({"aliases": {
        "two": "echo 1; echo", "ls": "ls --all; true", "cd": "cd / && pwd; true", "words": "printf '<%s>' \"a b\"",
    }}))  # fmt: skip
    text = loaded(alone, "fish")
    (root / "there").mkdir()
    (root / "there/.hidden").touch()
    done = subprocess.run(["fish", "--no-config", "-c", f"eval $TEXT\ntwo 'x  y'\nls {root}/there\ncd\nwords 'c  d'"],
                          env={"PATH": os.environ["PATH"], "HOME": str(root), "TEXT": text}, capture_output=True, text=True)  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines()[:2] == ["1", "x  y"] and "<a b><c  d>" in done.stdout and "\n/\n" in done.stdout


def test_a_shell_waits_for_no_atuin(alone, root):
    pipe = root / "pipe"
    os.mkfifo(pipe)
    (alone.bin / "atuin").write_text(f"#!/bin/sh\nexec 3>>{root}/calls\nflock 3\necho $$ >&3\nread line <{pipe}\n")
    keep(alone, '{"aliases": {"x": "y"}}')
    assert loaded(alone) == "alias x='y'\n"  # its output would stay open
    eventually((root / "calls").exists, "the refresh begins")
    assert loaded(alone) == loaded(alone)
    # One at a time, however many shells start.
    assert len((root / "calls").read_text().split()) == 1
    fd = os.open(pipe, os.O_RDWR)
    for _ in range(20):
        os.write(fd, b"\n")
    ended(alone)
    os.close(fd)


@pytest.mark.parametrize("state", ["missing", "fails", "kills itself", "prints rubbish"])
def test_an_atuin_that_is_of_no_use_is_silent_and_harmless(alone, state):
    wrapper = alone.bin / "atuin"
    if state == "missing":
        wrapper.unlink()
    else:
        body = {"fails": "echo broken >&2; exit 1", "kills itself": "kill -9 $$",
                "prints rubbish": "echo '\x1b]0;x\x07 a=b; ='; [ \"$1\" != kv ] || exit 1"}[state]  # fmt: skip
        wrapper.write_text(f"#!/bin/sh\n{body}\n")
    environment = {"PATH": f"{alone.bin}:/usr/bin:/bin"} if state != "missing" else {"PATH": str(alone.bin)}
    assert aliases(alone, "--shell", "bash", "--from-atuin", **environment).stdout == ""
    keep(alone, '{"aliases": {"x": "y"}}')
    for _ in range(2):
        done = aliases(alone, "--shell", "bash", "--from-atuin", **environment)
        assert (done.stdout, done.stderr) == ("alias x='y'\n", "")
        ended(alone)


@pytest.mark.parametrize("state", ["no home", "broken configuration", "broken copy", "others may write", "a link", "a directory",
                                   "another's"])  # fmt: skip
def test_a_copy_that_cannot_be_used_is_no_error(alone, root, state):
    file = keep(alone, '{"aliases": {"x": "y"}}')
    environment = {}
    expected = ""
    if state == "no home":
        environment["HOME"] = ""
    elif state == "broken configuration":
        (root / "config.toml").write_text("x = [")
        environment["NIXBUILD_CONFIG"] = str(root / "config.toml")
        expected = "alias x='y'\n"
    elif state == "broken copy":
        file.write_text('{"aliases": {"x": ')
    elif state == "others may write":
        file.chmod(0o622)
    elif state == "a link":
        file.rename(root / "elsewhere")
        file.symlink_to(root / "elsewhere")
    elif state == "a directory":
        file.unlink()
        file.mkdir()
    elif os.geteuid() == 0:
        os.chown(file, 65534, 65534)
    else:
        pytest.skip("needs root")
    done = aliases(alone, "--shell", "bash", "--from-atuin", **environment)
    assert (done.stdout, done.stderr) == (expected, "")


def test_root_with_another_s_home_leaves_no_file_there(alone):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(alone.home, 65534, 65534)
    marker = alone.home.parent / "called"
    (alone.bin / "atuin").write_text(f"#!/bin/sh\ntouch {marker}\n")
    loaded(alone)
    assert not (alone.home / ".local").exists() and not marker.exists()


def test_the_copy_is_private_and_replaced_as_a_whole(new):
    sync(new)
    directory = new.home / ".local/state/nixbuild"
    file = directory / "aliases.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(directory.stat().st_mode) == 0o700
    before = file.stat().st_ino
    loaded(new)
    ended(new)
    assert file.stat().st_ino == before  # it is as it should be
    leftover = directory / ".aliases.json.abcdef"
    leftover.touch()
    os.utime(leftover, (1, 1))
    file.write_text("{}")
    gets(new, BUILT_IN)
    assert not leftover.exists()


# Startup files, and the doctor.


@pytest.mark.parametrize("shell, file", [
    ("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish/conf.d/nixbuild-aliases.fish"),
])  # fmt: skip
def test_install_writes_the_line(alone, shell, file):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    aliases(alone, "--install", "--from-atuin", "--shell", shell)
    assert "already" in aliases(alone, "--install", "--from-atuin", "--shell", shell).stderr
    path = alone.home / file
    assert path.read_text().count(f"nixbuild aliases --shell {shell} --from-atuin") == 1
    keep(alone, '{"aliases": {"x": "echo it works"}}')
    source = f"source {path}\n" + ("x" if shell == "fish" else "eval x")
    start = {"bash": ["bash", "-O", "expand_aliases"], "zsh": ["zsh", "-f"], "fish": ["fish", "--no-config"]}[shell]

    def run():
        return subprocess.run([*start, "-c", source], env=alone.environment, capture_output=True, text=True)

    done = run()
    assert done.stdout == "" and "nixbuild" not in done.stderr  # there is no nixbuild: nothing but x is missed
    link = alone.bin / "nixbuild"
    link.symlink_to(shutil.which(os.environ.get("NIXBUILD_BINARY", ""))
                    or program.__globals__["BINARY"])  # fmt: skip
    assert run().stdout == "it works\n"


def doctor(machine, **environment):
    result = program("doctor", "--json", "--server", "127.0.0.1:1", environment={**machine.environment, **environment})
    return next((check for check in json.loads(result.stdout)["checks"] if check["name"] == "aliases"), None)


def test_doctor_says_what_is_missing(commands, account, new):
    assert "has none" in doctor(new)["message"] and doctor(new)["remedy"] == "nixbuild aliases --sync"
    assert "--install --from-atuin adds" in sync(new)
    check = doctor(new)
    assert check["state"] == "warning" and "no startup file of bash" in check["message"]
    assert "nixbuild aliases --install --from-atuin" in check["remedy"]
    aliases(new, "--install", "--from-atuin")
    assert "--install" not in sync(new)
    assert doctor(new)["state"] == "ok"
    new.atuin("logout")
    assert doctor(new)["state"] == "warning" and "atuin login" in doctor(new)["remedy"]
    (new.bin / "atuin").write_text("#!/bin/sh\nexit 1\n")
    assert doctor(new)["state"] == "warning"


def test_doctor_of_an_older_atuin(commands, account):
    machine = account.machine(commands("old"))
    assert doctor(machine)["state"] == "ok"
    file = machine.home / ".config/atuin/config.toml"
    file.write_text(file.read_text().replace("[dotfiles]\nenabled = true", ""))
    assert "enabled = true" in doctor(machine)["remedy"]


def test_doctor_without_atuin(alone):
    assert doctor(alone, PATH="/nonexistent") is None
