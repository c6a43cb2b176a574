"""Load: what raw HTTP clients are to get, and the processes that they run in (see support/clients.py)."""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

LAB = pathlib.Path(__file__).resolve().parents[1]
ADDRESS = {"host": "100.64.0.1", "port": 5000}


class Clients:
    """A process in the machine's network; at the end of the `with` it is gone, and `result` is what it said."""

    def __init__(self, machine, mode, **what):
        # Ten thousand connections are more than a process may have as it comes.
        limit = ["prlimit", "--nofile=20000:20000"]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", machine.name, *limit, sys.executable, "-B", "-m", "support.clients", mode],
            cwd=LAB, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.process.stdin.write(json.dumps({**ADDRESS, **what}) + "\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def line(self):
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return line.strip()

    def stop(self):
        self.process.terminate()

    def result(self, timeout=120):
        out, error = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, error
        return json.loads(out.splitlines()[-1])


def wants(server, paths):
    """What clients ask for of each path, and what is right: from the server's own Nix, not from its cache.

    Of what is compressed, the bytes that came first count, once they have been unpacked to the NAR's hash.
    """
    found = []
    for path in paths:
        nar_hash = server.run("nix-store", "--query", "--hash", path).stdout.strip()
        digits = nar_hash.removeprefix("sha256:")
        nar_sha256 = server.run("nix-hash", "--type", "sha256", "--to-base16", digits).stdout.strip()
        narinfo_url = f"/{pathlib.PurePath(path).name[:32]}.narinfo"
        url = "/" + re.search(r"^URL: (\S+)$", fetch(server, narinfo_url).decode(), re.MULTILINE)[1]
        packed = fetch(server, url)
        nar = subprocess.run(["zstd", "--decompress", "--stdout"], input=packed, capture_output=True, check=True).stdout
        assert hashlib.sha256(nar).hexdigest() == nar_sha256, path
        narinfo = dict(line.split(": ", 1) for line in fetch(server, narinfo_url).decode().splitlines())
        sha256 = hashlib.sha256(packed).hexdigest()
        found += [
            {"url": narinfo_url, "store_path": path, "nar_hash": nar_hash, "signature": narinfo["Sig"],
             "file_hash": "sha256:" + server.run("nix-hash", "--type", "sha256", "--to-base32", sha256).stdout.strip()},
            {"url": url, "sha256": sha256, "size": len(packed)},
            {"url": f"/nar/{digits}.nar", "sha256": nar_sha256, "size": len(nar)},
        ]  # fmt: skip
    return found


def fetch(server, url, port=5000):
    """As somebody on the server gets it."""
    command = server.machine.command("curl", "--silent", "--show-error", "--fail", f"http://127.0.0.1:{port}{url}")
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def metric(server, name, service="cache"):
    """The sum of what the service's /metrics says under this name."""
    lines = fetch(server, "/metrics", {"cache": 5000, "api": 8000}[service]).decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[{{ ]", line))
