"""A build server's state for the benchmarks of the API: a git repository, a Nix store, builds."""

import json
import os
import subprocess

# `mk NAME SCRIPT`: a derivation that a shell builds.
FLAKE = """\
{{
  outputs = {{ self }}: let
    mk = name: script: derivation {{
      inherit name; system = builtins.head (builtins.attrNames self.packages);
      builder = "/bin/sh"; args = [ "-c" script ]; PATH = "/usr/bin:/bin";
    }};
  in {{
    packages.{system} = {{ {packages} }};
  }};
}}
"""

IDENTITY = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")


class BuildServer:
    """The state directory and store of a build server with one repository, `demo`."""

    name = "demo"

    def __init__(self, lab, packages, program=None):
        """`packages`: name → what `sh` builds it with. `program`: another build of nixbuild."""
        self.lab = lab
        self.program = program or lab.binary
        root = lab.new_directory("build-server")
        self.state = root / "state"
        self.source = root / "source"
        self.environment = {
            key: value for key, value in lab.nix_environment.items() if not key.startswith("GIT_")
        }
        # Nix remembers there which store has what it has fetched.
        home = root / "home"
        home.mkdir()
        self.environment.update(
            HOME=str(home),
            NIXBUILD_CONFIG=str(lab.empty_config),
            NIXBUILD_STATE_DIR=str(self.state),
            NIX_STORE_DIR=str(root / "store"),
            NIX_STATE_DIR=str(root / "var/nix"),
            NIX_LOG_DIR=str(root / "var/log/nix"),
            GIT_CONFIG_GLOBAL=os.devnull,
            GIT_CONFIG_NOSYSTEM="1",
        )
        system = self.run("nix-instantiate", "--eval", "--json", "--expr", "builtins.currentSystem")
        lines = " ".join(
            f"{name} = mk {json.dumps(name)} ''{script}'';" for name, script in packages.items()
        )
        self.source.mkdir()
        (self.source / "flake.nix").write_text(
            FLAKE.format(system=json.loads(system), packages=lines), "utf-8"
        )
        self.run("git", "init", "--quiet", "--initial-branch", "main", self.source)
        self.run("git", "-C", self.source, "add", "--all")
        self.run("git", "-C", self.source, *IDENTITY, "commit", "--quiet", "--message", "A flake")

    @property
    def repository(self):
        """As --repository takes it."""
        return f"{self.name}={self.source}"

    def run(self, *command, directory=None):
        """What a command prints, run as the build server would. Throws RuntimeError when it fails."""
        run = subprocess.run(
            command, env=self.environment, cwd=directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if run.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}:\n{run.stderr[-4000:]}")
        return run.stdout

    def build(self):
        """A build by hand."""
        self.run(self.program, "run-build", self.name, "--repository", self.repository)

    def log(self, build):
        """The log of build number `build`."""
        return self.state / "logs" / self.name / f"{build}.log"

    def start_api(self):
        return self.lab.start_api(self.state, self.repository, self.environment, self.program)
