"""run-build with real git and real Nix: what is built, recorded and rooted."""

import json
import os
import pathlib
import subprocess

import pytest
from support.build import MK, Repository, flake, make_builder, newer_nix_missing, packages


@pytest.fixture
def builder():
    yield from make_builder()


@pytest.fixture(params=["system", "newer"])
def any_builder(request):
    """A builder of each Nix that is here."""
    if request.param == "newer" and (missing := newer_nix_missing()):
        pytest.skip(missing)
    yield from make_builder(nix=request.param)


def repository(builder, files, name="demo", **settings):
    repository = Repository(builder.root / f"src-{name}", files)
    builder.add(name, repository.path, **settings)
    return repository


FIVE_GOOD = packages(**{f"good{i}": f"echo {i} > $out" for i in range(1, 6)})
BAD = """
  packages.x86_64-linux.breaks = mk "breaks" "echo about to break; exit 3";
  packages.x86_64-linux.throws = throw "this one throws";
"""


def test_everything_a_flake_offers(any_builder):
    builder = any_builder
    source = repository(
        builder,
        {
            "flake.nix": flake(
                """
  packages.x86_64-linux.hello = mk "hello" "echo hello > $out";
  packages.aarch64-linux.hello = throw "not for this machine";
  checks.x86_64-linux.test = mk "test" "echo tested > $out";
  devShells.x86_64-linux.default = mk "shell" "echo shell > $out";
  nixosConfigurations.server.config.system.build.toplevel = mk "nixos" "echo nixos > $out";
  nixosConfigurations.other.config.system.build.toplevel = (mk "other" "") // { system = "aarch64-linux"; };
  homeConfigurations."ann@laptop".activationPackage = mk "home" "echo home > $out";
  lib.unrelated = throw "nobody asked";
"""
            )
        },
    )
    result = builder.run()
    assert builder.results() == {
        name: "success"
        for name in (
            "packages.x86_64-linux.hello", "checks.x86_64-linux.test", "devShells.x86_64-linux.default",
            "nixosConfigurations.server", 'homeConfigurations."ann@laptop"',
        )
    }  # fmt: skip
    assert builder.content("nixosConfigurations.server") == "nixos\n"
    assert builder.content('homeConfigurations."ann@laptop"') == "home\n"
    assert "nixosConfigurations.other is for aarch64-linux: left out" in result.stdout

    build = builder.last()
    assert build["state"] == "success" and build["error"] is None
    assert build["commit_id"] == source.head()
    assert (build["commit_subject"], build["commit_author"]) == ("A change", "Ann")
    assert build["triggered_from"] == "command line"
    assert build["start"] <= build["finish"]
    assert builder.phases() == ["fetch", "inputs", "evaluate", "build", "finish"]
    status = builder.status()
    assert status["is_running"] is False and status["last_status"] == "success"
    assert status["last_commit"] == source.head()
    assert status["progress"]["built"] == 5 and status["progress"]["targets"] == 5
    assert sorted(status["outputs"]) == sorted(builder.outputs().values()) == builder.roots()[1]
    sizes = builder.query("SELECT nar_size FROM outputs")
    assert all(row["nar_size"] > 100 for row in sizes)
    times = builder.query("SELECT name, failed FROM derivations")
    assert sorted(row["name"] for row in times) == ["hello", "home", "nixos", "shell", "test"]
    assert "hello> " not in builder.log()  # it says nothing
    assert builder.log().rstrip().endswith("build 1 succeeded, 5 outputs")


def test_one_throws_one_breaks_five_are_good(any_builder):
    builder = any_builder
    repository(builder, {"flake.nix": flake(FIVE_GOOD + BAD)})
    builder.run(code=1)
    results = builder.results()
    assert [results[f"packages.x86_64-linux.good{i}"] for i in range(1, 6)] == ["success"] * 5
    targets = builder.targets()
    breaks, throws = (targets[f"packages.x86_64-linux.{name}"] for name in ("breaks", "throws"))
    assert breaks["result"] == "failed" and "exit code 3" in breaks["error"]
    assert "about to break" in breaks["log_tail"]
    assert throws["result"] == "evaluation failed" and throws["error"] == "this one throws"
    error = builder.last()["error"]
    assert error.startswith("2 of 7 targets failed: ") and "this one throws" in error and "exit code 3" in error
    assert len(builder.roots()[1]) == 5
    assert builder.status()["last_status"] == "failed" and len(builder.status()["outputs"]) == 5
    builder.nix("nix-store", "--gc")
    assert builder.content("packages.x86_64-linux.good3") == "3\n"


