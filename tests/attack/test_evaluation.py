"""Boundary 2: evaluation and builders see the repository's own files and the store, nothing else."""

import os
import pathlib
import subprocess

import pytest
from support.build import GOOD, MK, Repository, flake, isolation_is_possible, packages, repository, without_pid_namespaces

SECRET = "a-secret-of-the-server"

if not isolation_is_possible():
    pytest.skip("the kernel allows no user namespaces here", allow_module_level=True)


def found(builder):
    """Files of the store, the logs and the clones in which the secret is."""
    files = []
    for directory in (builder.store, builder.state / "logs", builder.state / "repos"):
        for path, _, names in os.walk(directory):
            for name in names:
                file = pathlib.Path(path, name)
                if file in getattr(builder, "hidden", ()):
                    continue
                if file.is_file() and not file.is_symlink() and SECRET.encode() in file.read_bytes():
                    files.append(file)
    return files


@pytest.fixture
def closed(builder):
    """A builder whose repositories may have no inputs of this machine."""
    builder.local_inputs = []
    return builder


def hide_secrets(builder):
    """The secret at each place that is not the repository's own; returns these files."""
    places = [
        builder.root / "home/.ssh/id_ed25519",
        builder.root / "elsewhere/file",
        builder.state / "cache-key",
        builder.state / "logs/other/1.log",
        builder.state / "repos/other/file",
        builder.state / "home/other/.netrc",
        builder.state / "status/other.json",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(SECRET)
    builder.hidden = places
    return places


def encoded(path):
    return "".join(f"%{ord(c):02x}" if c != "/" else c for c in str(path))


INPUTS = {
    "path": lambda file: f'url = "path:{file.parent}"; flake = false;',
    "path to the file": lambda file: f'url = "path:{file}"; flake = false;',
    "through /proc": lambda file: f'url = "path:/proc/self/root{file.parent}"; flake = false;',
    "relative": lambda file: f'url = "path:../../../../../../../..{file.parent}"; flake = false;',
    "relative, without a scheme": lambda file: f'url = "../../../../../../../..{file.parent}"; flake = false;',
    "encoded": lambda file: f'url = "path:{encoded(file.parent)}"; flake = false;',
    "encoded git": lambda file: f'url = "git+file://{encoded(file.parent)}"; flake = false;',
    "of its own input": lambda file: f'url = "path:./."; inputs.t.inputs.u.url = "path:{file.parent}"; flake = false;',
    "file": lambda file: f'url = "file://{file}"; flake = false;',
    "as attributes": lambda file: f'type = "path"; path = "{file.parent}"; flake = false;',
}


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_of_the_machine_are_refused(closed, kind):
    files = hide_secrets(closed)
    source = repository(closed, {"flake.nix": ""})
    for file in files:
        text = flake('packages.x86_64-linux.x = mk "x" "cat ${inputs.s}/* ${inputs.s} > $out";', f"s = {{ {INPUTS[kind](file)} }};")
        source.commit({"flake.nix": text})
        closed.run(code=1)
        assert "local_inputs" in closed.last()["error"]
        assert not found(closed), file


@pytest.mark.parametrize("distraction", ['"\xff".url = "path:./."', 't = throw "no"', 't.path = { }', 't.inputs.u.path = x: x'])
def test_what_cannot_be_read_is_not_taken_for_harmless(closed, distraction):
    file = hide_secrets(closed)[1]
    source = repository(closed, {"flake.nix": flake('packages.x86_64-linux.x = mk "x" "cat ${inputs.s}/* > $out";', f's.url = "path:{file.parent}"; s.flake = false; {distraction};')})
    text = (source.path / "flake.nix").read_text()
    (source.path / "flake.nix").write_bytes(text.encode("latin-1"))
    source.git("commit", "--quiet", "--all", "--allow-empty", "--message", "odd")
    closed.run(code=1)
    assert closed.last()["error"].startswith("inputs: ")
    assert closed.last()["error"].startswith("inputs: the inputs cannot be read") or "local_inputs" in closed.last()["error"]
    assert not found(closed)


def test_a_git_repository_of_the_machine_is_no_input(closed):
    Repository(closed.root / "private", {"file": SECRET})
    repository(closed, {"flake.nix": flake('packages.x86_64-linux.x = mk "x" "cat ${inputs.s}/file > $out";', f's = {{ url = "git+file://{closed.root}/private"; flake = false; }};')})
    closed.run(code=1)
    assert not found(closed)


OTHER_SPELLINGS = {
    "host": 'type = "tarball"; url = "file://localhost{place}.tar"; flake = false;',
    "address": 'type = "tarball"; url = "file://127.0.0.1{place}.tar"; flake = false;',
    "capitals": 'type = "tarball"; url = "FILE://{place}.tar"; flake = false;',
    "link": 'url = "path:./link{place}"; flake = false;',
}


@pytest.mark.parametrize("kind", OTHER_SPELLINGS)
def test_other_spellings_of_a_path_are_refused(closed, kind):
    """Isolation hides these files as well; here, the check of inputs must do without it."""
    closed.settings = '[build]\nisolation = "none"\n'
    place = hide_secrets(closed)[1].parent
    subprocess.run(["tar", "-cf", f"{place}.tar", "-C", place.parent, place.name], check=True)
    source = Repository(closed.root / "src-demo")
    os.symlink("/", source.path / "link")
    source.commit({"flake.nix": flake('packages.x86_64-linux.x = mk "x" "cat ${inputs.s}/* > $out";', f"s = {{ {OTHER_SPELLINGS[kind].format(place=place)} }};")})
    closed.add("demo", source.path)
    closed.run(code=1)
    assert "local_inputs" in closed.last()["error"]
    assert not found(closed)


def test_builders_do_not_write_to_the_clone(closed):
    clone = closed.state / "repos/demo"
    repository(closed, {"flake.nix": flake(packages(x=f"echo bad > {clone}/.git/config; echo bad > {clone}/other; echo 1 > $out"))})
    closed.run()
    assert "bad" not in (clone / ".git/config").read_text()
    assert not (clone / "other").exists()


def test_an_input_has_no_inputs_of_the_machine_either(builder):
    builder.local_inputs = [builder.root / "allowed"]
    files = hide_secrets(builder)
    Repository(builder.root / "allowed/a", {"flake.nix": f'{{ inputs.s = {{ url = "path:{files[1].parent}"; flake = false; }}; outputs = {{ s, ... }}: {{ text = builtins.readFile "${{s}}/file"; }}; }}'})
    repository(builder, {"flake.nix": flake('packages.x86_64-linux.x = mk "x" "echo ${inputs.a.text} > $out";', f'a.url = "git+file://{builder.root}/allowed/a";')})
    builder.run(code=1)
    assert not found(builder)


def test_allowed_inputs_are_read_but_never_written(builder):
    builder.local_inputs = [builder.root / "allowed"]
    file = builder.root / "allowed/file"
    file.parent.mkdir()
    file.write_text("content")
    repository(builder, {"flake.nix": flake(f'packages.x86_64-linux.x = mk "x" "cat ${{inputs.s}}/file > $out; ! echo bad > {file}";', f's = {{ url = "path:{file.parent}"; flake = false; }};')})
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "content"
    assert file.read_text() == "content"


def test_the_state_stays_hidden_below_an_allowed_directory(builder):
    builder.local_inputs = [builder.root]
    files = hide_secrets(builder)[2:]
    script = "cat " + " ".join(map(str, files)) + " > $out; true"
    repository(builder, {"flake.nix": flake(packages(x=script))})
    builder.run()
    assert not found(builder)


@pytest.mark.parametrize("lookup", ["readFile {file}", "toString (./. + {file})", "import {file}", "fetchurl file://{file}"])
def test_a_default_nix_reads_nothing_of_the_machine(closed, lookup):
    file = hide_secrets(closed)[0]
    expression = f'builtins.{lookup.format(file=file)}' if not lookup.startswith(("import", "toString")) else lookup.format(file=file)
    repository(closed, {"default.nix": f'let{MK} in {{ x = mk "x" "echo ${{{expression}}} > $out"; }}'})
    closed.run(code=None)
    assert not found(closed)


def test_a_default_nix_sees_no_environment(closed):
    repository(closed, {"default.nix": f'let{MK} in {{ x = mk "x" "echo ${{builtins.getEnv "FORGE_TOKEN"}} > $out"; }}'})
    closed.run(code=None, FORGE_TOKEN=SECRET)
    assert not found(closed)


def test_builders_see_nothing_of_the_machine(closed):
    files = hide_secrets(closed)
    ways = " ".join(f"{file} /proc/*/root{file} ../../../../../..{file}" for file in files)
    repository(closed, {"flake.nix": flake(packages(x=f"cat {ways} /proc/*/environ > $out; true"))})
    closed.run(FORGE_TOKEN=SECRET)
    assert not found(closed)


def test_builders_see_no_socket_of_the_server(closed):
    repository(closed, {"flake.nix": flake(packages(x="find / -name control.sock -o -name '*.service' -path '/run/*' 2>/dev/null > $out; true"))})
    closed.run()
    assert closed.content("packages.x86_64-linux.x") == ""


def test_what_a_build_leaves_in_its_home_configures_nothing(closed):
    """Without a sandbox a builder can write there; the next build must not run it."""
    home = closed.state / "home/demo"
    marker = closed.state / "repos/demo/marker"
    source = repository(closed, GOOD)
    closed.run()
    (home / ".config/nix").mkdir(parents=True)
    (home / ".config/git").mkdir(parents=True)
    (home / ".config/nix/nix.conf").write_text("substituters = http://127.0.0.1:1\nbuilders = ssh://evil\n")
    for config in (home / ".gitconfig", home / ".config/git/config"):
        config.write_text(f"[core]\n\tfsmonitor = touch {marker}\n")
    source.commit({"other": ""})
    closed.run()
    assert not marker.exists()
    assert "127.0.0.1:1" not in closed.log() and "evil" not in closed.log()


def test_homes_are_apart(closed):
    repository(closed, GOOD)
    repository(closed, GOOD, name="other")
    closed.run()
    closed.run("other")
    assert sorted(path.name for path in (closed.state / "home").iterdir()) == ["demo", "other"]


def test_where_isolation_is_impossible_nothing_is_built(builder):
    repository(builder, GOOD)
    prefix = without_pid_namespaces()
    denied = prefix[: prefix.index("env")]
    process = builder.start(prefix=denied)
    assert process.wait(60) == 1
    assert 'isolation = "none"' in builder.last()["error"]
    process = builder.start(prefix=prefix)
    assert process.wait(60) == 0


def test_nothing_is_left_in_the_temporary_directory(closed):
    repository(closed, {"flake.nix": flake(packages(x="mkdir -p /tmp/a/b; echo 1 > /tmp/a/b/c; chmod 500 /tmp/a/b; echo 1 > $out"))})
    closed.run()
    assert list((closed.root / "tmp").iterdir()) == []
    assert not pathlib.Path("/tmp/a").exists()
