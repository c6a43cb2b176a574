"""run-build and the clone of a repository, whatever happens to either."""

import os
import shutil
import subprocess

import pytest
from support.build import MK, Repository, flake, packages, repository


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
    assert builder.last()["error"] == f"fetch: {source.path} has no branch 'main'; branches: trunk"
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


def bare(builder, source, name):
    directory = builder.root / "srv" / name
    directory.parent.mkdir(exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", source.path, directory], check=True, capture_output=True)
    return directory


def test_submodules_are_relative_to_the_repository(builder):
    inner = bare(builder, Repository(builder.root / "inner", {"value": "from the innermost"}), "inner.git")
    part = Repository(builder.root / "part", {"own": "from the submodule "})
    part.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "inner")
    part.git("config", "-f", ".gitmodules", "submodule.inner.url", "../inner.git")
    part.commit({})
    bare(builder, part, "part.git")
    source = Repository(builder.root / "work", {"flake.nix": flake('packages.x86_64-linux.x = mk "x" "cat ${./part}/own ${./part}/inner/value > $out";')})
    source.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(builder.root / "srv/part.git"), "part")
    source.git("config", "-f", ".gitmodules", "submodule.part.url", "../part.git")
    source.commit({})
    builder.local_inputs = []
    builder.add("demo", bare(builder, source, "demo.git"))
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "from the submodule from the innermost"
    first = builder.outputs()
    builder.run()
    assert builder.outputs() == first


def lfs_repository(builder):
    source = Repository(builder.root / "src-demo")
    filters = [f"filter.lfs.{name}={value}" for name, value in (("clean", "git-lfs clean -- %f"), ("smudge", "git-lfs smudge -- %f"), ("required", "true"))]
    (source.path / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (source.path / "data.bin").write_text("x" * 2000)
    (source.path / "flake.nix").write_text(flake('packages.x86_64-linux.x = mk "x" "wc -c < ${./data.bin} > $out";'))
    options = [word for text in filters for word in ("-c", text)]
    source.git(*options, "add", "--all")
    source.git(*options, "commit", "--quiet", "--message", "large")
    builder.add("demo", source.path)
    return source


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="no git-lfs in PATH")
@pytest.mark.parametrize("kind", ["flake", "default.nix"])
def test_large_files_are_fetched(builder, kind):
    source = lfs_repository(builder)
    if kind == "default.nix":
        source.git("rm", "--quiet", "flake.nix")
        (source.path / "default.nix").write_text(f'let{MK} in {{ x = mk "x" "wc -c < ${{./data.bin}} > $out"; }}')
        source.git("-c", "filter.lfs.clean=git-lfs clean -- %f", "add", "default.nix")
        source.git("-c", "filter.lfs.clean=git-lfs clean -- %f", "commit", "--quiet", "--message", "no flake")
    builder.run()
    assert builder.content(next(iter(builder.results()))) == "2000\n"


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="no git-lfs in PATH")
def test_without_git_lfs_pointers_are_not_built(builder):
    lfs_repository(builder)
    programs = builder.root / "programs"
    programs.mkdir()
    for name in os.listdir("/usr/bin"):
        if name != "git-lfs":
            (programs / name).symlink_to(f"/usr/bin/{name}")
    builder.run(code=1, PATH=str(programs))
    assert "install the package git-lfs" in builder.last()["error"]


def head_of_bare(builder, head, branches, tags=()):
    """A bare repository, each branch of which builds its name, whose HEAD is made to be `head`."""
    remote = builder.root / "bare.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "nowhere", remote], check=True)
    source = Repository(builder.root / "src-demo")
    for name in (*branches, *tags):
        source.commit({"flake.nix": flake(packages(x=f"echo {name} > $out"))})
        if name in tags:
            source.git("tag", "--annotate", "--message", "one", name)
        source.git("push", "--quiet", str(remote), f"refs/tags/{name}" if name in tags else f"HEAD:refs/heads/{name}")
    (remote / "HEAD").write_text(head(source) if callable(head) else f"ref: {head}\n")
    builder.add("demo", remote)
    return remote


@pytest.mark.parametrize(
    ("head", "branches", "tags", "built"),
    [
        ("refs/heads/nowhere", ["trunk"], [], "trunk"),
        ("refs/heads/nowhere", ["dev", "main", "later"], [], "main"),
        ("refs/heads/nowhere", ["dev", "master"], ["v1"], "master"),
        ("refs/tags/v1", ["main"], ["v1"], "v1"),
        (lambda source: source.head() + "\n", ["main", "later"], [], "later"),
    ],
    ids=["the only branch", "main", "master", "a tag", "detached"],
)
def test_what_head_stands_for(builder, head, branches, tags, built):
    remote = head_of_bare(builder, head, branches, tags)
    for _ in range(2):
        builder.run()
        assert builder.content("packages.x86_64-linux.x") == f"{built}\n"
        warned = f"warning: the HEAD of {remote} names a branch that does not exist; building '{built}'" in builder.log()
        assert warned == (head == "refs/heads/nowhere")


def test_a_head_that_nothing_stands_for(builder):
    remote = head_of_bare(builder, "refs/heads/nowhere", ["dev", "trunk"])
    builder.run(code=1)
    assert builder.last()["error"] == f"fetch: the HEAD of {remote} names a branch that does not exist; set branch to one of: dev, trunk"
    builder.add("demo", remote, branch="dev")
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "dev\n"


