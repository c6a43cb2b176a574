"""Generated home configurations, evaluated by real Nix with stand-ins of our own for their inputs.

The stand-in of home-manager calls each module and merges what they say, attribute set by attribute
set; the other inputs offer modules that leave their name.
"""

import json
import os
import pathlib
import stat

INPUTS = {
    "nixpkgs": """{
      outputs = { self }: {
        legacyPackages = builtins.listToAttrs (map (system: { name = system; value = { inherit system; }; })
          [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" ]);
      };
    }""",
    "home-manager": """{
      inputs.nixpkgs.url = "path:/nowhere";
      outputs = { self, nixpkgs }: {
        lib.homeManagerConfiguration = { pkgs, modules, extraSpecialArgs ? { } }:
          let
            merge = a: b: if builtins.isAttrs a && builtins.isAttrs b
              then a // builtins.mapAttrs (name: value: if a ? ${name} then merge a.${name} value else value) b
              else if builtins.isList a && builtins.isList b then a ++ b
              else b;
            load = module: if builtins.isAttrs module || builtins.isFunction module then module else import module;
            call = module: let loaded = load module; in
              if builtins.isFunction loaded then loaded (extraSpecialArgs // { inherit pkgs config; lib = { }; }) else loaded;
            collect = module: let said = call module; in
              builtins.concatLists (map collect (said.imports or [ ])) ++ [ (removeAttrs said [ "imports" ]) ];
            config = builtins.foldl' merge { } (builtins.concatLists (map collect modules));
          in {
            inherit config pkgs;
            activationPackage = derivation {
              name = "home"; system = pkgs.system; builder = "/bin/sh";
              args = [ "-c" "echo $home > $out" ]; home = builtins.toJSON { inherit (config) home programs; };
            };
          };
      };
    }""",
    "atuin-bootstrap": """{
      inputs.nixpkgs.url = "path:/nowhere";
      outputs = { self, nixpkgs }: {
        homeManagerModules = builtins.listToAttrs (map (name: { inherit name; value = { modules = [ name ]; }; })
          [ "default" "laptop" "desktop" "server" "build-client" ]);
      };
    }""",
    "nix-terminal": """{
      inputs.nixpkgs.url = "path:/nowhere";
      outputs = { self, nixpkgs }: { homeManagerModules.terminal = { modules = [ "terminal" ]; }; };
    }""",
}  # fmt: skip


# In place of home-manager and nixos-rebuild, as which it is called. Real Nix builds the flake's configuration and makes
# it a generation of the profile that the real ones use.
REBUILD = r"""#!/bin/sh
# A stand-in for the program of this name.
echo "$(basename "$0") $*" >> "$MACHINE_DIR/calls"
[ ! -e "$MACHINE_DIR/rebuild" ] || . "$MACHINE_DIR/rebuild"
shift 2
name=${1#.#}
shift
case $0 in
  *home-manager) attribute="homeConfigurations.\"$name\".activationPackage"
                 profile=$HOME/.local/state/nix/profiles/home-manager ;;
  *) attribute="nixosConfigurations.\"$name\".config.system.build.toplevel"
     profile=$NIX_STATE_DIR/profiles/system ;;
esac
nix --extra-experimental-features 'nix-command flakes' build --out-link "$TMPDIR/result" ".#$attribute" "$@" || exit 1
mkdir -p "$(dirname "$profile")"
nix-env --profile "$profile" --set "$(readlink "$TMPDIR/result")"
rm "$TMPDIR/result"
"""


class StandIns:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        for name, text in INPUTS.items():
            (self.directory / name).mkdir(parents=True)
            (self.directory / name / "flake.nix").write_text(text)

    @property
    def options(self):
        overrides = [("--override-input", name, f"path:{self.directory / name}") for name in INPUTS]
        return [word for override in overrides for word in override] + ["--no-write-lock-file"]


def evaluate(nix, store, stand_ins, directory, attribute, *options, apply=None, check=True):
    """`nix eval --json .#ATTRIBUTE` in the directory."""
    apply = ["--apply", apply] if apply else []
    # Git refuses what belongs to others than root when it runs as root, and the other way round.
    environment = {**store.environment(), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
                   "GIT_CONFIG_VALUE_0": "*", "PWD": str(directory)}  # fmt: skip
    words = ["nix", "eval", "--json", f".#{attribute}", *stand_ins.options, *apply, *options]
    if nix.name != "system":
        words = ["sh", "-c", 'cd "$0" && exec "$@"', directory, *words]
    result = nix.run(words, environment, check=check, cwd=directory)
    return json.loads(result.stdout) if check else result


def stand_in_command(directory, name, script):
    """A command of this name that does what the shell script says; the directory is for PATH."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return directory


def mode(file):
    return stat.S_IMODE(os.stat(file).st_mode)
