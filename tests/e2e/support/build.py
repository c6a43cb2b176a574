"""A build server without its API: git repositories with flakes, a Nix store of its own, and run-build."""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import time

import pytest

from support.server import BINARY, SANITIZER_REPORT

SOURCE = pathlib.Path(__file__).resolve().parents[3]
NEWER_NIX = SOURCE / "tools/newer-nix"

# `mk NAME SCRIPT`: a derivation that a shell builds.
MK = """
  mk = name: script: derivation {
    inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" script ];
    PATH = "/usr/bin:/bin";
  };
"""


def flake(outputs, inputs="", arguments="self, ..."):
    """A flake.nix whose outputs are `outputs`, the inside of a set, with `mk` in scope."""
    return f"{{\n  inputs = {{ {inputs} }};\n  outputs = {{ {arguments} }}@inputs: let{MK} in {{\n{outputs}\n  }};\n}}\n"


def packages(**scripts):
    scripts = {name: script.replace("''", "'''") for name, script in scripts.items()}
    return "".join(f'packages.x86_64-linux."{name}" = mk "{name}" \'\'{script}\'\';\n' for name, script in scripts.items())


def environment():
    keep = ("PATH", "LANG", "TMPDIR")
    return {name: value for name, value in os.environ.items() if name in keep}


class Repository:
    """A git repository that changes are committed to."""

    def __init__(self, path, files=None, branch="main"):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch", branch)
        if files:
            self.commit(files)

    def git(self, *arguments):
        identity = {"GIT_CONFIG_GLOBAL": "/dev/null"}
        for role in ("AUTHOR", "COMMITTER"):
            identity |= {f"GIT_{role}_NAME": "Ann", f"GIT_{role}_EMAIL": "ann@example.org"}
        result = subprocess.run(
            ["git", *arguments], cwd=self.path, env={**environment(), **identity}, check=True, capture_output=True,
            text=True,
        )  # fmt: skip
        return result.stdout.strip()

    def commit(self, files, message="A change"):
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head()

    def head(self):
        return self.git("rev-parse", "HEAD")


