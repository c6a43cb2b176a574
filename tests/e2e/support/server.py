"""A running server of nixbuild's; `nixbuild serve-cache` as one."""

import os
import pathlib
import re
import socket
import subprocess
import threading
import time

from support.nix import SOURCE, base_environment

BINARY = pathlib.Path(os.environ.get("NIXBUILD_BINARY", SOURCE / "build/release/src/cli/nixbuild"))
SANITIZER_REPORT = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:")


def program(*arguments, **options):
    """Runs nixbuild to its end."""
    options.setdefault("timeout", 60)
    return subprocess.run(
        [str(BINARY), *map(str, arguments)],
        env={**program_environment(), **options.pop("environment", {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        **options,
    )


def program_environment():
    sanitizers = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")
    # No configuration of the machine's or the user's takes part.
    return {
        **base_environment(),
        **{name: os.environ[name] for name in sanitizers if name in os.environ},
        "NIXBUILD_CONFIG": "/dev/null",
        "HOME": "/nonexistent",
    }


class ServerProcess:
    """A server command that runs: its log, its port, its end."""

    def __init__(self):
        self.process = None
        self.port = None
        self.log = []
        self._reader = None

    def __enter__(self):
        return self.start()

    def __exit__(self, error, *_):
        if error is None and self.process is not None:
            assert self.alive(), f"it ended by itself:\n{self.log_text()}"
            self.stop()
        else:
            self.kill()

    def start_process(self, command, environment):
        self.log = []
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        listening = threading.Event()
        self._reader = threading.Thread(target=self._read_log, args=(self.process, listening), daemon=True)
        self._reader.start()
        if not listening.wait(30) or not self.port or self.process.poll() is not None:
            self.kill()
            raise AssertionError(f"it does not serve:\n{self.log_text()}")
        return self

    def _read_log(self, process, listening):
        for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            self.log.append(line)
            if match := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(match[1])
                listening.set()
        listening.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def log_text(self):
        return "\n".join(self.log)

    def wait_for_log(self, pattern, timeout=10):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for line in list(self.log):
                if re.search(pattern, line):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no line like {pattern!r} in the log:\n{self.log_text()}")

    def wait_until_closed(self, timeout=10):
        """Until it accepts no connections any more; those it has may go on."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with socket.socket() as connection:
                if connection.connect_ex(("127.0.0.1", self.port)) != 0:
                    return
            time.sleep(0.02)
        raise AssertionError(f"it still accepts connections:\n{self.log_text()}")

    def stop(self, seconds=30):
        """SIGTERM: it ends by itself, in order. Returns how long that took."""
        if self.process is None:
            return 0
        begin = time.monotonic()
        self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not end on SIGTERM:\n{self.log_text()}") from None
        took = time.monotonic() - begin
        self._reader.join(5)
        self.process = None
        assert code == 0, f"exit code {code}:\n{self.log_text()}"
        self.check_log()
        return took

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._reader.join(5)
            self.process = None

    def check_log(self):
        assert not SANITIZER_REPORT.search(self.log_text()), self.log_text()

    def alive(self):
        return self.process is not None and self.process.poll() is None


class Server(ServerProcess):
    def __init__(self, store, state_dir, *options, user=None, listen="127.0.0.1:0", binary=BINARY):
        super().__init__()
        self.store = store
        self.state_dir = pathlib.Path(state_dir)
        self.options = [str(option) for option in options]
        self.user = user
        self.listen = listen
        self.binary = binary
        self.command_prefix = []

    def command(self):
        drop = self.command_prefix
        if self.user:
            drop = [*drop, "setpriv", "--reuid", self.user, "--regid", "nogroup", "--clear-groups", "--"]
        return drop + [
            str(self.binary), "serve-cache",
            "--listen", self.listen,
            "--state-dir", str(self.state_dir),
            "--store-dir", self.store.store_dir,
            "--real-store-dir", str(self.store.real_store_dir),
            "--nix-state-dir", str(self.store.state_dir),
            *self.options,
        ]  # fmt: skip

    def start(self):
        self.start_process(self.command(), program_environment())
        # From now on the same port: a restart must be found by those who know the address.
        self.listen = f"127.0.0.1:{self.port}"
        return self

    @property
    def nar_cache(self):
        return self.state_dir / "nar-cache"

    @property
    def public_key(self):
        return (self.state_dir / "cache-key.pub").read_text().strip()
