"""No build reaches the signing key."""

import os
import pathlib
import shutil
import stat
import subprocess

import pytest
from support.build import GOOD, MK, Repository, flake, packages, repository, without_pid_namespaces

SECRET = "test-1:a-very-secret-signing-key"


def place_keys(builder):
    """A key where serve-cache makes it, and one that is configured."""
    builder.local_inputs = []
    builder.state.mkdir(exist_ok=True)
    elsewhere = builder.root / "keys/cache-key"
    elsewhere.parent.mkdir()
    builder.settings = f'[cache]\nsecret_key_file = ["{elsewhere}"]'
    keys = [builder.state / "cache-key", elsewhere]
    for key in keys:
        key.write_text(SECRET)
        key.chmod(0o600)
        if builder.user:
            for path in (key, key.parent):
                shutil.chown(path, builder.user)
    return keys


def stolen(builder):
    """Files of the store, the log and the state in which the key is."""
    found = []
    for directory in (builder.store, builder.state / "logs", builder.state / "repos", builder.state / "home", builder.root / "home"):
        for path, _, names in os.walk(directory):
            for name in names:
                file = pathlib.Path(path, name)
                if file.is_file() and not file.is_symlink() and SECRET.encode() in file.read_bytes():
                    found.append(file)
    return found


def attempts(key):
    read = f'cat {key} /proc/*/root{key} {key.parent}/* > $out; test -s $out'
    return {
        "a path: input that is no flake": flake('packages.x86_64-linux.x = mk "x" "cat ${inputs.key} > $out";', f'key = {{ url = "path:{key}"; flake = false; }};'),
        "a path: input on the directory": flake('packages.x86_64-linux.x = mk "x" "cat ${inputs.key}/* > $out";', f'key = {{ url = "path:{key.parent}"; flake = false; }};'),
        "a file: input": flake('packages.x86_64-linux.x = mk "x" "cat ${inputs.key} > $out";', f'key = {{ url = "file://{key}"; flake = false; }};'),
        "readFile": flake(f'packages.x86_64-linux.x = mk "x" "echo ${{builtins.readFile "{key}"}} > $out";'.replace(f'"{key}"', f"{key}")),
        "a path in the flake": flake(f'packages.x86_64-linux.x = mk "x" "cat ${{{key}}} > $out";'),
        "a builder": flake(packages(x=read)),
    }


ATTEMPTS = list(attempts(pathlib.Path("/k/k")))


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("which", [0, 1], ids=["in the state", "elsewhere"])
def test_a_build_cannot_reach_the_key(builder, attempt, which):
    key = place_keys(builder)[which]
    repository(builder, {"flake.nix": attempts(key)[attempt]})
    builder.run(code=1)
    assert builder.last()["state"] == "failed"
    assert not stolen(builder)
    assert key.read_text() == SECRET
    assert "CAN READ" not in builder.log()


@pytest.mark.parametrize("which", [0, 1], ids=["in the state", "elsewhere"])
def test_a_build_without_a_flake_cannot_reach_the_key(builder, which):
    key = place_keys(builder)[which]
    text = f'let{MK} in {{ x = mk "x" "echo ${{builtins.readFile {key}}} > $out"; y = mk "y" "cat ${{{key}}} > $out"; }}'
    repository(builder, {"default.nix": text})
    builder.run(code=1)
    assert set(builder.results().values()) == {"evaluation failed"}
    assert not stolen(builder)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_an_unprivileged_build_cannot_reach_the_key_of_its_own_user(as_nobody, attempt):
    builder = as_nobody
    key = place_keys(builder)[1]
    source = Repository(builder.root / "src-demo", {"flake.nix": attempts(key)[attempt]})
    subprocess.run(["chown", "-R", "nobody", source.path], check=True)
    builder.add("demo", source.path)
    shutil.chown(builder.state, "nobody")
    builder.run(code=1)
    assert builder.last()["state"] == "failed"
    assert not stolen(builder)


def test_where_the_key_cannot_be_hidden_it_is_said(builder):
    place_keys(builder)
    repository(builder, GOOD)
    process = builder.start(prefix=without_pid_namespaces())
    assert process.wait(60) == 0
    assert builder.log().count("THIS BUILD CAN READ") == 2


def test_root_goes_on_as_the_owner_of_the_state(as_nobody):
    builder = as_nobody
    source = repository(builder, GOOD)
    subprocess.run(["chown", "-R", "nobody", source.path], check=True)
    builder.prefix = []  # root
    builder.state.mkdir()
    os.chown(builder.state, *os.stat(builder.root)[stat.ST_UID : stat.ST_GID + 1])
    builder.run()
    owners = {os.stat(path / name).st_uid for path, _, names in map(lambda t: (pathlib.Path(t[0]), t[1], t[2]), os.walk(builder.state)) for name in names if not (path / name).is_symlink()}
    assert owners == {os.stat(builder.root).st_uid}
