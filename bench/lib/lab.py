"""Where a run of tools/bench takes place: a temporary directory, the sizes of things, and the data
that several benchmarks share, made when first asked for."""

import functools
import itertools
import os
import pathlib
import shutil
import subprocess

from lib import load, servers, stores
from lib.measure import say

GIB = 1 << 30
MIB = 1 << 20

NIX_CONFIG = """\
experimental-features = nix-command flakes
build-users-group =
sandbox = false
substituters =
"""


class Lab:
    """`quick`: a tenth of the data and short rounds, to see that all works; not for figures to keep."""

    def __init__(self, directory, binary, earlier, quick):
        self.directory = pathlib.Path(directory)
        self.binary = pathlib.Path(binary).resolve()
        self.earlier = earlier and pathlib.Path(earlier).resolve()
        self.quick = quick
        self.threads = len(os.sched_getaffinity(0))
        self.compression_level = 3
        self.rounds = 3 if quick else 5
        self.seconds = 2 if quick else 5  # a run of wrk
        self.large = 128 * MIB if quick else GIB
        self.size_text = "128 MiB" if quick else "1 GiB"
        self.small_files = 5_000 if quick else 50_000
        self.closure_paths = 100 if quick else 500
        self.database_sizes = (1_000, 100_000) if quick else (1_000, 1_000_000)
        self.slow_downloads = 256
        self._numbers = itertools.count()
        self.empty_config = self.new_file("config.toml")
        self.empty_config.touch()
        self.nix_environment = self._make_nix_environment()
        self.secret_key = self.new_file("key")
        key = self._nix_key("generate-secret", "--key-name", "bench-1")
        self.secret_key.touch(mode=0o600)
        self.secret_key.write_text(key, "ascii")
        self.public_key = self._nix_key("convert-secret-to-public", input=key).strip()

    def _nix_key(self, *arguments, **options):
        run = subprocess.run(
            ["nix", "key", *arguments], env=self.nix_environment, stdout=subprocess.PIPE,
            text=True, check=True, **options,
        )  # fmt: skip
        return run.stdout

    def new_file(self, name):
        """A path of its own for a file."""
        return self.directory / f"{next(self._numbers)}-{name}"

    def new_directory(self, name):
        path = self.new_file(name)
        path.mkdir()
        return path

    def new_seed(self):
        """A number for wrk.lua's `absent`, never the same twice."""
        return next(self._numbers) * 7_919

    def _make_nix_environment(self):
        """An environment in which Nix knows nothing of this machine's and this user's settings."""
        home = self.new_directory("home")
        (home / "nix.conf").write_text(NIX_CONFIG, "ascii")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NIX")}
        environment.update(HOME=str(home), NIX_CONF_DIR=str(home), LC_ALL="C.UTF-8")
        # Stores have directories of their own; Nix looks here at its start all the same.
        environment.update(NIX_STATE_DIR=str(home / "state"), NIX_LOG_DIR=str(home / "log"))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            environment.pop(name, None)
        return environment

    def run_nix(self, command, environment=None):
        """Runs a command of Nix, silently; throws RuntimeError with what it said when it fails."""
        run = subprocess.run(
            command, env=environment or self.nix_environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if run.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}:\n{run.stdout[-4000:]}")

    def new_store(self, name):
        return stores.Store(self.new_directory(name), self.nix_environment)

    @functools.cached_property
    def store(self):
        """The store that holds large_file, large_tree and small_tree."""
        return self.new_store("store")

    def _added(self, name, make):
        say(f"making {name}")
        path = self.new_directory("made") / name
        make(path)
        added = self.store.add(path)
        remove_tree(path)
        return added

    @functools.cached_property
    def large_file(self):
        return self._added("large-file", lambda path: stores.make_file(path, self.large))

    @functools.cached_property
    def large_tree(self):
        return self._added("large-tree", lambda path: stores.make_tree(path, self.large))

    @functools.cached_property
    def small_tree(self):
        chance = stores.seeded("small files")
        return self._added(
            "small-tree", lambda path: stores.make_small_files(path, self.small_files, chance)
        )

    def dump(self, path):
        """The NAR of a StorePath as a file in a directory of its own."""
        target = self.new_directory("nar") / "path.nar"
        with open(target, "wb") as out:
            subprocess.run(["nix-store", "--dump", path.real], stdout=out, check=True)
        return target

    @functools.cached_property
    def small_database(self):
        return self.make_database(self.database_sizes[0])

    @functools.cached_property
    def large_database(self):
        return self.make_database(self.database_sizes[1])

    def make_database(self, count):
        """(store, hash parts) of a store whose database lists `count` paths without files."""
        say(f"making a database of {count} paths")
        store = self.new_store(f"database-{count}")
        return store, stores.fill_database(store, count, stores.seeded(f"database {count}"))

    def path_list(self, hash_parts):
        """A file for wrk.lua: the narinfos of these paths."""
        target = self.new_file("paths")
        target.write_text("".join(f"/{part}.narinfo\n" for part in hash_parts), "ascii")
        return target

    def start_nixbuild(self, store, state=None, arguments=(), program=None):
        return servers.start_nixbuild(self, store, state, arguments, program)

    def start_api(self, state, repository, environment, program=None):
        return servers.start_api(self, state, repository, environment, program)

    def start_fastapi(self, status_file):
        return servers.start_fastapi(self, status_file)

    def start_nginx(self, root, **options):
        return servers.start_nginx(self, root, **options)

    def check_nar(self, port, path, suffix="", through=()):
        """Throws WrongAnswer unless the server at `port` sends the NAR of `path` as it is."""
        got = load.sha256_of(port, path.nar(suffix), through)
        if got != stores.nar_sha256(path.real):
            raise load.WrongAnswer(f"{path.nar(suffix)}: not the NAR of {path.real}")


def remove_tree(path):
    """Removes a file or directory, also what Nix has made read-only."""
    path = pathlib.Path(path)
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for directory, _, _ in os.walk(path):
        os.chmod(directory, 0o700)
    shutil.rmtree(path)