def test_an_error_that_cannot_be_caught_stops_no_other_target(any_builder):
    builder = any_builder
    repository(
        builder,
        {
            "flake.nix": flake(
                FIVE_GOOD + "packages.x86_64-linux.missing = self.nothing;\n"
                "packages.x86_64-linux.endless = let x = x; in x;\n"
                "packages.x86_64-linux.text = \"no derivation\";\n"
                "checks.x86_64-linux = throw \"no list of checks\";\n"
                "devShells.x86_64-linux.abort = abort \"gives up\";\n"
            )
        },
    )
    builder.run(code=1)
    targets = builder.targets()
    assert sum(row["result"] == "success" for row in targets.values()) == 5
    assert "nothing" in targets["packages.x86_64-linux.missing"]["error"]
    assert "infinite recursion" in targets["packages.x86_64-linux.endless"]["error"]
    assert "not a derivation" in targets["packages.x86_64-linux.text"]["error"]
    assert "no list of checks" in targets["checks.x86_64-linux"]["error"]
    assert "gives up" in targets["devShells.x86_64-linux.abort"]["error"]


def test_a_target_fails_with_what_it_needs(builder):
    repository(
        builder,
        {
            "flake.nix": flake(
                'packages.x86_64-linux.top = mk "top" "echo ${mk "below" "echo the reason; exit 7"} > $out";\n'
                'packages.x86_64-linux.foreign = (mk "foreign" "").overrideAttrs or (derivation {'
                ' name = "foreign"; system = "riscv64-linux"; builder = "/bin/sh"; });\n'
            )
        },
    )
    builder.run(code=1)
    top = builder.targets()["packages.x86_64-linux.top"]
    assert top["error"].startswith("below, which it needs: ") and "exit code 7" in top["error"]
    assert top["log_tail"] == "the reason\n"
    assert "riscv64-linux" in builder.targets()["packages.x86_64-linux.foreign"]["error"]
    failed = builder.query("SELECT name, failed FROM derivations")
    assert failed == [{"name": "below", "failed": 1}]


def test_names_are_data(builder):
    names = ["a.b", "with space", 'quo"te', "${builtins.abort \"evaluated\"}", "back\\slash", "ünïcode", "$(id)", "-dash"]
    literals = [json.dumps(name, ensure_ascii=False).replace("$", "\\$") for name in names]
    definitions = "".join(f'packages.x86_64-linux.{text} = mk "n{i}" "echo {i} > $out";\n' for i, text in enumerate(literals))
    # A broken one has each evaluated by its name, alone.
    repository(builder, {"flake.nix": flake(definitions + "packages.x86_64-linux.missing = self.nothing;")})
    builder.run(code=1)
    assert sum(result == "success" for result in builder.results().values()) == len(names)


def test_an_empty_flake_succeeds(builder):
    repository(builder, {"flake.nix": flake("lib = { };")})
    assert "offers nothing to build" in builder.run().stdout
    assert builder.results() == {}


def test_a_flake_that_does_not_evaluate(builder):
    repository(builder, {"flake.nix": "{ outputs = _: { packages = "})
    builder.run(code=1)
    assert builder.last()["error"].startswith(("inputs: ", "evaluate: ")) and "syntax error" in builder.last()["error"]


def test_default_nix_where_there_is_no_flake(any_builder):
    builder = any_builder
    source = repository(builder, {"default.nix": f"{{ greeting ? \"hi\" }}: let{MK} in {{\n"
                                  "  one = mk \"one\" \"echo ${greeting} > $out\";\n"
                                  "  bad = throw \"bad one\"; lib.x = 1;\n}"})  # fmt: skip
    builder.run(code=1)
    assert builder.results() == {"default.one": "success", "default.bad": "evaluation failed"}
    assert builder.content("default.one") == "hi\n"

    source.commit({"default.nix": f"let{MK} in mk \"only\" \"echo only > $out\""})
    builder.run()
    assert builder.results() == {"default": "success"}

    source.git("rm", "--quiet", "default.nix")
    source.commit({"README": "nothing here"})
    builder.run(code=1)
    assert builder.last()["error"] == "inputs: the repository has neither a flake.nix nor a default.nix"
    assert builder.last()["commit_id"] == source.head()


def test_chosen_targets(builder):
    repository(
        builder,
        {
            "flake.nix": flake(
                FIVE_GOOD + BAD + """
  packages.x86_64-linux."a.b" = mk "ab" "echo ab > $out";
  other.set = { one = mk "one" "echo one > $out"; two = mk "two" "echo two > $out"; three = 3; };
  nixosConfigurations.server.config.system.build.toplevel = mk "nixos" "echo nixos > $out";
"""
            )
        },
        targets=["good1", 'packages.x86_64-linux."a.b"', "other.set", "nixosConfigurations.server", "nowhere.to.be.found"],
    )
    builder.run(code=1)
    assert builder.results() == {
        "packages.x86_64-linux.good1": "success",
        'packages.x86_64-linux."a.b"': "success",
        "other.set.one": "success",
        "other.set.two": "success",
        "nixosConfigurations.server": "success",
        "nowhere.to.be.found": "evaluation failed",
    }


