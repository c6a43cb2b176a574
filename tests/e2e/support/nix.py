"""Real Nix: the system's and, where its root directory is there, a newer one (tools/newer-nix)."""

import os
import pathlib
import socket
import subprocess
import time

SOURCE = pathlib.Path(__file__).resolve().parents[3]
NEWER_NIX = SOURCE / "tools/newer-nix"
FEATURES = "experimental-features = nix-command flakes ca-derivations\n"


class Nix:
    """One installation of Nix. `root` is the directory that its commands see at the same path."""

    def __init__(self, name, root):
        self.name = name
        self.prefix = [] if name == "system" else [str(NEWER_NIX), "--run", "--bind", str(root)]

    def run(self, arguments, environment, check=True, timeout=120, **options):
        result = subprocess.run(
            self.prefix + [str(argument) for argument in arguments],
            env={**base_environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            text=True,
            **options,
        )
        if check and result.returncode != 0:
            raise AssertionError(f"{arguments} of {self.name} Nix exited {result.returncode}:\n{result.stderr}")
        return result

    def start(self, arguments, environment, **options):
        return subprocess.Popen(
            self.prefix + [str(argument) for argument in arguments],
            env={**base_environment(), **environment},
            stdin=subprocess.DEVNULL,
            **options,
        )


def base_environment():
    keep = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE")
    return {name: value for name, value in os.environ.items() if name in keep}


def newer_nix_missing():
    """Why the newer Nix cannot be used here, or None."""
    result = subprocess.run([NEWER_NIX, "--run", "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return None if result.returncode == 0 else f"no newer Nix: {result.stderr.strip()}"


def accepts(path):
    """Whether somebody listens on this Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


class Store:
    """A Nix store that is written to: what a server serves.

    Plain: $NIX_STORE_DIR and its like point below `root`. Chroot: paths are called /nix/store/…
    and lie below `root`, as after `nix copy --to ROOT`.
    """

    def __init__(self, nix, root, chroot=False):
        self.nix = nix
        self.root = pathlib.Path(root)
        self.chroot = chroot
        self.through_daemon = False  # whether commands write by way of its nix-daemon
        if chroot:
            self.store_dir = "/nix/store"
            self.real_store_dir = self.root / "nix/store"
            self.state_dir = self.root / "nix/var/nix"
            self.log_dir = self.root / "nix/var/log/nix"
        else:
            self.store_dir = str(self.root / "store")
            self.real_store_dir = self.root / "store"
            self.state_dir = self.root / "var/nix"
            self.log_dir = self.root / "var/log/nix"
        self.database = self.state_dir / "db/db.sqlite"
        for directory in ("etc", "home"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)

    def environment(self):
        environment = {
            "HOME": str(self.root / "home"),
            "NIX_CONF_DIR": str(self.root / "etc"),
            "NIX_CONFIG": FEATURES + "build-users-group =\nsubstituters =\nconnect-timeout = 5\n",
        }
        if self.chroot:
            environment["NIX_REMOTE"] = str(self.root)
            environment["NIX_CONFIG"] += "sandbox = true\nsandbox-paths = /bin /usr /lib /lib64\n"
        else:
            environment["NIX_STORE_DIR"] = self.store_dir
            environment["NIX_STATE_DIR"] = str(self.state_dir)
            environment["NIX_LOG_DIR"] = str(self.log_dir)
            environment["NIX_REMOTE"] = "daemon" if self.through_daemon else ""
            environment["NIX_CONFIG"] += "sandbox = false\n"
        return environment

    def run(self, *arguments, **options):
        return self.nix.run(arguments, self.environment(), **options).stdout.strip()

    def real(self, store_path):
        return self.real_store_dir / os.path.basename(store_path)

    def add(self, path):
        return self.run("nix-store", "--add", path)

    def delete(self, *store_paths):
        """The daemon's process for a client that added a path may keep it alive for a moment longer."""
        deadline = time.monotonic() + 10
        command = ("nix-store", "--delete", *store_paths)
        while (result := self.nix.run(command, self.environment(), check=False)).returncode != 0:
            assert "still alive" in result.stderr and time.monotonic() < deadline, result.stderr
            time.sleep(0.05)

    def closure(self, store_path):
        return self.run("nix-store", "-q", "--requisites", store_path).splitlines()

    def start_daemon(self):
        """nix-daemon on this store's socket, as on a real server; it listens."""
        daemon = self.nix.start(["nix-daemon"], {**self.environment(), "NIX_REMOTE": ""},
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        path = self.state_dir / "daemon-socket/socket"
        deadline = time.monotonic() + 30
        while not accepts(path):
            assert daemon.poll() is None and time.monotonic() < deadline, "nix-daemon does not listen"
            time.sleep(0.02)
        return daemon


class Client:
    """An empty store of its own that substitutes from `url` with signatures required."""

    def __init__(self, nix, root, server_store, url, public_keys, **settings):
        self.nix = nix
        self.root = pathlib.Path(root)
        self.server_store = server_store
        self.url = url
        self.public_keys = public_keys
        self.settings = settings
        (self.root / "home").mkdir(parents=True, exist_ok=True)

    def environment(self):
        settings = {
            "build-users-group": "",
            "substituters": self.url,
            "trusted-public-keys": " ".join(self.public_keys),
            "require-sigs": "true",
            "fallback": "false",
            "connect-timeout": "5",
            "sandbox": "false",
            **{name.replace("_", "-"): value for name, value in self.settings.items()},
        }
        return {
            "HOME": str(self.root / "home"),
            "NIX_CONF_DIR": str(self.root / "home"),
            "NIX_STORE_DIR": self.server_store.store_dir,
            "NIX_CONFIG": FEATURES + "".join(f"{name} = {value}\n" for name, value in settings.items()),
        }

    def run(self, *arguments, **options):
        return self.nix.run(arguments, self.environment(), **options)

    def realise(self, *store_paths, **options):
        """nix-store -r: substitutes the closures of these paths, builds nothing."""
        return self.run("nix-store", "--store", self.root, "-j0", "-r", *store_paths, **options)

    def copy(self, *store_paths, **options):
        return self.run("nix", "copy", "--from", self.url, "--to", self.root, *store_paths, **options)

    def real(self, store_path):
        return self.root / "nix/store" / os.path.basename(store_path)

    def has(self, store_path):
        return self.run("nix-store", "--store", self.root, "--check-validity", store_path, check=False).returncode == 0
