"""run-build: which targets a repository has, whatever it evaluates to, and how long they are kept."""

import os

from support.build import flake, packages, repository

GOOD = packages(good="echo good > $out")


def test_a_typo_in_a_whole_set_stops_no_other_target(any_builder):
    builder = any_builder
    repository(builder, {"flake.nix": flake(GOOD + "checks.x86_64-linux = self.chekcs;\ndevShells = self.nothing;\n")})
    builder.run(code=1)
    assert builder.results() == {
        "packages.x86_64-linux.good": "success",
        "checks.x86_64-linux": "evaluation failed",
        "devShells.x86_64-linux": "evaluation failed",
    }
    assert "chekcs" in builder.targets()["checks.x86_64-linux"]["error"]


def test_what_is_no_derivation_is_refused_by_its_name(any_builder):
    builder = any_builder
    text = GOOD + """
      packages.x86_64-linux.none = null;
      packages.x86_64-linux.text = "text";
      packages.x86_64-linux.plain.inner = mk "inner" "echo inner > $out";
      packages.x86_64-linux.nested = { recurseForDerivations = true; inner = mk "inner" "echo inner > $out";
        deeper = { recurseForDerivations = true; bad = throw "deep"; }; };
      checks = null;
      devShells.x86_64-linux = mk "shell" "echo shell > $out";
    """
    repository(builder, {"flake.nix": flake(text)})
    builder.run(code=1)
    assert builder.results() == {
        "packages.x86_64-linux.good": "success",
        "packages.x86_64-linux.nested.deeper.bad": "evaluation failed",
        "packages.x86_64-linux.nested.inner": "success",
        "packages.x86_64-linux.none": "evaluation failed",
        "packages.x86_64-linux.plain": "evaluation failed",
        "packages.x86_64-linux.text": "evaluation failed",
        "checks": "evaluation failed",
        "devShells.x86_64-linux": "success",
    }
    errors = {name: row["error"] for name, row in builder.targets().items()}
    assert errors["packages.x86_64-linux.none"] == "it is null, not a derivation"
    assert "recurseForDerivations" in errors["packages.x86_64-linux.plain"]
    assert errors["checks"] == "it is null, not a set"


def test_sets_of_sets_by_their_names(any_builder):
    builder = any_builder
    text = GOOD + """
      packages.riscv64-linux.good = throw "not for this machine";
      packages.x86_64-linux.none = null;
      hydraJobs.a.x86_64-linux = mk "a" "echo a > $out";
      hydraJobs.a.aarch64-linux = throw "not for this machine";
      hydraJobs.b.deep.job = mk "b" "echo b > $out";
      lib.f = x: x;
      empty = { };
    """
    repository(builder, {"flake.nix": flake(text)}, targets=["packages", "hydraJobs", "lib", "empty", "nothing.here"])
    builder.run(code=1)
    assert builder.results() == {
        "packages.x86_64-linux.good": "success",
        "packages.x86_64-linux.none": "evaluation failed",
        "hydraJobs.a.x86_64-linux": "success",
        "hydraJobs.b.deep.job": "success",
        "lib": "evaluation failed",
        "empty": "evaluation failed",
        "nothing.here": "evaluation failed",
    }
    errors = {name: row["error"] for name, row in builder.targets().items()}
    assert errors["empty"] == "there is nothing in it to build for x86_64-linux"
    assert errors["nothing.here"] == "attribute 'nothing' is missing"


def test_one_uncatchable_error_among_many_targets(builder):
    text = """packages.x86_64-linux = builtins.listToAttrs (builtins.genList (n: { name = "n${toString n}";
      value = if n == 37 then self.nothing else mk "n${toString n}" "echo ${toString n} > $out"; }) 60);"""
    repository(builder, {"flake.nix": flake(text)})
    builder.run(code=1)
    results = builder.results()
    assert len(results) == 60 and sum(result == "success" for result in results.values()) == 59
    assert results["packages.x86_64-linux.n37"] == "evaluation failed"


def test_a_set_in_default_nix_without_derivations_is_no_success(builder):
    repository(builder, {"default.nix": "{ a = null; lib.f = x: x; }"})
    builder.run(code=1)
    assert builder.results() == {"default": "evaluation failed"}
    assert "default.a: ignored: it is null" in builder.log()


