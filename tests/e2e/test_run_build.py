"""run-build with real git and real Nix: what is evaluated, built, recorded and rooted."""

import json

import pytest
from support.build import MK, Repository, flake, packages, repository

pytestmark = pytest.mark.distribution

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


def test_home_manager_that_cannot_be_had_holds_nothing_else_back(builder):
    modules = '{ default.text = [ "x" ]; }; ' + packages(x="echo good > $out").strip().removesuffix(";")
    repository(builder, home_flake(builder, modules, with_home_manager=False))
    builder.settings = f'[build]\nhome_manager = "git+file://{builder.root}/nowhere"'
    builder.run(code=1)
    assert builder.content("packages.x86_64-linux.x") == "good\n"
    home = builder.targets()["homeModules"]
    assert home["result"] == "evaluation failed" and "nowhere" in home["error"]


def test_flake_config_is_followed_where_it_is_accepted(builder):
    text = flake('packages.x86_64-linux.x = mk "x" "echo $NIX_BUILD_CORES > $out";')
    config = 'cores = 7; extra-substituters = [ ]; plugin-files = "/nowhere.so"; extra-trusted-public-keys = "x:y";'
    text = text.replace("{\n", f"{{\n  nixConfig = {{ {config} }};\n", 1)
    source = repository(builder, {"flake.nix": text})
    builder.run()
    assert builder.content("packages.x86_64-linux.x") != "7\n"
    builder.add("demo", source.path, accept_flake_config=True)
    source.commit({"flake.nix": text.replace('"x" "echo', '"y" "echo')})
    log = builder.run().stdout
    assert builder.content("packages.x86_64-linux.x") == "7\n"
    for name in ("plugin-files", "extra-trusted-public-keys"):
        assert f"nixConfig.{name} of the flake is ignored" in log


def by_content(name, script, **attributes):
    more = "".join(f"{key} = {value}; " for key, value in attributes.items())
    return (f'derivation {{ name = "{name}"; system = "x86_64-linux"; builder = "/bin/sh"; PATH = "/usr/bin:/bin"; '
            f'__contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; {more}'
            f"args = [ \"-c\" ''{script}'' ]; }}")  # fmt: skip


def test_derivations_addressed_by_their_content(any_builder):
    builder = any_builder
    (builder.root / "etc/nix.conf").write_text("experimental-features = nix-command flakes ca-derivations\n")
    below = by_content("below", "mkdir $out $dev; echo below > $out/text", outputs='[ "out" "dev" ]')
    files = f"""
      packages.x86_64-linux.below = {below};
      packages.x86_64-linux.top = {by_content("top", "cat ${self.packages.x86_64-linux.below}/text > $out")};
      packages.x86_64-linux.plain = mk "plain" "echo plain > $out";
    """
    source = repository(builder, {"flake.nix": flake(files)})
    builder.run()
    assert set(builder.results().values()) == {"success"}
    assert builder.content("packages.x86_64-linux.top") == "below\n"
    outputs = builder.outputs()
    assert sorted(outputs.values()) == builder.roots()[1] and len(outputs) == 4
    assert all(row["nar_size"] > 0 for row in builder.query("SELECT nar_size FROM outputs"))

    # Some good, some not: each has its own end and reason.
    files += f"""
      packages.x86_64-linux.bad = {by_content("bad", "echo about to break; exit 5")};
      packages.x86_64-linux.on-bad = {by_content("on-bad", "echo ${self.packages.x86_64-linux.bad} > $out")};
      packages.x86_64-linux.on-below = {by_content("on-below", "cat ${self.packages.x86_64-linux.below}/text; exit 6")};
      packages.x86_64-linux.new = {by_content("new", "echo new > $out")};
    """
    source.commit({"flake.nix": flake(files)})
    builder.run(code=1)
    results = {name.rpartition(".")[2]: result for name, result in builder.results().items()}
    failed = {"bad", "on-bad", "on-below"}
    assert {name for name, result in results.items() if result == "failed"} == failed
    assert {name for name, result in results.items() if result == "success"} == {"below", "top", "plain", "new"}
    targets = builder.targets()
    assert "exit code 5" in targets["packages.x86_64-linux.bad"]["error"]
    assert "exit code 6" in targets["packages.x86_64-linux.on-below"]["error"]
    assert targets["packages.x86_64-linux.on-bad"]["error"]
    assert builder.content("packages.x86_64-linux.new") == "new\n"
    assert set(builder.roots()[2]) == set(builder.outputs().values()) and len(builder.outputs()) == 5