def test_an_empty_repository(builder):
    remote = head_of_bare(builder, "refs/heads/nowhere", [])
    builder.run(code=1)
    assert builder.last()["error"] == f"fetch: {remote} is empty; push a commit to it"


def test_a_lock_is_pushed_to_the_branch_that_was_built(builder):
    (builder.root / "a").mkdir()
    (builder.root / "a/flake.nix").write_text("{ outputs = _: { }; }")
    remote = head_of_bare(builder, "refs/heads/nowhere", ["trunk"])
    source = Repository(builder.root / "more", {"flake.nix": flake(packages(x="echo 1 > $out"), f'a.url = "path:{builder.root}/a";')})
    source.git("push", "--quiet", "--force", str(remote), "HEAD:refs/heads/trunk")
    builder.add("demo", remote, push_lock=True)
    builder.run()
    files = subprocess.run(["git", "-C", remote, "ls-tree", "--name-only", "trunk"], check=True, capture_output=True, text=True)
    assert "flake.lock" in files.stdout
    # Of a HEAD that is no branch, nobody knows where a lock should go.
    source.commit({"flake.nix": flake(packages(x="echo 2 > $out"), f'a.url = "path:{builder.root}/a";')})
    source.git("push", "--quiet", "--force", str(remote), "HEAD:refs/heads/trunk")
    (remote / "HEAD").write_text(source.head() + "\n")
    builder.run()
    assert f"flake.lock was not pushed: the HEAD of {remote} is not a branch; set branch" in builder.log()


def test_a_long_fetch_tells_how_far_it_is(builder):
    source = repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))})
    programs = builder.root / "programs"
    programs.mkdir()
    # What git writes of a large repository, until the test has seen it.
    git = programs / "git"
    git.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = fetch ] && ! [ -e {source.path}/seen ]; then\n'
        "  printf 'Receiving objects:  12%% (5/40), 3.00 MiB | 1.00 MiB/s\\r' >&2\n"
        f"  for i in $(seq 600); do [ -e {source.path}/seen ] && break; sleep 0.1; done\n"
        "fi\n"
        'exec /usr/bin/git "$@"\n'
    )
    git.chmod(0o755)
    build = builder.start(PATH=f"{programs}:/usr/bin:/bin")
    builder.wait_for(lambda: (builder.state / "status/demo.json").exists() and builder.status()["progress"].get("activity"))
    assert builder.status()["progress"]["activity"] == "Receiving objects:  12% (5/40), 3.00 MiB | 1.00 MiB/s"
    (source.path / "seen").touch()
    assert build.wait(60) == 0
    assert "activity" not in builder.status()["progress"]


def test_a_shallow_remote(builder):
    source = Repository(builder.root / "work", {"flake.nix": flake(packages(x="echo old > $out"))})
    source.commit({"flake.nix": flake(packages(x="echo new > $out"))})
    remote = builder.root / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--bare", "--depth", "1", f"file://{source.path}", remote], check=True)
    builder.add("demo", remote)
    for _ in range(2):
        builder.run()
        assert builder.content("packages.x86_64-linux.x") == "new\n"


def test_commits_of_1970(builder):
    inputs = f'a.url = "path:{builder.root}/a";'
    (builder.root / "a").mkdir()
    (builder.root / "a/flake.nix").write_text("{ outputs = _: { }; }")
    source = repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"), inputs)})
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "--amend", "--no-edit", "--date", "@0 +0000"], cwd=source.path, check=True, env={**os.environ, "GIT_COMMITTER_DATE": "@0 +0000"})
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "1\n"


def test_a_flake_in_a_directory(builder):
    inputs = f'a.url = "path:{builder.root}/a";'
    (builder.root / "a").mkdir()
    (builder.root / "a/flake.nix").write_text("{ outputs = _: { }; }")
    files = {"nix/my flake/flake.nix": flake('packages.x86_64-linux.x = mk "x" "cat ${../../value} > $out";', inputs), "value": "from the top"}
    repository(builder, files, dir="nix/my flake")
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "from the top"
    assert '"a"' in builder.last()["flake_lock"]
    builder.repositories["demo"]["dir"] = "nix"
    builder.run(code=1)
    assert "the directory nix" in builder.last()["error"]


def test_a_default_nix_in_a_directory(builder):
    repository(builder, {"sub/default.nix": f'let{MK} in {{ x = mk "x" "echo 1 > $out"; }}'}, dir="sub")
    builder.run()
    assert builder.results() == {"default.x": "success"}


@pytest.mark.parametrize("kind", ["tag", "annotated tag", "commit"])
def test_a_fixed_ref(builder, kind):
    source = Repository(builder.root / "src-demo", {"flake.nix": flake(packages(x="echo old > $out"))})
    old = source.head()
    if kind == "tag":
        source.git("tag", "v1")
    elif kind == "annotated tag":
        source.git("tag", "--annotate", "--message", "one", "v1")
    source.commit({"flake.nix": flake(packages(x="echo new > $out"))})
    source.commit({"more": ""})
    builder.add("demo", source.path, ref=old if kind == "commit" else "v1")
    for _ in range(2):
        builder.run()
        assert builder.content("packages.x86_64-linux.x") == "old\n"
        assert builder.last()["commit_id"] == old
    builder.add("demo", source.path, ref="v2")
    builder.run(code=1)
    assert "has no tag 'v2'" in builder.last()["error"]