def test_evaluated_derivations_survive_a_garbage_collection(any_builder):
    """While a configuration is still evaluated, by a process of its own."""
    builder = any_builder
    marker = builder.root / "go"
    wait = f"for i in $(seq 600); do [ -e {marker} ] && break; sleep 0.1; done; echo '{{ }}' > $out"
    text = GOOD + f"""
      nixosConfigurations.host.config.system.build.toplevel =
        builtins.seq (import (mk "slow" "{wait}")) (mk "toplevel" "echo 2 > $out");
    """
    repository(builder, {"flake.nix": flake(text)})
    process = builder.start()
    derivations = builder.store / "store"
    builder.wait_for(lambda: any("slow" in command or "seq 600" in command for command in builder.processes().values()))
    assert list(derivations.glob("*-good.drv"))
    builder.nix("nix-store", "--gc")
    assert list(derivations.glob("*-good.drv"))
    marker.touch()
    assert process.wait(60) == 0
    assert builder.results() == {"packages.x86_64-linux.good": "success", "nixosConfigurations.host": "success"}
    # Once the build has ended, its outputs are kept alone.
    assert builder.roots()[1] == sorted(builder.outputs().values())


def test_a_dev_shell_is_kept_with_what_it_is_built_from(any_builder):
    builder = any_builder
    text = """
      devShells.x86_64-linux.default = derivation { name = "shell"; system = "x86_64-linux"; builder = "/bin/sh";
        PATH = "/usr/bin:/bin"; args = [ "-c" "echo shell > $out" ];
        tool = mk "tool" "echo tool > $out"; source = builtins.toFile "source" "text"; };
      packages.x86_64-linux.plain = derivation { name = "plain"; system = "x86_64-linux"; builder = "/bin/sh";
        PATH = "/usr/bin:/bin"; args = [ "-c" "echo plain > $out" ]; needed = mk "needed" "echo needed > $out"; };
    """
    source = repository(builder, {"flake.nix": flake(text)}, keep=1)
    builder.run()
    store = builder.store / "store"

    def kept(name):
        return any(not path.name.endswith(".drv") for path in store.glob(f"*-{name}*"))

    builder.nix("nix-store", "--gc")
    assert kept("shell") and kept("tool") and kept("source")
    assert kept("plain") and not kept("needed")
    # It goes with the build.
    source.commit({"flake.nix": flake(GOOD)})
    builder.run()
    builder.nix("nix-store", "--gc")
    assert kept("good") and not kept("tool") and not kept("shell")


def test_keep_counts_the_successes_of_each_target(builder):
    source = repository(builder, {"flake.nix": "{ outputs = _: { }; }"}, keep=2)
    paths = {}
    for number, broken in enumerate((False, False, False, True, True, True), 1):
        big = "exit 1" if broken else f"echo big {number} > $out"
        source.commit({"flake.nix": flake(packages(small=f"echo small {number} > $out", big=big))})
        builder.run(code=int(broken))
        for name, path in builder.outputs().items():
            if builder.results()[name.removesuffix(".out")] == "success":
                paths[name.split(".")[2], number] = path
    builder.nix("nix-store", "--gc")
    left = {key for key, path in paths.items() if os.path.exists(path)}
    assert left == {("big", 2), ("big", 3), ("small", 5), ("small", 6)}
    # A flake that does not evaluate at all costs nothing either.
    source.commit({"flake.nix": "{ outputs = "})
    for _ in range(3):
        builder.run(code=1)
    builder.nix("nix-store", "--gc")
    assert left == {key for key, path in paths.items() if os.path.exists(path)}
    # What the repository does not have any more goes in the end.
    source.commit({"flake.nix": flake(packages(small="echo small > $out"))})
    builder.run()
    source.commit({"flake.nix": flake(packages(small="echo small again > $out"))})
    builder.run()
    builder.nix("nix-store", "--gc")
    assert not os.path.exists(paths["big", 3])


def test_reasons_are_complete(any_builder):
    builder = any_builder
    text = """
      packages.x86_64-linux.hash = derivation { name = "hash"; system = "x86_64-linux"; builder = "/bin/sh";
        args = [ "-c" "echo x > $out" ]; outputHashMode = "flat"; outputHashAlgo = "sha256";
        outputHash = "0000000000000000000000000000000000000000000000000000"; };
      packages.x86_64-linux.foreign = derivation { name = "foreign"; system = "riscv64-linux"; builder = "/bin/sh"; };
      packages.x86_64-linux.feature = derivation { name = "feature"; system = "x86_64-linux"; builder = "/bin/sh";
        requiredSystemFeatures = "quantum"; };
      packages.x86_64-linux.imported = import (mk "imported" "exit 3");
      packages.x86_64-linux.exits = mk "exits" "exit 3";
    """
    repository(builder, {"flake.nix": flake(text)})
    builder.run(code=1)
    errors = {name.split(".")[2]: row["error"] for name, row in builder.targets().items()}
    assert "got: sha256-c8s4WKaHqElMozIwUwFigvPa051Cz2LKTnndoqrH2aw=" in errors["hash"]
    assert "riscv64-linux" in errors["foreign"]
    assert "quantum" in errors["feature"]
    assert "exit code 3" in errors["imported"]
    assert errors["exits"].endswith("exit code 3")
    error = builder.last()["error"]
    assert "exit code 3.;" not in error and "exit code 3;;" not in error