class Builder:
    """State directory, store and configuration; `run` builds one of its repositories."""

    def __init__(self, root, nix="system", user=None):
        self.root = pathlib.Path(root)
        self.state = self.root / "state"
        self.store = self.root / "nix"
        self.config = self.root / "config.toml"
        self.settings = ""
        self.repositories = {}
        self.user = user
        self.prefix = []
        self.path = None
        self.remote = None
        self.binary = str(BINARY)
        # Tests' flakes take inputs from here, and a newer Nix lies there. The state stays out of sight.
        self.local_inputs = [self.root, SOURCE, "/var/cache/nixbuild"]
        for directory in ("home", "etc", "tmp"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        if nix == "newer":
            self.path = self.shims()
        if user:
            self.binary = str(self.root / "nixbuild")
            shutil.copy(BINARY, self.binary)
            for path in [self.root, *self.root.iterdir()]:
                shutil.chown(path, user)
            self.prefix = ["setpriv", "--reuid", user, "--regid", "nogroup", "--clear-groups"]

    def shims(self):
        """Nix's programs as those of the newer Nix, in a directory for PATH."""
        directory = self.root / "bin"
        directory.mkdir()
        for name in ("nix", "nix-store", "nix-instantiate"):
            shim = directory / name
            shim.write_text(f'#!/bin/sh\nexec {NEWER_NIX} --run --bind {self.root} {name} "$@"\n')
            shim.chmod(0o755)
        return directory

    def environment(self):
        path = environment()["PATH"]
        return {
            **environment(),
            "PATH": f"{self.path}:{path}" if self.path else path,
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "NO_COLOR": "1",
            "GIT_CONFIG_SYSTEM": "/dev/null",
            "NIXBUILD_STATE_DIR": str(self.state),
            "NIXBUILD_CONFIG": str(self.config),
            "NIX_STORE_DIR": str(self.store / "store"),
            "NIX_STATE_DIR": str(self.store / "var/nix"),
            "NIX_LOG_DIR": str(self.store / "var/log/nix"),
            "NIX_CONF_DIR": str(self.root / "etc"),
            **({"NIX_REMOTE": self.remote} if self.remote else {}),
            **({} if isolation_is_possible() else {"NIXBUILD_BUILD_ISOLATION": "none"}),
            "NIX_CONFIG": "build-users-group =\nsubstituters =\nsandbox = false\nflake-registry =\n",
        }

    def add(self, name, url, **settings):
        self.repositories[name] = {"url": str(url), **settings}

    def command(self, *arguments):
        lines = [self.settings]
        for name, settings in self.repositories.items():
            lines.append(f'[[repository]]\nname = "{name}"')
            settings = {"local_inputs": [str(path) for path in self.local_inputs], **settings}
            lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        self.config.write_text("\n".join(lines) + "\n")
        return [*self.prefix, self.binary, *map(str, arguments)]

    def run(self, name="demo", *arguments, code=0, timeout=120, **extra):
        result = subprocess.run(
            self.command("run-build", name, *arguments), env={**self.environment(), **extra}, timeout=timeout,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert not SANITIZER_REPORT.search(result.stderr), result.stderr
        assert code is None or result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def start(self, name="demo", *arguments, prefix=(), **extra):
        """run-build in the background, in a session of its own."""
        return subprocess.Popen(
            [*prefix, *self.command("run-build", name, *arguments)], env={**self.environment(), **extra},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def nix(self, *arguments, check=True, prefix=None):
        result = subprocess.run(
            [*(self.prefix if prefix is None else prefix), *map(str, arguments)], env=self.environment(), cwd=self.root, capture_output=True,
            text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or result.returncode == 0, result.stderr
        return result.stdout.strip()

    @contextlib.contextmanager
    def daemon(self):
        """The store behind a nix-daemon of root's, as on most machines."""
        self.nix("nix-store", "--init", prefix=[])
        environment = {**self.environment(), "NIXBUILD_TEST_DAEMON_OF": "root"}
        daemon = subprocess.Popen(["nix-daemon"], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait_for((self.store / "var/nix/daemon-socket/socket").exists)
            self.remote = "daemon"
            yield daemon
        finally:
            self.remote = None
            daemon.terminate()
            daemon.wait(10)

    # What it left.

    def query(self, sql, *parameters):
        with sqlite3.connect(f"file:{self.state}/history.sqlite?mode=ro", uri=True, timeout=10) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, parameters)]

    def builds(self, name="demo"):
        return self.query("SELECT * FROM builds WHERE repository = ? ORDER BY id", name)

    def last(self, name="demo"):
        return self.builds(name)[-1]

    def targets(self, name="demo"):
        """The last build's targets by their names."""
        rows = self.query("SELECT * FROM targets WHERE build = ? ORDER BY position", self.last(name)["id"])
        return {row["name"]: row for row in rows}

    def results(self, name="demo"):
        return {target: row["result"] for target, row in self.targets(name).items()}

    def outputs(self, name="demo"):
        """Paths by "TARGET.OUTPUT" of the last build."""
        rows = self.query(
            "SELECT targets.name AS target, outputs.* FROM outputs JOIN targets ON outputs.build = targets.build "
            "AND target = targets.position WHERE outputs.build = ?", self.last(name)["id"],
        )  # fmt: skip
        return {f"{row['target']}.{row['name']}": row["path"] for row in rows}

    def content(self, target, name="demo"):
        return pathlib.Path(self.outputs(name)[f"{target}.out"]).read_text()

    def phases(self, name="demo"):
        rows = self.query("SELECT * FROM phases WHERE build = ? ORDER BY position", self.last(name)["id"])
        return [row["name"] for row in rows]

    def status(self, name="demo"):
        return json.loads((self.state / f"status/{name}.json").read_text())

    def log(self, name="demo", number=None):
        number = number or self.last(name)["id"]
        return (self.state / f"logs/{name}/{number}.log").read_bytes().decode()

    def roots(self, name="demo"):
        """Numbers of builds, and the store paths that each roots."""
        return {
            int(build.name): sorted(os.readlink(root) for root in build.iterdir())
            for build in (self.state / "gcroots" / name).iterdir()
        }

    def wait_for(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come"
            time.sleep(0.02)

    def wait_for_phase(self, phase, name="demo", process=None):
        def reached():
            assert process is None or process.poll() is None, "run-build has ended"
            try:
                return self.status(name)["phase"] == phase
            except FileNotFoundError:
                return False

        self.wait_for(reached)

    def processes(self):
        """Command lines of what still runs on behalf of this builder's directory."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                surroundings = (entry / "environ").read_bytes().decode(errors="replace")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state != "Z" and (str(self.root) in command or str(self.root) in surroundings):
                found[int(entry.name)] = command
        return found


def repository(builder, files, name="demo", **settings):
    repository = Repository(builder.root / f"src-{name}", files)
    builder.add(name, repository.path, **settings)
    return repository


GOOD = {"flake.nix": flake(packages(x="echo 1 > $out"))}
# A builder with a session of its own, as Nix gives each, that heeds no SIGTERM and has a child.
HANGS = {"flake.nix": flake(packages(x="trap '' TERM; sleep 1000 & while true; do sleep 0.2; done"))}
PHASES = ["fetch", "inputs", "evaluate", "build", "finish"]


def hang_at(builder, phase):
    """Sets up a repository whose build gets to `phase` and hangs there. Returns (source, environment)."""
    script = builder.root / "hang"
    script.write_text("#!/bin/sh\nexec sleep 1000\n")
    script.chmod(0o755)
    extra = {}
    if phase == "fetch":
        source = repository(builder, GOOD)
        builder.add("demo", "ssh://git@example.invalid/demo")
        extra["GIT_SSH_COMMAND"] = str(script)
    elif phase == "inputs":
        text = flake("", 'a.url = "git+ssh://git@example.invalid/a";')
        source = repository(builder, {"flake.nix": text})
        extra["GIT_SSH_COMMAND"] = str(script)
    elif phase == "evaluate":
        text = flake('packages.x86_64-linux.x = import (mk "slow" "sleep 1000; echo 1 > $out");')
        source = repository(builder, {"flake.nix": text})
    elif phase == "build":
        source = repository(builder, HANGS)
    elif phase == "finish":
        source = Repository(builder.root / "src-demo", {"flake.nix": flake(packages(x="echo 1 > $out"), f'a.url = "path:{builder.root}/a";')})
        (builder.root / "a").mkdir()
        (builder.root / "a/flake.nix").write_text("{ outputs = _: { }; }")
        remote = builder.root / "remote"
        subprocess.run(["git", "clone", "--quiet", "--bare", source.path, remote], check=True, capture_output=True)
        hook = remote / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nsleep 1000\n")
        hook.chmod(0o755)
        builder.add("demo", remote, push_lock=True)
    return source, extra


@functools.cache
def isolation_is_possible():
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


def without_pid_namespaces():
    """A prefix for commands: a system without namespaces, and the setting that builds need there."""
    script = 'echo 0 > /proc/sys/user/max_pid_namespaces && exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("no user namespaces here")
    return [*prefix, "env", "NIXBUILD_BUILD_ISOLATION=none"]


def make_builder(**options):
    """For fixtures: a builder in a short-named directory that every user can reach, removed afterwards."""
    root = tempfile.mkdtemp(prefix="nixbuild-")
    os.chmod(root, 0o755)
    try:
        yield Builder(root, **options)
    finally:
        remove(root)


def remove(directory):
    for path, directories, _ in os.walk(directory):
        for name in directories:
            child = os.path.join(path, name)
            if not os.path.islink(child):
                os.chmod(child, stat.S_IRWXU)
    shutil.rmtree(directory, ignore_errors=True)
