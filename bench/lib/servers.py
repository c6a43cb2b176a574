"""The servers that are measured: nixbuild's and, as their peers, nginx and FastAPI's. All on
loopback."""

import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time


class ServerFailed(RuntimeError):
    """A server did not start, or did not live."""


def _end_with_parent():
    """A server must not outlive the benchmark, whatever ends it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class Server:
    """A running server: `port`, `pids` of it and its workers, stop()."""

    def __init__(self, name, command, log, environment):
        self.name = name
        self.log = pathlib.Path(log)
        self.port = 0
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                preexec_fn=_end_with_parent,
            )

    @property
    def pids(self):
        main = self.process.pid
        children = pathlib.Path(f"/proc/{main}/task/{main}/children").read_text("ascii")
        return [main] + [int(pid) for pid in children.split()]

    def wait_for(self, ready, seconds=20.0):
        """Waits until ready() is true."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise ServerFailed(f"{self.name} ended at its start:\n{self._log_text()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerFailed(f"{self.name} did not start:\n{self._log_text()}")
            time.sleep(0.01)

    def _log_text(self):
        return self.log.read_text("utf-8", errors="replace")[-4000:]

    def wait_until_listening(self):
        """Waits for the line that tells nixbuild's port, and takes it."""

        def ready():
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self._log_text())
            if found:
                self.port = int(found[1])
            return bool(found)

        self.wait_for(ready)

    def wait_until_connecting(self, port):
        """Waits until `port` takes connections, and takes it for the server's."""

        def ready():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        self.port = port
        self.wait_for(ready)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def start_nixbuild(lab, store, state=None, arguments=(), program=None):
    """serve-cache over `store`, with lab.threads threads and the default compression level. `program`:
    another build of nixbuild than the one that is measured."""
    state = pathlib.Path(state) if state else lab.new_directory("state")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NIX")}
    # An empty file instead of what this machine and user have configured.
    environment["NIXBUILD_CONFIG"] = str(lab.empty_config)
    command = [
        program or lab.binary, "serve-cache",
        "--listen", "127.0.0.1:0",
        "--state-dir", state,
        "--secret-key-file", lab.secret_key,
        "--real-store-dir", store.real_store_dir,
        "--nix-state-dir", store.nix_state_dir,
        "--threads", str(lab.threads),
        "--compression", "zstd",
        "--compression-level", str(lab.compression_level),
        *arguments,
    ]  # fmt: skip
    server = Server("nixbuild serve-cache", command, lab.new_file("nixbuild.log"), environment)
    server.wait_until_listening()
    return server


def start_api(lab, state, repository, environment, program=None):
    """serve-api over the state directory `state`, building `repository`, NAME=URL."""
    command = [
        program or lab.binary, "serve-api",
        "--listen", "127.0.0.1:0",
        "--state-dir", state,
        "--runner", "local",
        "--repository", repository,
    ]  # fmt: skip
    server = Server("nixbuild serve-api", command, lab.new_file("nixbuild-api.log"), environment)
    server.wait_until_listening()
    return server


def start_fastapi(lab, status_file):
    """The server of seed_api.py under Uvicorn, with one worker, telling what is in `status_file`."""
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "seed_api:app",
        "--app-dir", pathlib.Path(__file__).resolve().parent,
        "--host", "127.0.0.1",
        "--port", str(port),
        "--no-access-log",
        "--log-level", "warning",
    ]  # fmt: skip
    environment = {**os.environ, "STATUS_FILE": str(status_file)}
    server = Server("uvicorn", command, lab.new_file("uvicorn.log"), environment)
    server.wait_until_connecting(port)
    return server


NGINX_CONFIG = """\
{user}
daemon off;
pid {work}/pid;
error_log stderr error;
worker_processes {workers};
worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  log_not_found off;
  sendfile on;
  tcp_nopush {nopush};
  keepalive_requests 1000000000;
  keepalive_timeout 600;
  default_type application/octet-stream;
  types {{ text/x-nix-narinfo narinfo; application/x-nix-nar nar; }}
  {file_cache}
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  server {{
    listen 127.0.0.1:{port} reuseport;
    server_name localhost;
    root {root};
  }}
}}
"""

FILE_CACHE = """\
open_file_cache max=10000 inactive=600s;
  open_file_cache_valid 600s;
  open_file_cache_errors on;"""


def start_nginx(lab, root, file_cache=False, nopush=False):
    """nginx serving the directory `root`, with as many worker processes as we have threads.

    `file_cache`: open files are kept and trusted for ten minutes, which spares nginx looking at the
    disk. `nopush`: heads and bodies share packets, which is for large files.
    """
    work = lab.new_directory("nginx")
    port = free_port()
    config = work / "nginx.conf"
    config.write_text(
        NGINX_CONFIG.format(
            # Root's files are in a directory that nobody else can read.
            user="user root root;" if os.geteuid() == 0 else "",
            work=work,
            workers=lab.threads,
            nopush="on" if nopush else "off",
            file_cache=FILE_CACHE if file_cache else "",
            port=port,
            root=root,
        ),
        "utf-8",
    )
    command = ["nginx", "-p", work, "-c", config, "-e", "stderr"]
    server = Server("nginx", command, work / "log", dict(os.environ))
    server.wait_until_connecting(port)
    return server


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
