"""flake.nix and nix/: evaluated by real Nix, with stand-ins for nixpkgs and Home Manager.

Real ones are used as well where NIXBUILD_NIXPKGS and NIXBUILD_HOME_MANAGER name them.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support.nix import Store
from support.server import BINARY

pytestmark = pytest.mark.once

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PARTS = ("flake.nix", "nix", "systemd", "tests/nix", "examples", "meson.build", "meson_options.txt")
NIXPKGS = "github:NixOS/nixpkgs/nixos-unstable"
HOME_MANAGER = "github:nix-community/home-manager"
BOOTSTRAP = "github:Bullish-Design/atuin-bootstrap"
PUBLIC_KEY = "build-server-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
PROFILES = ("laptop", "desktop", "server")
COMMANDS = {"build-trigger", "build-status", "build-logs", "system-update", "bootstrap-new-machine"}


class Flakes:
    """A copy of this flake that finds its inputs here, and a store to evaluate in."""

    def __init__(self, nix, root):
        self.root = root
        self.store = Store(nix, root / "store")
        self.source = root / "source"
        for part in PARTS:
            target = self.source / part
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (SOURCE / part).is_dir() else shutil.copy
            copy(SOURCE / part, target)
        self.nixpkgs = f"path:{self.source}/tests/nix/nixpkgs"
        self.home_manager = f"path:{self.source}/tests/nix/home-manager"
        self.take_inputs_from_here(self.source)
        self.take_inputs_from_here(self.source / "tests/nix/home-manager")

    def take_inputs_from_here(self, directory):
        file = directory / "flake.nix"
        text = file.read_text()
        for there, here in ((NIXPKGS, self.nixpkgs), (HOME_MANAGER, self.home_manager), (BOOTSTRAP, self.flake)):
            text = text.replace(f'"{there}"', f'"{here}"')
        file.write_text(text)

    @property
    def flake(self):
        return f"path:{self.source}"

    def run(self, *arguments, **options):
        return self.store.nix.run(["nix", *arguments], self.store.environment(), **options)

    def evaluate(self, *arguments, **options):
        return json.loads(self.run("eval", "--json", *arguments, **options).stdout)

    def output(self, attribute, expression="x: x"):
        return self.evaluate(f"{self.flake}#{attribute}", "--no-write-lock-file", "--apply", expression)

    def expression(self, text):
        return self.evaluate("--impure", "--expr", text)


@pytest.fixture
def flakes(nix, root):
    return Flakes(nix, root)


def test_every_nix_file_parses(flakes):
    files = [file for part in ("flake.nix", "nix", "tests/nix", "examples")
             for file in ([SOURCE / part] if part.endswith(".nix") else sorted((SOURCE / part).rglob("*.nix")))]
    assert len(files) > 20
    copies = []
    for number, file in enumerate(files):
        copies.append(flakes.root / f"{number}-{file.name}")
        shutil.copy(file, copies[-1])
    flakes.store.run("nix-instantiate", "--parse", *copies)


def test_flake_check(flakes):
    result = flakes.run("flake", "check", "--no-build", "--no-write-lock-file", flakes.flake)
    assert "error" not in result.stderr


def test_inputs_may_be_overridden(flakes):
    """As a user without network would type it."""
    (flakes.source / "flake.nix").write_text((SOURCE / "flake.nix").read_text())
    flakes.run("flake", "check", "--no-build", "--no-write-lock-file", "--override-input", "nixpkgs",
               flakes.nixpkgs, flakes.flake)


def test_modules(flakes):
    """tests/nix/cases.nix holds what configurations are to come out as."""
    assert flakes.expression(f"import {flakes.source}/tests/nix/failures.nix {{ }}") == {}


def test_modules_with_real_sources(system_nix, root):
    nixpkgs, home_manager = (os.environ.get(name) for name in ("NIXBUILD_NIXPKGS", "NIXBUILD_HOME_MANAGER"))
    if not (nixpkgs and home_manager):
        pytest.skip("NIXBUILD_NIXPKGS and NIXBUILD_HOME_MANAGER do not name checkouts")
    flakes = Flakes(system_nix, root)
    assert flakes.expression(
        f"import {flakes.source}/tests/nix/real.nix "
        f"{{ nixpkgs = {nixpkgs}; homeManager = {home_manager}; }}") == {}


def test_outputs(flakes):
    names = "builtins.attrNames"
    for system in ("x86_64-linux", "aarch64-linux", "aarch64-darwin"):
        assert set(flakes.output(f"packages.{system}", names)) == COMMANDS | {"default", "nixbuild"}
    assert set(flakes.output("checks.x86_64-linux", names)) >= {"nixbuild", "client", "modules", "formatting"}
    assert "client" not in flakes.output("checks.aarch64-darwin", names)
    assert flakes.output("formatter.x86_64-linux", "p: p.pname") == "nixpkgs-fmt"
    shell = flakes.output("devShells.x86_64-linux.default", "s: map (p: p.pname or p.name) (s.inputsFrom ++ s.packages)")
    assert {"nixbuild", "doctest", "nix", "python3-env"} <= set(shell)
    modules = {"default", "services", "terminal", "build-client", "atuin-bootstrap", "full", *PROFILES}
    assert set(flakes.output("homeManagerModules", names)) == modules
    assert set(flakes.output("homeModules", names)) == modules
    assert set(flakes.output("nixosModules", names)) == {"default", "build-server"}
    assert set(flakes.output("templates", names)) == set(PROFILES)


def test_package(flakes):
    def flags(system):
        return flakes.output(f"packages.{system}.nixbuild",
                             "p: { flags = p.mesonFlags; inherit (p) name doCheck; files = builtins.attrNames (builtins.readDir p.src); }")

    version = re.search(r"version: '([^']*)'", (SOURCE / "meson.build").read_text())[1]
    linux, darwin = flags("x86_64-linux"), flags("aarch64-darwin")
    assert linux["name"] == f"nixbuild-{version}"
    assert linux["files"] == ["meson.build", "meson_options.txt", "systemd", "tests"]  # of what the copy has
    assert linux["doCheck"] and "-Dtests=enabled" in linux["flags"]
    assert "-Dserver=enabled" in linux["flags"] and "-Dsystemd=enabled" in linux["flags"]
    assert "-Dserver=disabled" in darwin["flags"] and "-Dsystemd=disabled" in darwin["flags"]


def test_overlay(flakes):
    names = flakes.expression(f"""
      let
        pkgs = (import {flakes.source}/tests/nix/nixpkgs/packages.nix {{
          lib = import {flakes.source}/tests/nix/nixpkgs/lib.nix; system = "x86_64-linux";
        }}) // import {flakes.source}/nix/overlay.nix pkgs {{ }};
      in {{ nixbuild = pkgs.nixbuild.pname; scripts = builtins.attrNames pkgs.bootstrap-scripts; }}""")
    assert names["nixbuild"] == "nixbuild"
    assert set(names["scripts"]) == COMMANDS


def test_a_script_is_added_by_one_line(flakes):
    file = flakes.source / "nix/packages/default.nix"
    before, after = file.read_text().rsplit("}", 1)
    file.write_text(before + '  my-script = mkScript "my-script" "my-script.sh";\n}' + after)
    (file.parent / "my-script.sh").write_text("echo mine\n")
    script = flakes.output("packages.x86_64-linux.my-script", "p: { inherit (p) name text; inherit (p.meta) mainProgram; }")
    assert script == {"name": "my-script", "text": "echo mine\n", "mainProgram": "my-script"}


def test_scripts_are_the_commands(tmp_path):
    script = tmp_path / "build-status"
    shutil.copy(SOURCE / "nix/packages/command.sh", script)
    result = subprocess.run(["bash", script, "--help"], capture_output=True, text=True, check=True,
                            env={**os.environ, "PATH": f"{os.path.dirname(BINARY)}:{os.environ['PATH']}"})
    assert "Usage: nixbuild status" in result.stdout


def test_home_manager_has_the_aliases_of_the_program(flakes):
    printed = subprocess.run([BINARY, "aliases", "--shell", "bash"], capture_output=True, text=True, check=True,
                             env={"PATH": os.environ["PATH"], "HOME": str(flakes.root)}).stdout
    lines = re.findall(r"^alias (\S+?)='?([^'\n]*)'?$", printed, re.M)
    aliases = flakes.expression(f"""
      let
        source = {flakes.source};
        lib = import (source + "/tests/nix/nixpkgs/lib.nix");
      in (import (source + "/tests/nix/home-manager/home.nix") {{
        pkgs = import (source + "/tests/nix/nixpkgs/packages.nix") {{ inherit lib; system = "x86_64-linux"; }};
        modules = [ (source + "/nix/modules/home.nix") {{ programs.bootstrap.enable = true; }} ];
      }}).config.home.shellAliases""")
    assert len(aliases) == 5 and aliases == dict(lines)


def test_the_nixos_module_names_units_that_exist(flakes):
    units = flakes.expression(f"""
      let
        source = {flakes.source};
        lib = import (source + "/tests/nix/nixpkgs/lib.nix");
        config = (import (source + "/tests/nix/nixpkgs/nixos.nix") {{ inherit lib; }} {{
          modules = [
            (source + "/nix/modules/nixos/build-server.nix")
            {{ services.nixbuild = {{ enable = true; secretKeyFile = "/elsewhere"; }}; }}
          ];
        }}).config;
      in map (name: name + ".service.in") (builtins.attrNames config.systemd.services)
        ++ map (name: name + ".socket") (builtins.attrNames config.systemd.sockets)""")
    assert len(units) == 6
    assert [unit for unit in units if not (SOURCE / "systemd" / unit).exists()] == []


def test_templates_differ_in_the_profile_alone():
    files = {name: sorted(p.name for p in (SOURCE / "nix/templates" / name).iterdir()) for name in PROFILES}
    assert files["laptop"] == files["desktop"] == files["server"]
    for file in files["laptop"]:
        texts = {(SOURCE / "nix/templates" / name / file).read_text().replace(f".{name}\n", ".PROFILE\n") for name in PROFILES}
        assert len(texts) == 1, file


@pytest.mark.parametrize("profile", PROFILES)
def test_template(flakes, profile):
    """nix flake init -t, the example of secrets, and a home that evaluates, outside and inside git."""
    home = flakes.root / "home"
    home.mkdir()
    flakes.run("flake", "init", "-t", f"{flakes.flake}#{profile}", cwd=home)
    assert {file.name for file in home.iterdir()} == {".gitignore", "flake.nix", "home.nix", "secrets.example.nix"}
    flakes.take_inputs_from_here(home)

    def derivation(reference, *options):
        return flakes.run("eval", "--raw", *options, f"{reference}#homeConfigurations.default.activationPackage.drvPath",
                          check=False)

    without = derivation(f"path:{home}")
    assert without.returncode != 0 and "secrets.example.nix" in without.stderr
    shutil.copy(home / "secrets.example.nix", home / "secrets.nix")
    outside = derivation(f"path:{home}")
    assert outside.stdout.endswith(".drv"), outside.stderr

    subprocess.run(["git", "init", "-q", home], check=True)
    subprocess.run(["git", "-C", home, "add", "."], check=True)
    pure = flakes.run("eval", "--raw", ".#homeConfigurations.default.activationPackage.drvPath", check=False, cwd=home)
    assert pure.returncode != 0
    assert "home-manager switch --impure --flake .#default" in pure.stderr
    environment = {**flakes.store.environment(), "PWD": str(home)}
    impure = flakes.store.nix.run(
        ["nix", "eval", "--raw", "--impure", ".#homeConfigurations.default.activationPackage.drvPath"],
        environment, check=False, cwd=home)
    assert impure.stdout.endswith(".drv"), impure.stderr


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("layout", [[], ["--multi-host"]], ids=["one", "several"])
def test_what_bootstrap_writes(flakes, profile, layout):
    """With these modules, not with ones that take anything."""
    home = flakes.root / "home"
    home.mkdir()
    subprocess.run(
        [BINARY, "bootstrap", "--public-key", PUBLIC_KEY, "--template", profile, "--user", "alice", "--host", "work",
         "--system", "x86_64-linux", "--dir", home, "--bootstrap-url", flakes.flake, "--terminal-url", flakes.flake, *layout],
        check=True, capture_output=True, env={"PATH": os.environ["PATH"], "HOME": str(flakes.root)})
    flakes.take_inputs_from_here(home)
    result = flakes.evaluate(
        f"path:{home}#homeConfigurations", "--no-write-lock-file", "--apply", """homes: {
          names = builtins.attrNames homes;
          drv = homes.default.activationPackage.drvPath;
          inherit (homes.default.config.home) username;
          nix = homes.default.config.nix.settings;
          syncthing = homes.default.config.services.syncthing.enable;
          zsh = homes.default.config.programs.zsh.enable;
        }""")
    assert {"default", "alice", "alice@work", ""} <= set(result["names"])
    assert result["username"] == "alice" and result["drv"].endswith(".drv")
    # Machines that move or sleep ask their own proxy.
    asked = "http://build-server:5000" if profile == "server" else "http://127.0.0.1:5001"
    assert result["nix"]["extra-substituters"] == [asked]
    assert result["nix"]["extra-trusted-public-keys"] == [PUBLIC_KEY]
    assert result["syncthing"] is (profile != "server") and result["zsh"] is True


def test_what_bootstrap_writes_for_a_client(flakes):
    home = flakes.root / "home"
    home.mkdir()
    subprocess.run(
        [BINARY, "bootstrap", "--public-key", PUBLIC_KEY, "--template", "client", "--user", "alice", "--host", "work",
         "--system", "x86_64-linux", "--dir", home, "--bootstrap-url", flakes.flake],
        check=True, capture_output=True, env={"PATH": os.environ["PATH"], "HOME": str(flakes.root)})
    flakes.take_inputs_from_here(home)
    result = flakes.evaluate(
        f"path:{home}#homeConfigurations.default.config", "--no-write-lock-file", "--apply", """config: {
          inherit (config.nix.settings) extra-substituters extra-experimental-features;
          packages = map (p: p.pname or p.name) config.home.packages;
          others = [ config.programs.atuin.enable config.programs.zsh.enable config.programs.bash.enable
            config.services.syncthing.enable ];
        }""")
    assert result == {
        "extra-substituters": ["http://build-server:5000"], "extra-experimental-features": ["nix-command", "flakes"],
        "packages": ["nixbuild"], "others": [False, False, False, False],
    }


def test_the_files_of_one_machine(flakes):
    """hosts/laptop/home.nix and secrets/laptop.nix as the first description of the system has them."""
    directory = flakes.root / "config"
    (directory / "hosts/laptop").mkdir(parents=True)
    (directory / "secrets").mkdir()
    (directory / "hosts/laptop/home.nix").write_text("""
      { ... }:
      let secrets = import ../../secrets/laptop.nix;
      in {
        services.bootstrap-services = {
          syncthing = {
            enable = true;
            folders = {
              # Add laptop-specific folder
              photos = {
                path = "/mnt/external/photos";
                devices = [ "desktop" ];
              };
              # Override default path
              documents.path = "/custom/docs";
            };
          };

          tailscale.authKey = secrets.tailscale.authKey;
        };
      }""")
    (directory / "secrets/laptop.nix").write_text("""
      {
        syncthing = {
          deviceId = "LAPTOP-7X3Y...";
          devices = {
            desktop = "DESKTOP-2A9B...";
            server = "SERVER-4F1K...";
          };
        };

        tailscale.authKey = "tskey-auth-...";

        buildServer.publicKey = "build-server:AbCdEf...";
      }""")
    config = flakes.expression(f"""
      let
        source = {flakes.source};
        lib = import (source + "/tests/nix/nixpkgs/lib.nix");
        config = (import (source + "/tests/nix/home-manager/home.nix") {{
          pkgs = import (source + "/tests/nix/nixpkgs/packages.nix") {{ inherit lib; system = "x86_64-linux"; }};
          modules = [
            (source + "/nix/modules/default.nix")
            {directory}/hosts/laptop/home.nix
            {{
              home = {{ username = "me"; homeDirectory = "/home/me"; stateVersion = "25.05"; }};
              services.bootstrap-services.syncthing = {{
                inherit ((import {directory}/secrets/laptop.nix).syncthing) deviceId devices;
                self = "laptop";
              }};
            }}
          ];
        }}).config;
      in {{ inherit (config) warnings; folders = config.services.syncthing.settings.folders; }}""")
    assert {name: (folder["path"], folder["devices"]) for name, folder in config["folders"].items()} == {
        "documents": ("/custom/docs", ["desktop"]),
        "dotfiles": ("/home/me/.config", ["desktop", "server"]),
        "photos": ("/mnt/external/photos", ["desktop"]),
    }
    assert any("authKey is copied to the Nix store" in warning for warning in config["warnings"])
