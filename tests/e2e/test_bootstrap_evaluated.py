"""What `bootstrap` writes, evaluated by real Nix: in git and outside of it, with odd names, for several machines."""

import json
import re
import subprocess

import pytest

from support.fresh_machine import KEY, OTHER_KEY, FreshMachine
from support.home import StandIns, evaluate
from support.nix import Store

pytestmark = pytest.mark.once


@pytest.fixture(scope="session")
def stand_ins(session_root):
    return StandIns(session_root / "stand-ins")


@pytest.fixture(scope="session")
def eval_store(session_root, system_nix):
    """The store that flakes are evaluated in; nothing is kept of it."""
    return Store(system_nix, session_root / "eval-store")


SUMMARY = """homes: builtins.mapAttrs (_: home: {
  inherit (home.config) modules;
  inherit (home.config.home) username homeDirectory;
  inherit (home.config.programs.bootstrap.buildServer) publicKey address;
  inherit (home.config.services.bootstrap-services.tailscale) authKeyFile;
  system = home.pkgs.system;
}) homes"""


def test_outside_git_it_evaluates(machine, nix, stand_ins, eval_store):
    machine.offline("--template", "desktop", "--system", "aarch64-linux", "--server", "build-server:8001")
    homes = evaluate(nix, eval_store, stand_ins, machine.directory, "homeConfigurations", apply=SUMMARY)
    assert sorted(homes) == ["", "ann", "ann@new-laptop", "default"]
    assert all(home == homes["default"] for home in homes.values())
    assert homes["default"] == {
        "modules": ["default", "desktop", "terminal"],
        "username": "ann", "homeDirectory": "/home/ann", "publicKey": KEY, "address": "build-server:8001",
        "authKeyFile": "/home/ann/.config/nixbuild/tailscale-auth-key", "system": "aarch64-linux",
    }  # fmt: skip


@pytest.mark.parametrize("attribute", ["", "default", "ann", "ann%40new-laptop"])
def test_what_home_manager_asks_for(machine, nix, stand_ins, eval_store, attribute):
    # Its flake URI, as home-manager makes it of --flake .#NAME and, without a name, of USER@HOST.
    machine.offline()
    path = f'homeConfigurations."{attribute}".activationPackage.drvPath'
    drv = evaluate(nix, eval_store, stand_ins, machine.directory, path)
    assert drv.endswith("-home.drv")


def test_inside_git_it_needs_impure_and_says_so(machine, nix, stand_ins, eval_store, root):
    subprocess.run(["git", "init", "-q", machine.directory], check=True)
    done = machine.bootstrap("--public-key", OTHER_KEY)
    commands = done.stdout.splitlines()
    assert "git add --intent-to-add -- .gitignore home.nix flake.nix" in commands
    assert "--impure" in commands[-1]
    subprocess.run(["sh", "-c", commands[-2]], check=True, cwd=machine.directory)
    status = subprocess.run(["git", "status", "--short", "--ignored"], cwd=machine.directory, text=True,
                            capture_output=True, check=True).stdout  # fmt: skip
    assert "!! secrets.nix" in status.splitlines()

    attribute = "homeConfigurations.default.config.programs.bootstrap.buildServer.publicKey"
    pure = evaluate(nix, eval_store, stand_ins, machine.directory, attribute, check=False)
    assert pure.returncode != 0
    assert "home-manager switch --impure --flake .#default" in pure.stderr
    homes = evaluate(nix, eval_store, stand_ins, machine.directory, "homeConfigurations", "--impure", apply=SUMMARY)
    assert homes["default"]["publicKey"] == OTHER_KEY
    # Nothing of the secrets has got into the store.
    found = subprocess.run(["grep", "-rlF", OTHER_KEY, eval_store.real_store_dir], text=True, capture_output=True)
    assert found.stdout == ""

    (machine.directory / "secrets.nix").unlink()
    gone = evaluate(nix, eval_store, stand_ins, machine.directory, attribute, "--impure", check=False)
    assert f"{machine.directory}/secrets.nix does not exist" in gone.stderr


ODD = ["o'\"ann", "$USER", "${user}", "$${user}", "''${user}''", "Jörg 日本 🦊", "back\\slash", "-rf", "a b", "@HOME@",
       "default", "`id`"]  # fmt: skip


def test_odd_names_mean_themselves(root, nix, stand_ins, eval_store):
    # One evaluation for all: each name is user and host of one of several machines.
    machine = FreshMachine(root)
    for name in ODD:
        machine.offline("--multi-host", f"--server=http://s:1/{name.replace(' ', '')}", user=name, host=name)
    homes = evaluate(nix, eval_store, stand_ins, machine.directory, "homeConfigurations",
                     apply=f"homes: ({SUMMARY}) (removeAttrs homes [ \"\" \"default\" ])")  # fmt: skip
    for name in ODD:
        home = homes[f"{name}@{name}"]
        assert home["username"] == name
        assert home["homeDirectory"] == f"/home/{name}"
        assert home["address"] == f"http://s:1/{name.replace(' ', '')}"
        if name != "default":
            assert homes[name] == home