def test_chosen_systems(builder):
    text = 'packages = builtins.listToAttrs (map (s: { name = s; value.x = mk "x-${s}" "echo x > $out" // { }; }) [ "x86_64-linux" "i686-linux" "riscv64-linux" ]);'
    repository(builder, {"flake.nix": flake(text)}, systems=["x86_64-linux", "i686-linux"])
    builder.run()
    assert set(builder.results()) == {"packages.x86_64-linux.x", "packages.i686-linux.x"}


NIXPKGS = {
    "flake.nix": """{ outputs = _: {
      lib.name = "nixpkgs";
      legacyPackages.x86_64-linux = { lib.trivial.release = "25.05"; mark = "pkgs"; };
    }; }""",
}  # fmt: skip

# Stands for home-manager: modules are functions or sets, their parts are joined as text.
HOME_MANAGER = {
    "release.json": '{"release": "25.11"}',
    "flake.nix": f"""{{ outputs = _: {{
      lib.homeManagerConfiguration = {{ pkgs, modules, extraSpecialArgs ? {{ }} }}: let{MK}
        lib = {{ mkDefault = x: x; }};
        load = m: let v = if builtins.isFunction m then m else if builtins.isAttrs m then (_: m) else import m; in
          let r = if builtins.isFunction v then v ({{ inherit lib pkgs; config = {{ }}; }} // extraSpecialArgs) else v; in r;
        loaded = map load modules;
        text = builtins.concatStringsSep " " (builtins.concatMap (m: m.text or [ ]) loaded);
        version = builtins.concatStringsSep "" (map (m: m.home.stateVersion or "") loaded);
      in {{ activationPackage = mk "home-manager-generation" "echo '${{text}} ${{version}} ${{pkgs.mark}}' > $out"; }};
    }}; }}""",
}  # fmt: skip


def home_flake(builder, modules, with_home_manager=True, kind="homeManagerModules"):
    sources = {}
    for name, files in (("nixpkgs", NIXPKGS), ("home-manager", HOME_MANAGER)):
        path = builder.root / name
        sources[name] = Repository(path, files) if not path.exists() else None
    inputs = f'nixpkgs.url = "git+file://{builder.root}/nixpkgs";'
    if with_home_manager:
        inputs += f' home-manager.url = "git+file://{builder.root}/home-manager";'
    return {"flake.nix": flake(f"{kind} = {modules};", inputs)}


def test_home_modules_are_tested_in_a_configuration(any_builder):
    builder = any_builder
    modules = """{
      default = { inputs, ... }: { text = [ "default of ${inputs.nixpkgs.lib.name}" ]; };
      other = throw "default is enough";
    }"""
    source = repository(builder, home_flake(builder, modules))
    builder.run()
    assert builder.results() == {"homeModules": "success"}
    assert builder.content("homeModules") == "default of nixpkgs 25.11 pkgs\n"

    source.commit(home_flake(builder, '{ one = { text = [ "1" ]; }; two = { text = [ "2" ]; }; }', kind="homeModules"))
    builder.run()
    assert builder.content("homeModules") == "1 2 25.11 pkgs\n"


def test_home_modules_that_turn_nothing_on(builder):
    source = repository(builder, home_flake(builder, "{ default = { }; }"))
    assert "the same as an empty home" in builder.run().stdout
    builder.add("demo", source.path, home_config="test/home.nix")
    source.commit({"test/home.nix": '{ ... }: { text = [ "turned on" ]; }'})
    assert "empty home" not in builder.run().stdout
    assert builder.content("homeModules") == "turned on 25.11 pkgs\n"


def test_home_modules_without_home_manager(builder):
    source = repository(builder, home_flake(builder, '{ default.text = [ "x" ]; }', with_home_manager=False))
    assert "home_manager in [build] is not set" in builder.run().stdout
    assert builder.results() == {}
    builder.settings = f'[build]\nhome_manager = "git+file://{builder.root}/home-manager"'
    builder.run()
    assert builder.content("homeModules") == "x 25.11 pkgs\n"
    source.commit(home_flake(builder, '{ default = throw "broken module"; }', with_home_manager=False))
    builder.run(code=1)
    assert builder.targets()["homeModules"]["error"] == "broken module"


