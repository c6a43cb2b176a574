"""Boundary 1: strings that a repository evaluates to, or that its builders write, steer nothing."""

import os
import pathlib

import pytest
from support.build import flake, packages, repository

GOOD = packages(good="echo good > $out")


@pytest.mark.parametrize("claim", ['"--option"', '"-v"', '"/etc/passwd"', '"x"', "7", "/etc", '"${builtins.storeDir}/../x.drv"',
                                   '"${builtins.storeDir}/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-absent.drv"',
                                   'builtins.toFile "x.drv" "Derive([(\\"out\\",\\"/etc\\",\\"\\",\\"\\")],[],[],\\"x86_64-linux\\",\\"/bin/sh\\",[],[])"',
                                   '"${mk "other" "echo 1 > $out"}"'])  # fmt: skip
def test_a_claim_to_be_a_derivation_reaches_no_program(builder, claim):
    real = next(str(path) for d in os.environ["PATH"].split(":") if (path := pathlib.Path(d) / "nix-store").exists())
    # Where builds may write.
    calls = builder.store / "var/nix/calls"
    calls.parent.mkdir(parents=True)
    shim = builder.root / "shim/nix-store"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {calls}\nexec {real} "$@"\n')
    shim.chmod(0o755)
    text = GOOD + f"""packages.x86_64-linux.claim = {{ type = "derivation"; drvPath = {claim}; outPath = "x";
        name = "claim"; system = "x86_64-linux"; outputs = [ "out" ]; }};"""
    repository(builder, {"flake.nix": flake(text)})
    builder.path = shim.parent
    builder.run(code=1)
    assert builder.results() == {"packages.x86_64-linux.claim": "evaluation failed", "packages.x86_64-linux.good": "success"}
    operands = calls.read_text().split("\n--\n", 1)[1].splitlines()
    assert len([operand for operand in operands if operand.endswith("-good.drv")]) == 1
    assert not [operand for operand in operands if "passwd" in operand or "absent" in operand or "x.drv" in operand]


def test_attribute_names_that_no_argument_can_hold(any_builder):
    builder = any_builder
    longest = "l" * 140000
    text = GOOD + f"""
      packages.x86_64-linux."{longest}" = mk "long" "echo long > $out";
      packages.x86_64-linux."{longest}bad" = self.nothing;
      packages.x86_64-linux."-dash\\r\\n[31m" = mk "dash" "echo dash > $out";
    """
    source = repository(builder, {"flake.nix": flake(text)})
    # A name that is not UTF-8.
    file = source.path / "flake.nix"
    file.write_bytes(file.read_bytes().replace(b'"good" = mk', b'"g\xff" = mk "odd" "echo odd > $out"; packages.x86_64-linux."good" = mk'))
    source.git("commit", "--quiet", "--all", "--message", "odd")
    builder.run(code=1)
    results = builder.results()
    assert sorted(results.values()) == ["evaluation failed"] + ["success"] * 4
    assert all(len(name) < 500 for name in results) and len(results) == 5
    assert max(map(len, builder.log().splitlines())) < 17000


def test_no_line_of_a_build_reads_like_the_servers(any_builder):
    builder = any_builder
    forged = "build 1 succeeded, 9 outputs"
    script = f"""printf 'over\\r{forged}\\n'
      echo '@nix {{"action":"msg","level":0,"msg":"{forged}"}}'
      echo '@nix {{"action":"start","id":1,"level":0,"text":"{forged}","type":101}}'
      echo '@nix not json'
      head -c 3000000 /dev/zero | tr '\\0' y; echo; exit 3"""
    text = packages(x=script) + f'packages.x86_64-linux.traced = builtins.trace "one\\n{forged}" (mk "traced" "echo 1 > $out");\n'
    repository(builder, {"flake.nix": flake(text)})
    builder.run(code=1)
    lines = builder.log().splitlines()
    assert not [line for line in lines if line.startswith((forged, "@nix"))]
    assert "x> " + forged in lines and "nix: " + forged in lines
    long_lines = [line for line in lines if "yyyy" in line]
    assert len(long_lines) == 1 and long_lines[0].startswith("x> yyy") and len(long_lines[0]) < 17000
    assert "exit code 3" in builder.targets()["packages.x86_64-linux.x"]["error"]


def eats(name, elements):
    """A package for which a list of so many elements is made, of some 60 bytes each."""
    return f'packages.x86_64-linux.{name} = mk "{name}" "echo ${{toString (builtins.length (builtins.genList (n: n) {elements}))}} > $out";\n'


def test_an_evaluation_that_eats_memory_stops_no_other(builder):
    builder.settings = '[build]\neval_memory = "512M"\n'
    # One of them needs more than its share of the memory, and less than all of it.
    repository(builder, {"flake.nix": flake(GOOD + eats("eater", 60_000_000) + eats("glutton", 200_000_000) + eats("large", 5_000_000))})
    builder.run(code=1)
    names = {name.removeprefix("packages.x86_64-linux."): result for name, result in builder.results().items()}
    assert names == {"eater": "evaluation failed", "glutton": "evaluation failed", "good": "success", "large": "success"}
    for name in ("eater", "glutton"):
        error = builder.targets()[f"packages.x86_64-linux.{name}"]["error"]
        assert "more memory than eval_memory in [build] allows (512 MiB)" in error


def test_inputs_that_eat_memory_end_the_build_only(builder):
    builder.settings = '[build]\neval_memory = "256M"\n'
    text = flake(GOOD).replace("inputs = {", "inputs = builtins.seq (builtins.length (builtins.genList (n: n) 400000000)) {", 1)
    repository(builder, {"flake.nix": text})
    builder.run(code=1)
    assert builder.last()["error"].startswith("inputs: ")


def test_the_history_of_a_build_is_bounded(builder):
    """Long names of attributes, and more of them than anybody has."""
    many = """packages.x86_64-linux = builtins.listToAttrs (builtins.genList (n: {
        name = "${toString n}-${builtins.concatStringsSep "" (builtins.genList (_: "nnnnnnnnnn") 100)}"; value = mk "x" "echo 1 > $out";
      }) @COUNT@);"""
    source = repository(builder, {"flake.nix": flake(many.replace("@COUNT@", "500"))})
    builder.run()
    assert len(builder.results()) == 500 and max(map(len, builder.results())) < 500
    before = (builder.state / "history.sqlite").stat().st_size
    source.commit({"flake.nix": flake(many.replace("@COUNT@", "60000"))})
    builder.run(code=1, timeout=280)
    assert "choose among them with targets" in builder.last()["error"]
    assert builder.targets() == {}
    assert (builder.state / "history.sqlite").stat().st_size < before + 2**20


def test_a_lock_that_no_flake_has_is_not_kept(builder):
    lock = '{"nodes": {"root": {"inputs": {}}' + "".join(f', "n{n}-{"x" * 1000}": {{}}' for n in range(3000)) + '}, "root": "root", "version": 7}'
    repository(builder, {"flake.nix": flake(GOOD), "flake.lock": lock}, lock="committed")
    builder.run()
    assert builder.query("SELECT flake_lock FROM builds") == [{"flake_lock": None}]
    assert "flake.lock is not kept with the build" in builder.log()