@pytest.mark.parametrize("name", ODD)
def test_odd_names_of_one_machine(root, stand_ins, eval_store, name):
    machine = FreshMachine(root)
    machine.directory = root / "odd '\"${dir}"
    machine.offline(user=name, host=name)
    # Its outputs, called as Nix does; flake references of Nix 2.8 cannot name such a directory. The
    # secrets stay there, so they are found by the path that the flake has of them.
    for file in ("flake.nix", "home.nix"):
        (root / file).write_text(machine.read(file))
    homes = json.loads(eval_store.run("nix", "eval", "--impure", "--json", "--expr", f"""
      let
        nixpkgs = (import {stand_ins.directory}/nixpkgs/flake.nix).outputs {{ self = null; }};
        call = name: (import ({stand_ins.directory} + "/${{name}}/flake.nix")).outputs {{ self = null; inherit nixpkgs; }};
        inputs = {{ inherit nixpkgs; }} // builtins.listToAttrs (map (name: {{ inherit name; value = call name; }})
          [ "home-manager" "atuin-bootstrap" "nix-terminal" ]);
      in ({SUMMARY}) ((import {root}/flake.nix).outputs inputs).homeConfigurations"""))
    assert set(homes) == {"", "default", name, f"{name}@{name}"}
    assert homes["default"]["username"] == name and homes["default"]["publicKey"] == KEY


def test_several_machines(machine, nix, stand_ins, eval_store):
    machine.offline("--multi-host")
    assert machine.names() == [".gitignore", "flake.nix", "hosts/new-laptop/home.nix", "hosts/new-laptop/host.nix",
                               "secrets/new-laptop.nix"]  # fmt: skip
    flake = machine.read("flake.nix")
    machine.offline("--multi-host", "--template", "desktop", "--system", "aarch64-linux", host="desktop.example.org")
    assert machine.read("flake.nix") == flake
    homes = evaluate(nix, eval_store, stand_ins, machine.directory, "homeConfigurations",
                     apply=f"homes: ({SUMMARY}) (removeAttrs homes [ \"\" \"default\" \"ann\" ])")  # fmt: skip
    assert set(homes) == {"ann@new-laptop", "ann@desktop", "ann@desktop.example.org"}
    assert homes["ann@desktop"]["modules"] == ["default", "desktop", "terminal"]
    assert homes["ann@desktop"]["system"] == "aarch64-linux"
    # Both machines' secrets are here, so neither is the default.
    attribute = "homeConfigurations.default.config.home.username"
    unclear = evaluate(nix, eval_store, stand_ins, machine.directory, attribute, check=False)
    assert "several machines match; name one of ann@desktop.example.org, ann@new-laptop" in unclear.stderr
    (machine.directory / "secrets/new-laptop.nix").unlink()
    system = "homeConfigurations.default.pkgs.system"
    assert evaluate(nix, eval_store, stand_ins, machine.directory, system) == "aarch64-linux"


def test_several_machines_in_git(machine, nix, stand_ins, eval_store):
    subprocess.run(["git", "init", "-q", machine.directory], check=True)
    for host in ("new-laptop", "desktop"):
        machine.offline("--multi-host", host=host)
    subprocess.run(["git", "add", "."], check=True, cwd=machine.directory)
    (machine.directory / "secrets/desktop.nix").unlink()
    attribute = "homeConfigurations.default.config.services.bootstrap-services.tailscale.authKeyFile"
    pure = evaluate(nix, eval_store, stand_ins, machine.directory, attribute, check=False)
    assert "home-manager switch --impure --flake .#default" in pure.stderr
    assert evaluate(nix, eval_store, stand_ins, machine.directory, attribute, "--impure").startswith("/home/ann/")


def test_the_command_for_one_of_several_machines_works(machine, nix, stand_ins, eval_store):
    """Whichever machine it was made on, and with the secrets of others here as well."""
    for host, template in (("new-laptop", "laptop"), ("desktop.example.org", "desktop"), ("kiosk", "client")):
        command = machine.offline("--multi-host", "--template", template, host=host).stdout.splitlines()[-1]
        name = re.search(r"switch --flake '?\.#([^ ']+)", command)[1]
        attribute = f'homeConfigurations."{name.replace("@", "%40")}"'
        assert name == f"ann@{host}"
        drv = evaluate(nix, eval_store, stand_ins, machine.directory, f"{attribute}.activationPackage.drvPath")
        assert drv.endswith("-home.drv")


def test_a_client(machine, nix, stand_ins, eval_store):
    machine.offline("--template", "client")
    assert "nix-terminal" not in machine.read("flake.nix") and "syncthing" not in machine.read("secrets.nix")
    home = evaluate(nix, eval_store, stand_ins, machine.directory, "homeConfigurations.default.config")
    assert home["modules"] == ["build-client"]
    assert home["programs"]["bootstrap"]["buildServer"]["publicKey"] == KEY
    assert "atuin" not in home["programs"]["bootstrap"] and "services" not in home
