"""system-update on flakes as they come: in git, without a lock, with inputs beside them, from bootstrap."""

import json
import re
import subprocess

import pytest
from support.home import StandIns
from support.server import BINARY


def test_a_flake_without_a_lock_in_git(world_of_each_nix):
    """Nix sees in a repository only what git knows of."""
    world = world_of_each_nix
    machine = world.machine
    git = ["git", "-C", machine.flake]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "flake.nix"], check=True)
    built = world.build()
    world.move_on(2)
    machine.settings["max-jobs"] = "0"

    machine.during_rebuild("exit 9")
    assert "exit code 9" in machine.update(code=1).stderr
    assert machine.lock_text is None
    assert subprocess.check_output([*git, "status", "--short"], text=True) == "A  flake.nix\n"

    machine.during_rebuild("")
    machine.update("--no-gc")
    assert machine.locked("tools") == built["tools"]
    assert machine.generation() == world.builder.outputs("tools")["packages.x86_64-linux.tool.out"]
    assert "flake.lock" in subprocess.check_output([*git, "ls-files"], text=True)


def test_a_failed_rebuild_leaves_git_s_index_alone(world):
    """A lock that git tracks and that somebody has deleted goes on to be just that."""
    machine = world.machine
    git = ["git", "-C", machine.flake, "-c", "user.name=x", "-c", "user.email=x@localhost"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "flake.nix"], check=True)
    machine.nix("flake", "lock")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "x"], check=True)
    (machine.flake / "flake.lock").unlink()
    machine.during_rebuild("exit 9")
    machine.update(code=1)
    assert subprocess.check_output([*git, "status", "--short"], text=True) == " D flake.lock\n"


@pytest.mark.parametrize("in_git", [True, False])
def test_an_input_beside_the_flake(world_of_each_nix, in_git):
    world = world_of_each_nix
    machine = world.machine
    (machine.flake / "sub/deeper").mkdir(parents=True)
    (machine.flake / "sub/flake.nix").write_text("{ outputs = { self }: { v = import ./deeper/v.nix; }; }")
    (machine.flake / "sub/deeper/v.nix").write_text('"first"')
    text = world.machine_flake().replace("outputs = { self,", 'inputs.sub.url = "path:./sub"; outputs = { self, sub,')
    (machine.flake / "flake.nix").write_text(text.replace("tools.packages.x86_64-linux.tool;", """
        derivation { name = sub.v; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; };"""))
    if in_git:
        git = ["git", "-C", machine.flake]
        subprocess.run([*git, "init", "--quiet"], check=True)
        subprocess.run([*git, "add", "."], check=True)
        (machine.flake / "sub/not-in-git").touch()
    world.build()
    # Without a lock, then with one.
    machine.update("--no-gc")
    assert machine.generation().endswith("-first")
    (machine.flake / "sub/deeper/v.nix").write_text('"second"')
    machine.update("--no-gc")
    assert machine.generation().endswith("-second")


@pytest.mark.parametrize("in_git", [True, False])
def test_what_bootstrap_writes_is_rebuilt_from_anywhere(world, in_git):
    machine = world.machine
    stand_ins = StandIns(machine.root / "stand-ins")
    directory = machine.root / "configuration"
    directory.mkdir()
    if in_git:
        subprocess.run(["git", "init", "--quiet", directory], check=True)
    done = machine.run(BINARY, "bootstrap", "--dir", directory, "--public-key", world.cache.public_key,
                       "--bootstrap-url", f"path:{stand_ins.directory}/atuin-bootstrap",
                       "--terminal-url", f"path:{stand_ins.directory}/nix-terminal")  # fmt: skip
    flake = directory / "flake.nix"
    text = flake.read_text()
    for name, url in (("nixpkgs", "NixOS/nixpkgs/nixos-unstable"), ("home-manager", "nix-community/home-manager")):
        text = text.replace(f"github:{url}", f"path:{stand_ins.directory}/{name}")
    flake.write_text(text)
    if in_git:
        # The first time, as it says; without --impure, Nix does not see the secrets.
        add = next(line for line in done.stdout.splitlines() if line.startswith("git add"))
        subprocess.run(["sh", "-c", add], check=True, cwd=directory)
        failed = machine.update("--no-update", "--no-gc", directory=directory, code=1)
        assert "nixbuild system-update --impure" in failed.stderr
        machine.update("--no-update", "--no-gc", "--impure", directory=directory)
    # Then with what Home Manager makes of it: ~/.config/nixbuild/config.toml.
    attribute = ".#homeConfigurations.default.config.programs.bootstrap.settings"
    settings = json.loads(machine.nix("eval", "--impure", "--json", attribute, directory=directory))
    assert settings == {"update": {"home_flake": str(directory), "impure": in_git}}
    config = machine.root / "config.toml"
    config.write_text(f"[update]\nhome_flake = {json.dumps(str(directory))}\nimpure = {json.dumps(in_git)}\n")
    for place in (directory, "/"):
        machine.update("--no-update", "--no-gc", directory=place, NIXBUILD_CONFIG=str(config))
        impure = " --impure" if in_git else ""
        assert re.fullmatch(f"home-manager switch --flake .#(root|root@.*){impure}", machine.calls[-1])
