"""Boundary 1: run-build itself follows no path that a repository controls."""

import os
import shutil

import pytest
from support.build import Repository, flake, packages

SECRET = "a-secret-of-the-server"
GOOD = flake(packages(x="echo 1 > $out"))
EMPTY_LOCK = '{"nodes":{"root":{}},"root":"root","version":7}'


@pytest.fixture
def secret(builder):
    file = builder.root / "private/token"
    file.parent.mkdir()
    file.write_text(SECRET)
    return file


def kept(builder):
    """Where in the state the secret is."""
    found = []
    for path, _, names in os.walk(builder.state):
        for name in names:
            file = os.path.join(path, name)
            if os.path.isfile(file) and not os.path.islink(file):
                with open(file, "rb") as content:
                    if SECRET.encode() in content.read():
                        found.append(file)
    return found


def source_with(builder, *, lock, files=()):
    """A repository whose flake.lock is a symbolic link to `lock`."""
    source = Repository(builder.root / "src-demo")
    os.symlink(lock, source.path / "flake.lock")
    source.commit({"flake.nix": GOOD, **dict(files)})
    return source


@pytest.mark.parametrize("setting", ["committed", "updated", "both"])
def test_a_lock_that_is_a_link_is_not_read(builder, secret, setting):
    builder.add("demo", source_with(builder, lock=secret).path, lock=setting)
    builder.run(code=1)
    assert "symbolic link" in builder.last()["error"]
    assert not kept(builder)


def test_a_lock_that_nix_and_run_build_would_see_differently_is_not_read(builder, secret):
    way = f"/proc/self/cwd{secret}"
    source = source_with(builder, lock=way, files={str(secret).lstrip("/"): EMPTY_LOCK})
    builder.add("demo", source.path)
    builder.run(code=None)
    assert not kept(builder)


def test_a_lock_behind_a_link_in_the_repository_is_not_read(builder):
    source = source_with(builder, lock="other.lock", files={"other.lock": EMPTY_LOCK})
    builder.add("demo", source.path, lock="committed")
    builder.run(code=1)
    assert "symbolic link" in builder.last()["error"]


@pytest.mark.parametrize("text", ["not a lock", "[]", '{"nodes": {}}', "x" * (17 << 20)], ids=["text", "list", "no root", "long"])
def test_what_is_no_lock_is_not_kept(builder, text):
    source = Repository(builder.root / "src-demo", {"flake.nix": GOOD, "flake.lock": text})
    builder.add("demo", source.path, lock="committed")
    builder.run(code=None)
    assert builder.last()["flake_lock"] is None


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="no git-lfs in PATH")
@pytest.mark.parametrize("target", ["/dev/zero", "absent", "flake.nix"])
def test_a_link_is_no_file_of_git_lfs(builder, target):
    """Followed, /dev/zero would fill the memory."""
    source = Repository(builder.root / "src-demo")
    os.symlink(target, source.path / "link")
    source.commit({"flake.nix": flake('packages.x86_64-linux.x = mk "x" "readlink ${./.}/link > $out";'), ".gitattributes": "link filter=lfs\n"})
    builder.add("demo", source.path)
    process = builder.start()
    try:
        assert process.wait(20) == 0
    finally:
        process.terminate()
        process.wait()
    assert builder.content("packages.x86_64-linux.x") == f"{target}\n"
