"""`bootstrap` where files are there already, cannot be written, or where it is killed."""

import os
import random
import signal
import subprocess
import time

import pytest

from support.fresh_machine import FILES, KEY, files_of
from support.server import BINARY, program_environment


def test_it_never_overwrites_unasked(machine):
    machine.offline()
    (machine.directory / "home.nix").write_text("mine")
    before = files_of(machine.directory)
    done = machine.offline("--template", "server", code=1)
    assert "home.nix" in done.stderr and "--force" in done.stderr
    assert files_of(machine.directory) == before
    machine.offline("--template", "server", "--force")
    backups = list(machine.directory.glob("home.nix.backup-*"))
    assert [backup.read_text() for backup in backups] == ["mine"]
    assert "homeManagerModules.server" in machine.read("home.nix")


def test_a_gitignore_is_added_to(machine):
    machine.directory.mkdir()
    (machine.directory / ".gitignore").write_text("mine\n")
    machine.offline()
    assert machine.read(".gitignore").splitlines()[:2] == ["mine", "/secrets.nix"]


def test_tracked_secrets_are_refused(machine):
    subprocess.run(["git", "init", "-q", machine.directory], check=True)
    (machine.directory / "secrets.nix").write_text("{ }")
    subprocess.run(["git", "add", "secrets.nix"], check=True, cwd=machine.directory)
    done = machine.offline("--force", code=1)
    assert "git rm --cached secrets.nix" in done.stderr
    assert machine.read("secrets.nix") == "{ }"


@pytest.mark.parametrize("options", [
    ["--template", "phone"], ["--system", "x86"], ["--system", "x86_64-linux; id"], ["--bootstrap-url", ""],
    ["--server", "ht tp"], {"user": "a\nb"}, {"host": "a\x1b[2J"},
])  # fmt: skip
def test_bad_options(machine, options):
    if isinstance(options, dict):
        machine.offline(code=2, **options)
    else:
        machine.offline(*options, code=2)
    machine.offline("--multi-host", host="a/b", code=2)
    machine.offline("--multi-host", host="..", code=2)
    assert not machine.directory.exists()


def test_a_directory_that_cannot_be_written(machine, nobody):
    machine.directory.mkdir()
    binary = machine.root / "nixbuild"
    binary.write_bytes(BINARY.read_bytes())
    binary.chmod(0o755)
    done = subprocess.run(
        ["setpriv", "--reuid", nobody, "--regid", "nogroup", "--clear-groups", "--", binary, "bootstrap",
         "--public-key", KEY, "--dir", machine.directory],
        env={**program_environment(), **machine.environment()}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Permission denied" in done.stderr and str(machine.directory) in done.stderr
    assert machine.names() == []


def test_a_full_disk(machine):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    script = f"""mount -t tmpfs -o size=16k none {machine.home} && mkdir {machine.home}/c &&
      head -c 12288 /dev/zero > {machine.home}/filler && {BINARY} bootstrap --public-key {KEY} --dir {machine.home}/c
      code=$?; ls -A {machine.home}/c; exit $code"""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True,
                          env={**program_environment(), **machine.environment()})  # fmt: skip
    if "mount" in done.stderr and "bootstrap" not in done.stderr.lower():
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert done.stdout == ""


def test_killed_at_any_moment(machine):
    machine.offline()
    whole = {name: machine.read(name) for name in FILES}
    took = []
    for attempt in range(40):
        directory = machine.root / f"killed-{attempt}"
        process = subprocess.Popen(
            [BINARY, "bootstrap", "--user", "ann", "--host", "new-laptop", "--dir", directory, "--public-key", KEY],
            env={**program_environment(), **machine.environment()}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        # From the moment the directory is there, a little later each time.
        while not directory.exists() and process.poll() is None:
            time.sleep(0.0001)
        time.sleep(random.Random(attempt).uniform(0, 0.004))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        took.append(process.returncode)
        for file in directory.iterdir() if directory.exists() else ():
            if file.name in FILES:
                assert file.read_text() == whole[file.name].replace(str(machine.directory), str(directory))
        if (directory / "flake.nix").exists():
            assert all((directory / name).exists() for name in FILES)
        # The next one ends what this one began.
        machine.bootstrap("--public-key", KEY, directory=directory)
        assert sorted(file.name for file in directory.iterdir()) == FILES
    assert -signal.SIGKILL in took


def test_two_at_once(machine):
    machine.directory.mkdir()
    with open(machine.directory / ".x", "w"):
        pass
    holder = subprocess.Popen(["flock", machine.directory, "sleep", "30"])
    try:
        deadline = time.monotonic() + 10
        while subprocess.run(["flock", "-n", machine.directory, "true"]).returncode == 0:
            assert time.monotonic() < deadline
        assert "another bootstrap is running" in machine.offline(code=1).stderr
    finally:
        holder.kill()
        holder.wait()
