"""A machine that is configured by a flake, beside a build server: the same store directory, but a store of its own.

home-manager and nixos-rebuild are stand-ins here, as the real ones cannot be had offline. They do what matters: they
have real Nix build the flake's configuration, and make the result a generation of the profile that the real ones use.
"""

import json
import os
import pathlib
import signal
import subprocess

import pytest
from support.api import ApiServer
from support.build import Repository
from support.home import REBUILD
from support.nix import NEWER_NIX, newer_nix_missing
from support.server import BINARY, SANITIZER_REPORT, Server

NIX_PROGRAMS = ("nix", "nix-store", "nix-instantiate", "nix-env", "nix-collect-garbage")


class BuilderStore:
    """A Builder's store, as serve-cache is told of it."""

    def __init__(self, builder):
        self.store_dir = str(builder.store / "store")
        self.real_store_dir = builder.store / "store"
        self.state_dir = builder.store / "var/nix"


class Machine:
    def __init__(self, builder, cache, nix="system", name="machine"):
        if os.geteuid() != 0:
            pytest.skip("only root can give a machine another store at the same place")
        if nix == "newer" and (missing := newer_nix_missing()):
            pytest.skip(missing)
        self.builder = builder
        self.substituters = [cache.url]
        self.public_key = cache.public_key
        self.root = builder.root / name
        self.home = self.root / "home"
        self.bin = self.root / "bin"
        self.flake = self.root / "flake"
        self.settings = {"max-jobs": "1"}
        self.server = "127.0.0.1:1"
        self.record_key = cache.public_key
        self.mounts = ""
        for directory in (self.home, self.bin, self.flake, self.root / "tmp", self.root / "nix", self.root / "etc"):
            directory.mkdir(parents=True)
        if nix == "newer":
            for name in NIX_PROGRAMS:
                self.program(name, f'#!/bin/sh\nexec {NEWER_NIX} --run --bind {builder.root} '
                             f'sh -c \'cd "$1" && shift && exec "$@"\' sh "$PWD" {name} "$@"\n')  # fmt: skip
        self.program("home-manager", REBUILD)
        self.program("nixos-rebuild", REBUILD)

    def program(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def environment(self, **more):
        settings = {
            "build-users-group": "",
            "substituters": " ".join(self.substituters),
            "trusted-public-keys": self.public_key,
            "require-sigs": "true",
            "sandbox": "false",
            "flake-registry": "",
            "narinfo-cache-negative-ttl": "0",
            **self.settings,
        }
        sanitizers = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")
        return {
            **{name: os.environ[name] for name in sanitizers if name in os.environ},
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self.root / "tmp"),
            "GIT_CONFIG_SYSTEM": "/dev/null",
            "MACHINE_DIR": str(self.root),
            "NO_COLOR": "1",
            "NIXBUILD_CONFIG": "/dev/null",
            "NIXBUILD_SERVER": self.server,
            "NIXBUILD_CLIENT_RECORD_KEYS": self.record_key,
            "NIX_STORE_DIR": str(self.builder.store / "store"),
            "NIX_STATE_DIR": str(self.builder.store / "var/nix"),
            "NIX_LOG_DIR": str(self.builder.store / "var/log/nix"),
            "NIX_CONF_DIR": str(self.root / "etc"),
            "NIX_CONFIG": "".join(f"{name} = {value}\n" for name, value in settings.items()),
            **more,
        }

    def command(self, *words):
        """With this machine's store mounted where the server has its own."""
        script = f'mount --bind "$1" "$2" && {self.mounts or "true"} && shift 2 && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(self.root / "nix"),
                str(self.builder.store), *map(str, words)]  # fmt: skip

    def run(self, *words, code=0, directory=None, **more):
        with subprocess.Popen(self.command(*words), env=self.environment(**more), cwd=directory or self.flake, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              start_new_session=True) as process:  # fmt: skip
            try:
                output, error = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                running = subprocess.run(["ps", "-ww", "-o", "pid,ppid,etimes,wchan:24,args", "-g", str(process.pid)],
                                         capture_output=True, text=True).stdout  # fmt: skip
                sockets = subprocess.run(["ss", "-tanp"], capture_output=True, text=True).stdout
                os.killpg(process.pid, signal.SIGKILL)
                output, error = process.communicate()
                raise AssertionError(f"it does not end\n{output}\n{error}\n{running}\n{sockets}") from None
        result = subprocess.CompletedProcess(words, process.returncode, output, error)
        assert not SANITIZER_REPORT.search(result.stderr), result.stderr
        assert code is None or result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def update(self, *options, **keywords):
        return self.run(BINARY, "system-update", *options, **keywords)

    def start(self, *options, directory=None, **more):
        def heed_interrupts():
            # Background jobs of a script ignore SIGINT, and what they start inherits that.
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        return subprocess.Popen(self.command(BINARY, "system-update", *options), env=self.environment(**more),
                                cwd=directory or self.flake, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, start_new_session=True, preexec_fn=heed_interrupts)  # fmt: skip

    def nix(self, *words, **keywords):
        return self.run("nix", "--extra-experimental-features", "nix-command flakes", *words, **keywords).stdout

    def during_rebuild(self, script):
        """Shell lines for the stand-ins to begin with."""
        (self.root / "rebuild").write_text(script + "\n")

    @property
    def calls(self):
        file = self.root / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def lock_text(self):
        file = self.flake / "flake.lock"
        return file.read_text() if file.exists() else None

    def locked(self, *path):
        """The revision that an input, or an input's input, is locked to."""
        lock = json.loads(self.lock_text)

        def find(names, key=lock["root"]):
            for name in names:
                value = lock["nodes"][key]["inputs"][name]
                key = find(value) if isinstance(value, list) else value
            return key

        return lock["nodes"][find(path)]["locked"]["rev"]

    def generation(self, profile=None):
        link = profile or self.home / ".local/state/nix/profiles/home-manager"
        if not os.path.islink(link):
            return None
        return os.readlink(link.parent / os.readlink(link))


