"""run-build and the clone of a repository, whatever happens to either."""

import json
import subprocess

import pytest
from support.build import Repository, flake, packages, repository


def test_a_new_commit_a_rewritten_history_another_branch_and_another_remote(builder):
    source = repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))})
    builder.run()
    source.commit({"flake.nix": flake(packages(x="echo 2 > $out")), "later-removed": "x"})
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "2\n"
    source.git("reset", "--quiet", "--hard", "HEAD^")
    source.commit({"flake.nix": flake(packages(x="echo rewritten > $out"))})
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "rewritten\n"
    assert not (builder.state / "repos/demo/later-removed").exists()

    source.git("checkout", "--quiet", "-b", "dev")
    source.commit({"flake.nix": flake(packages(x="echo dev > $out"))})
    source.git("checkout", "--quiet", "main")
    builder.add("demo", source.path, branch="dev")
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "dev\n"

    other = Repository(builder.root / "other", {"flake.nix": flake(packages(x="echo other > $out"))}, branch="trunk")
    builder.add("demo", f"file://{other.path}")
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "other\n"


def test_what_lies_about_in_the_clone_goes(builder):
    source = repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out")), ".gitignore": "ignored\n"})
    builder.run()
    clone = builder.state / "repos/demo"
    for name in ("untracked", "ignored", "flake.nix"):
        (clone / name).write_text("not ours")
    (clone / "nested").mkdir()
    subprocess.run(["git", "init", "--quiet", clone / "nested/repository"], check=True)
    (clone / ".git/index.lock").touch()
    builder.run()
    assert sorted(path.name for path in clone.iterdir()) == [".git", ".gitignore", "flake.nix"]
    assert (clone / "flake.nix").read_text() == (source.path / "flake.nix").read_text()


@pytest.mark.parametrize("damage", ["head", "objects", "no git", "file"])
def test_a_broken_clone_is_made_anew(builder, damage):
    repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))})
    builder.run()
    clone = builder.state / "repos/demo"
    if damage == "head":
        (clone / ".git/HEAD").write_text("nonsense")
    elif damage == "objects":
        for file in (clone / ".git/objects").rglob("*"):
            if file.is_file():
                file.chmod(0o600)
                file.write_bytes(b"nonsense")
    elif damage == "no git":
        subprocess.run(["rm", "-r", clone / ".git"], check=True)
    else:
        subprocess.run(["rm", "-r", clone], check=True)
    builder.run()
    assert builder.last()["state"] == "success"


def test_a_branch_that_is_gone_and_a_repository_that_is(builder):
    source = repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))}, branch="main")
    builder.run()
    source.git("branch", "--move", "main", "trunk")
    builder.run(code=1)
    assert builder.last()["error"] == f"fetch: {source.path} has no branch 'main'"
    source.git("branch", "main")
    builder.run()
    source.path.rename(builder.root / "away")
    builder.run(code=1)
    assert builder.last()["error"].startswith(f"fetch: fetching {source.path}: ")
    (builder.root / "away").rename(source.path)
    # The clone was kept: it was not to blame.
    assert "cloning" not in builder.run().stdout


def test_submodules(builder):
    part = Repository(builder.root / "part", {"value": "from the submodule"})
    source = repository(builder, {"flake.nix": flake('packages.x86_64-linux.x = mk "x" "cp ${./part}/value $out";')})
    source.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part.path), "part")
    source.git("commit", "--quiet", "--message", "submodule")
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "from the submodule"


def test_credentials_are_not_told(builder):
    builder.add("demo", "http://ann:sesame@127.0.0.1:1/x.git")
    result = builder.run(code=1)
    told = result.stdout + result.stderr + builder.log() + builder.last()["error"] + json.dumps(builder.status())
    assert "sesame" not in told and "127.0.0.1" in told
