"""run-build and a flake's inputs: updated, committed and pushed locks."""

import json
import subprocess

import pytest
from support.build import Repository, flake, repository


def with_inputs(builder, *names):
    """A flake that prints its inputs' values; and those inputs."""
    inputs = {name: Repository(builder.root / f"input-{name}", {"flake.nix": f'{{ outputs = _: {{ v = "{name}-1"; }}; }}'}) for name in names}
    urls = " ".join(f'{name}.url = "git+file://{source.path}";' for name, source in inputs.items())
    values = " ".join(f"${{inputs.{name}.v}}" for name in names)
    text = flake(f'packages.x86_64-linux.x = mk "x" "echo {values} > $out";', urls)
    return inputs, {"flake.nix": text}


def advance(source, name, number):
    source.commit({"flake.nix": f'{{ outputs = _: {{ v = "{name}-{number}"; }}; }}'})


def lock(builder, source):
    subprocess.run(
        [*builder.prefix, "nix", "--extra-experimental-features", "nix-command flakes", "flake", "lock"],
        cwd=source.path, env=builder.environment(), check=True, capture_output=True,
    )  # fmt: skip
    source.git("add", "--all")
    source.git("commit", "--quiet", "--message", "lock")


@pytest.mark.parametrize("mode, content", [("updated", "a-2"), ("committed", "a-1")])
def test_lock(any_builder, mode, content):
    builder = any_builder
    inputs, files = with_inputs(builder, "a")
    source = repository(builder, files, lock=mode)
    lock(builder, source)
    advance(inputs["a"], "a", 2)
    head = source.head()
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == f"{content}\n"
    assert builder.last()["commit_id"] == head == source.head()
    kept = json.loads(builder.last()["flake_lock"])
    expected = inputs["a"].git("rev-parse", "HEAD" if mode == "updated" else "HEAD^")
    assert kept["nodes"]["a"]["locked"]["rev"] == expected
    # With nothing new, nothing is done anew.
    builder.run()
    assert builder.query("SELECT count(*) AS n FROM derivations WHERE build = 2") == [{"n": 0}]
    assert builder.content("packages.x86_64-linux.x") == f"{content}\n"


def test_both_locks(builder):
    inputs, files = with_inputs(builder, "a")
    source = repository(builder, files, lock="both")
    lock(builder, source)
    builder.run()
    assert list(builder.results()) == ["packages.x86_64-linux.x"]
    advance(inputs["a"], "a", 2)
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "a-2\n"
    assert builder.content("packages.x86_64-linux.x (committed lock)") == "a-1\n"


def test_a_dead_input_holds_back_no_other(any_builder):
    builder = any_builder
    inputs, files = with_inputs(builder, "alive", "dead", "other")
    source = repository(builder, files)
    lock(builder, source)
    for name in ("alive", "other"):
        advance(inputs[name], name, 2)
    inputs["dead"].path.rename(builder.root / "gone")
    result = builder.run()
    assert builder.content("packages.x86_64-linux.x") == "alive-2 dead-1 other-2\n"
    assert "warning: input 'dead' stays as it is locked: " in result.stdout


def test_inputs_that_were_never_locked_and_cannot_be(builder):
    inputs, files = with_inputs(builder, "dead")
    repository(builder, files)
    inputs["dead"].path.rename(builder.root / "gone")
    builder.run(code=1)
    assert builder.last()["error"].startswith("inputs: the inputs cannot be locked: ")
    assert "does not appear to be a git repository" in builder.last()["error"]


def bare(builder, source, name="bare"):
    path = builder.root / name
    subprocess.run(["git", "clone", "--quiet", "--bare", source.path, path], check=True, capture_output=True)
    return path


def in_bare(path, *arguments):
    return subprocess.run(["git", *arguments], cwd=path, check=True, capture_output=True, text=True).stdout


def test_an_updated_lock_is_pushed_once_it_has_built(builder):
    inputs, files = with_inputs(builder, "a")
    source = Repository(builder.root / "src", files)
    lock(builder, source)
    remote = bare(builder, source)
    builder.add("demo", remote, branch="main", push_lock=True)
    builder.run()
    assert in_bare(remote, "rev-parse", "main").strip() == source.head()  # nothing to update

    advance(inputs["a"], "a", 2)
    builder.run()
    assert in_bare(remote, "log", "-1", "--format=%s|%an|%P", "main").strip() == f"flake.lock: Update|nixbuild|{source.head()}"
    assert in_bare(remote, "diff", "--name-only", "main^", "main").split() == ["flake.lock"]
    pushed = json.loads(in_bare(remote, "show", "main:flake.lock"))
    assert pushed["nodes"]["a"]["locked"]["rev"] == inputs["a"].head()

    # One that does not build is not pushed; the branch of the remote's HEAD is the default.
    builder.add("demo", remote, push_lock=True)
    before = in_bare(remote, "rev-parse", "main")
    inputs["a"].commit({"flake.nix": '{ outputs = _: { v = throw "no longer"; }; }'})
    builder.run(code=1)
    assert in_bare(remote, "rev-parse", "main") == before
    advance(inputs["a"], "a", 4)
    builder.run()
    assert in_bare(remote, "rev-parse", "main^") == before


def test_a_lock_is_not_pushed_over_someone_elses_commit(builder):
    inputs, files = with_inputs(builder, "a")
    source = Repository(builder.root / "src", files)
    remote = bare(builder, source)
    marker = builder.root / "go"
    builder.add("demo", remote, push_lock=True)
    slow = files["flake.nix"].replace('"echo', f'"until test -e {marker}; do sleep 0.05; done; echo')
    source.commit({"flake.nix": slow})
    source.git("push", "--quiet", str(remote), "main")
    process = builder.start()
    builder.wait_for_phase("build", process=process)
    source.commit({"README": "meanwhile"})
    source.git("push", "--quiet", str(remote), "main")
    marker.touch()
    assert process.wait(60) == 0
    assert "flake.lock was not pushed" in builder.log()
    assert in_bare(remote, "rev-parse", "main").strip() == source.head()