def test_flake_config_is_followed_where_it_is_accepted(builder):
    text = flake('packages.x86_64-linux.x = mk "x" "echo $NIX_BUILD_CORES > $out";')
    text = text.replace("{\n", "{\n  nixConfig = { cores = 7; extra-substituters = [ ]; };\n", 1)
    source = repository(builder, {"flake.nix": text})
    builder.run()
    assert builder.content("packages.x86_64-linux.x") != "7\n"
    builder.add("demo", source.path, accept_flake_config=True)
    source.commit({"flake.nix": text.replace('"x" "echo', '"y" "echo')})
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "7\n"


# Inputs and locks.


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


# The clone.


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


# The queue and what is kept.


def test_a_repository_is_built_once_at_a_time(builder):
    marker = builder.root / "go"
    repository(builder, {"flake.nix": flake(packages(x=f"until test -e {marker}; do sleep 0.05; done; echo 1 > $out"))})
    first = builder.start()
    builder.wait_for_phase("build", process=first)
    status = builder.status()
    assert status["is_running"] and status["last_start"]
    assert status["last_finish"] is status["last_status"] is status["last_commit"] is None
    builder.wait_for(lambda: builder.status()["progress"]["running"])
    assert builder.status()["progress"]["running"][0]["name"] == "x"
    second = builder.run(code=75)
    assert "is being built already" in second.stderr
    marker.touch()
    assert first.wait(60) == 0
    assert len(builder.builds()) == 1


def test_builds_wait_for_each_other_in_order(builder):
    marker = builder.root / "go"
    slow = {"flake.nix": flake(packages(x=f"until test -e {marker}; do sleep 0.05; done; echo 1 > $out"))}
    quick = {"flake.nix": flake(packages(x="echo 1 > $out"))}
    repository(builder, slow, name="slow")
    processes = [builder.start("slow")]
    builder.wait_for_phase("build", "slow", processes[0])
    for name in ("b", "a"):
        repository(builder, quick, name=name)
        processes.append(builder.start(name))
        builder.wait_for_phase("queued", name, processes[-1])
        builder.wait_for(lambda: builder.builds(name))
    assert [builder.last(name)["state"] for name in ("slow", "b", "a")] == ["running", "queued", "queued"]
    marker.touch()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    slow, b, a = (builder.last(name) for name in ("slow", "b", "a"))
    assert slow["finish"] <= b["start"] and b["finish"] <= a["start"]


def test_more_than_one_at_once_where_wanted(builder):
    marker = builder.root / "go"
    builder.settings = "[build]\nmax_parallel = 2"
    repository(builder, {"flake.nix": flake(packages(x=f"until test -e {marker}; do sleep 0.05; done; echo 1 > $out"))}, name="slow")
    repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))}, name="quick")
    process = builder.start("slow")
    builder.wait_for_phase("build", "slow", process)
    builder.run("quick")
    marker.touch()
    assert process.wait(60) == 0


def test_old_roots_history_and_logs_go(builder):
    source = repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))}, keep=2, keep_history=3)
    outputs = []
    for number in range(1, 5):
        source.commit({"flake.nix": flake(packages(x=f"echo {number} > $out"))}, f"Number {number}") if number > 1 else None
        builder.run()
        outputs.append(builder.outputs()["packages.x86_64-linux.x.out"])
    # A build without outputs pushes out none that has some.
    source.commit({"flake.nix": "{"})
    builder.run(code=1)
    assert sorted(builder.roots()) == [3, 4]
    assert [build["id"] for build in builder.builds()] == [3, 4, 5]
    assert sorted(path.name for path in (builder.state / "logs/demo").iterdir()) == ["3.log", "4.log", "5.log"]
    builder.nix("nix-store", "--gc")
    assert [os.path.exists(output) for output in outputs] == [False, False, True, True]


def test_the_control_socket_of_the_cache_is_told(builder):
    import socket
    import threading

    repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))})
    builder.state.mkdir()
    told = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(builder.state / "control.sock"))
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            data = b""
            while b"\r\n\r\n" not in data or len(data.split(b"\r\n\r\n", 1)[1]) < 10:
                data += connection.recv(65536)
            told.append(data.decode())
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        builder.run()
        thread.join(10)
    head, body = told[0].split("\r\n\r\n", 1)
    assert head.startswith("POST /warm HTTP/1.1\r\n")
    assert body.split() == [builder.outputs()["packages.x86_64-linux.x.out"]]


def test_usage(builder):
    repository(builder, {"flake.nix": flake("")})
    assert "no repository 'unknown' is configured; there is demo" in builder.run("unknown", code=2).stderr
    result = builder.run("other", "--repository", f"other={pathlib.Path(builder.root / 'src-demo')}")
    assert "succeeded" in result.stderr