class World:
    """A server that has built `tools`, whose inputs are `nixpkgs` and `editor`, and a machine that uses it."""

    def __init__(self, builder, nix="system"):
        self.builder = builder
        self.nixpkgs = Repository(builder.root / "src-nixpkgs", self.nixpkgs_files(1))
        self.editor = Repository(builder.root / "src-editor", {"flake.nix": '{ outputs = { self }: { v = "e1"; }; }'})
        self.other = Repository(builder.root / "src-other", {"flake.nix": '{ outputs = { self }: { v = "o1"; }; }'})
        self.tools = Repository(builder.root / "src-tools", self.tools_files(1))
        builder.add("tools", self.tools.path)
        # The servers' own store exists from the first build on.
        builder.run("tools")
        # In the state of the API, whose builds it signs.
        self.cache = Server(BuilderStore(builder), builder.state)
        self.cache.start()
        self.api = ApiServer(builder)
        self.api.start()
        self.machine = Machine(builder, self.cache, nix)
        self.machine.server = f"127.0.0.1:{self.api.port}"
        (self.machine.flake / "flake.nix").write_text(self.machine_flake())

    def stop(self):
        self.api.stop()
        self.cache.stop()

    @staticmethod
    def nixpkgs_files(version):
        return {"flake.nix": """{ outputs = { self }: {
            version = "%d.0";
            mk = name: script: derivation {
              inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" script ]; PATH = "/usr/bin:/bin";
            };
          }; }""" % version}  # fmt: skip

    def tools_files(self, version):
        return {"flake.nix": f"""{{
            inputs.nixpkgs.url = "git+file://{self.nixpkgs.path}";
            inputs.editor.url = "git+file://{self.editor.path}";
            outputs = {{ self, nixpkgs, editor }}: {{
              packages.x86_64-linux = rec {{
                library = nixpkgs.mk "library-${{nixpkgs.version}}" "echo ${{editor.v}} > $out";
                tool = nixpkgs.mk "tool-{version}.0" "echo ${{library}} > $out";
              }};
            }};
          }}"""}  # fmt: skip

    def machine_flake(self, extra=""):
        return f"""{{
            inputs.nixpkgs.url = "git+file://{self.nixpkgs.path}";
            inputs.other.url = "git+file://{self.other.path}";
            inputs.tools.url = "git+file://{self.tools.path}";
            inputs.tools.inputs.nixpkgs.follows = "nixpkgs";
            outputs = {{ self, nixpkgs, tools, other }}: {{
              homeConfigurations.root.activationPackage = tools.packages.x86_64-linux.tool;
              {extra}
            }};
          }}"""

    def build(self):
        """The server builds what there is; returns the revisions that it has built with."""
        self.api.post("/build/trigger")
        assert self.api.wait_until_done("tools")["last_status"] == "success"
        return {"tools": self.tools.head(), "nixpkgs": self.nixpkgs.head(), "editor": self.editor.head()}

    def move_on(self, version):
        """Upstream goes on, and nobody has built it."""
        self.nixpkgs.commit(self.nixpkgs_files(version))
        self.editor.commit({"flake.nix": '{ outputs = { self }: { v = "e%d"; }; }' % version})
        self.other.commit({"flake.nix": '{ outputs = { self }: { v = "o%d"; }; }' % version})
        self.tools.commit(self.tools_files(version))
