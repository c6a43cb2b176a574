"""The commands that talk to a build server, against one that says what a test wants."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest
from support.fake_api import (
    COMMIT,
    FINISH,
    START,
    FakeApi,
    Raw,
    Reply,
    Stream,
    build,
    ended,
    event,
    progress,
    status,
)
from support.server import BINARY, SANITIZER_REPORT, program_environment

STREAM = "/build/logs/nix-terminal/stream"
FIVE = ["is_running", "last_start", "last_finish", "last_status", "last_commit"]
TRIGGERED = {
    "status": "triggered", "message": "Build triggered", "repository": "nix-terminal", "build_id": 12,
}  # fmt: skip


@pytest.fixture
def api():
    fake = FakeApi()
    yield fake
    fake.stop()


def environment(**more):
    unwanted = ("NO_COLOR", "http_proxy", "all_proxy", "NIXBUILD_SERVER")
    base = {name: value for name, value in program_environment().items() if name not in unwanted}
    return {**base, "TERM": "xterm", "USER": "ann", **more}


class Ended:
    def __init__(self, code, out, err):
        assert not SANITIZER_REPORT.search(err), err
        self.code, self.out, self.err = code, out, err


def client(api, *words, name=None, server=None, timeout=60, **more):
    """Runs one client command to its end."""
    command = [str(BINARY)] if name is None else [str(name)]
    if server is None and api is not None:
        server = api.address
    done = subprocess.run(
        command + [str(word) for word in words],
        env=environment(**({"NIXBUILD_SERVER": server} if server else {}), **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


class Running:
    """A client command that goes on."""

    def __init__(self, api, *words, **more):
        self.process = subprocess.Popen(
            [str(BINARY), *words],
            env=environment(NIXBUILD_SERVER=api.address, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out = ""
        self.err = ""

    def wait_for(self, text, seconds=20):
        """Reads both outputs until one of them has `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.out and text not in self.err:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.out!r}, {self.err!r}"
            streams = [self.process.stdout, self.process.stderr]
            for stream in select.select(streams, [], [], left)[0]:
                data = os.read(stream.fileno(), 65536).decode()
                assert data, f"ended without {text!r}: {self.out!r}, {self.err!r}"
                if stream is self.process.stdout:
                    self.out += data
                else:
                    self.err += data

    def end(self, seconds=20):
        out, err = self.process.communicate(timeout=seconds)
        return Ended(self.process.returncode, self.out + out, self.err + err)


class Terminal:
    """A client command on a terminal of 80 columns."""

    def __init__(self, api, *words, columns=80, **more):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [str(BINARY), *words],
            env=environment(NIXBUILD_SERVER=api.address, **more),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.text = ""

    def read(self, seconds):
        """False at the end."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.text += data.decode()
        return bool(data)

    def wait_for(self, text, seconds=20):
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"no {text!r} in {self.text!r}"
            assert self.read(0.1) or text in self.text, f"ended without {text!r}: {self.text!r}"

    def press(self, keys):
        os.write(self.master, keys.encode())

    def end(self, seconds=20):
        deadline = time.monotonic() + seconds
        while self.read(0.1):
            assert time.monotonic() < deadline, self.text
        os.close(self.master)
        code = self.process.wait(seconds)
        assert not SANITIZER_REPORT.search(self.text), self.text
        return code

    def screen(self):
        """What stands on the terminal: enough of a terminal for what the program sends."""
        lines, row, column = [""], 0, 0
        for piece in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[^\x1b]", self.text):
            if piece == "\n":
                row += 1
            elif piece == "\r":
                column = 0
            elif piece.endswith("A") and piece.startswith("\x1b"):
                row -= int(piece[2:-1])
            elif piece == "\x1b[J":
                lines[row] = lines[row][:column]
                del lines[row + 1 :]
            elif not piece.startswith("\x1b"):
                lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + 1 :]
                column += 1
            while len(lines) <= row:
                lines.append("")
        return [line.rstrip() for line in lines]


# What the commands say


def test_the_seeds_scenario(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    done = client(api, "trigger")
    assert (done.code, done.out, done.err) == (0, "", "✓ Build triggered successfully\n")
    assert api.requests[0][3]["X-Nixbuild-User"].startswith("ann@")

    api.answers["GET /build/status"] = status()
    done = client(api, "status")
    assert done.code == 0
    assert done.out == (
        "{\n"
        '  "is_running": true,\n'
        f'  "last_start": "{START}",\n'
        '  "last_finish": null,\n'
        '  "last_status": null,\n'
        '  "last_commit": null\n'
        "}\n"
    )
    assert done.err == "⏳ Build in progress...\n"

    api.answers["GET /build/status"] = ended()
    done = client(api, "status")
    assert (done.code, done.err) == (0, "✓ Last build succeeded\n")
    assert json.loads(done.out) == {
        "is_running": False, "last_start": START, "last_finish": FINISH, "last_status": "success",
        "last_commit": COMMIT,
    }  # fmt: skip

    api.answers["GET /build/logs"] = {"logs": ["one", "two"]}
    done = client(api, "logs")
    assert (done.code, done.out, done.err) == (0, "one\ntwo\n", "")
    assert api.requests[-1][2] == {"lines": "100"}


def test_trigger_while_a_build_runs(api):
    api.answers["POST /build/trigger/nix-terminal"] = {**TRIGGERED, "status": "already_running"}
    done = client(api, "trigger", "nix-terminal")
    assert (done.code, done.out, done.err) == (0, "", "! Build already running (#12)\n")


def test_trigger_json(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    assert json.loads(client(api, "trigger", "--json").out) == TRIGGERED


def test_status_of_other_states(api):
    api.answers["GET /build/status/nix-terminal"] = ended("failed")
    done = client(api, "status", "nix-terminal", "--json")
    assert (done.code, done.err) == (0, "✗ Last build failed: 2 targets failed\n")
    assert json.loads(done.out) == ended("failed")
    assert list(json.loads(done.out))[:5] == FIVE

    api.answers["GET /build/status/nix-terminal"] = status(phase="queued", last_start=None)
    assert client(api, "status", "nix-terminal").err == "⏳ Build in progress... (queued)\n"

    api.answers["GET /build/status/nix-terminal"] = status(
        is_running=False, last_start=None, build_id=None, phase=""
    )
    done = client(api, "status", "nix-terminal")
    assert done.code == 0 and done.err.startswith("! Never built yet")


def test_logs_lines(api):
    api.answers["GET /build/logs/r"] = {"logs": []}
    done = client(api, "logs", "r", "-n", 7)
    assert (done.code, done.out) == (0, "")
    assert api.requests[-1][2] == {"lines": "7"}
    for lines in ("0", "-1", "abc", "10001", ""):
        done = client(api, "logs", "r", "--lines", lines)
        assert done.code == 2 and "--lines" in done.err
    assert len(api.requests) == 1


def test_cancel(api):
    reply = {"status": "cancelled", "message": "m", "repository": "r", "build_id": 12}
    api.answers["POST /build/cancel/r"] = reply
    done = client(api, "cancel", "r")
    assert (done.code, done.out, done.err) == (0, "", "✓ Build #12 cancelled\n")
    assert json.loads(client(api, "cancel", "r", "--json").out) == reply
    api.answers["POST /build/cancel/r"] = {**reply, "status": "not_running", "build_id": None}
    done = client(api, "cancel", "r")
    assert (done.code, done.err) == (0, "! No build is running\n")


def test_builds(api):
    failed = build(13, state="failed", error="packages.x fails\nin two lines")
    running = build(14, state="running", finish=None, commit=None, commit_subject="", triggered_by="")
    listed = {"builds": [running, failed, build(12)], "next_before": 12}
    api.answers["GET /builds"] = listed
    done = client(api, "builds")
    assert done.code == 0
    assert done.out.splitlines() == [
        "ID  REPOSITORY    RESULT   STARTED               TOOK    COMMIT    BY          WHAT",
        f"14  nix-terminal  running  {START}  -       -         100.64.0.2  -",
        f"13  nix-terminal  failed   {START}  2m 13s  01234567  ann@laptop  packages.x fails",
        f"12  nix-terminal  success  {START}  2m 13s  01234567  ann@laptop  Add a thing",
    ]
    assert done.err == "! Older ones: --before 12\n"
    assert api.requests[-1][2] == {"limit": "20"}

    done = client(api, "builds", "nix-terminal", "--limit", 3, "--before", 15, "--json")
    assert json.loads(done.out) == listed
    assert api.requests[-1][2] == {"repository": "nix-terminal", "limit": "3", "before": "15"}
    client(api, "builds", "--repository", "2048")
    assert api.requests[-1][2] == {"repository": "2048", "limit": "20"}

    api.answers["GET /builds"] = {"builds": [], "next_before": None}
    done = client(api, "builds")
    assert (done.code, done.out, done.err) == (0, "", "! No builds\n")


def test_one_build(api):
    one = build(
        state="failed",
        error="1 of 2 targets failed",
        phases=[{"name": "fetch", "start": START, "finish": FINISH}],
        targets=[
            {"name": "packages.good", "result": "success", "derivation": "/nix/store/a.drv",
             "outputs": [{"name": "out", "path": "/nix/store/a-good", "nar_size": 1_500_000}],
             "error": "", "log_tail": []},
            {"name": "packages.bad", "result": "failed", "derivation": "/nix/store/b.drv", "outputs": [],
             "error": "builder failed", "log_tail": ["cc: no"]},
        ],
        derivations=[
            {"derivation": "/nix/store/a.drv", "name": "good", "start": START, "milliseconds": 61_000,
             "failed": False},
            {"derivation": "/nix/store/b.drv", "name": "bad", "start": START, "milliseconds": 99_000,
             "failed": True},
        ],
    )  # fmt: skip
    api.answers["GET /builds/12"] = one
    done = client(api, "builds", 12)
    assert done.code == 0
    assert done.out == f"""\
Build #12 of nix-terminal: failed
  commit    {COMMIT}
  subject   Add a thing
  author    Ann <ann@example.org>
  asked     {START} by ann@laptop, from 100.64.0.2
  started   {START}
  finished  {FINISH}, 2m 13s later
  error     1 of 2 targets failed
  lock      nixbuild builds 12 --lock

Phases
  fetch     2m 13s

Targets
  ✓ packages.good
      /nix/store/a-good (1.5 MB)
  ✗ packages.bad: builder failed
      > cc: no

Derivations built: 2
   1m 39s  bad  (failed)
   1m 01s  good
"""
    assert json.loads(client(api, "builds", "12", "--json").out) == one

    lock = b'{"nodes": {}, "root": "root", "version": 7}\n'
    api.answers["GET /builds/12/flake.lock"] = Reply(lock)
    assert client(api, "builds", "12", "--lock").out == lock.decode()
    api.answers["GET /builds/12/log"] = Reply("x" * 3_000_000, content_type="text/plain")
    assert len(client(api, "builds", "12", "--log").out) == 3_000_000

    done = client(api, "builds", "99", "--lock")
    assert (done.code, done.out) == (4, "")
    assert done.err == f"error: {api.address}: no such path (GET /builds/99/flake.lock 404)\n"
    done = client(api, "builds", "--lock")
    assert done.code == 2 and "number" in done.err


def test_info_and_health(api):
    info = {
        "hostname": "build-server", "version": "0.1.0", "system": "x86_64-linux", "api_port": 8000,
        "cache_url": "http://build-server:5000", "public_keys": ["build-server-1:AAAA"],
        "repositories": ["nix-terminal"],
    }  # fmt: skip
    api.answers["GET /info"] = info
    done = client(api, "info")
    assert done.code == 0
    assert "extra-substituters = http://build-server:5000\n" in done.out
    assert "extra-trusted-public-keys = build-server-1:AAAA\n" in done.out
    assert json.loads(client(api, "info", "--json").out) == info
    api.answers["GET /info"] = {**info, "cache_url": "", "public_keys": []}
    assert "cache         http://127.0.0.1:5000\n" in client(api, "info").out

    healthy = {"status": "healthy", "cache_running": True, "problems": []}
    api.answers["GET /health"] = healthy
    done = client(api, "health")
    assert (done.code, done.out) == (0, "status   healthy\ncache    running\n")
    assert done.err == "✓ The build server is healthy\n"
    api.answers["GET /health"] = {
        "status": "degraded", "cache_running": False, "problems": ["the disk is full"],
    }  # fmt: skip
    done = client(api, "health")
    assert done.code == 1
    assert done.out == "status   degraded\ncache    not running\nproblem  the disk is full\n"
    assert json.loads(client(api, "health", "--json").out)["cache_running"] is False


def test_the_names_of_links(api, root):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers["GET /build/status"] = status()
    api.answers["GET /build/logs"] = {"logs": ["line"]}
    says = {
        "build-trigger": "triggered", "build-status": "in progress", "build-logs": "line",
        "bt": "triggered", "bs": "in progress", "bl": "line",
    }  # fmt: skip
    for name, words in says.items():
        link = root / name
        link.symlink_to(BINARY)
        done = client(api, name=link)
        assert done.code == 0 and words in done.out + done.err, name
    assert "nixbuild" in client(api, "--version", name=root / "bs").out
    assert "Usage: nixbuild status" in client(api, "--help", name=root / "bs").out
    done = client(api, "--json", "nix-terminal", name=root / "bs")
    assert done.code == 4 and api.requests[-1][1] == "/build/status/nix-terminal"


def test_where_the_server_is_named(api, root):
    api.answers["GET /build/status"] = status()
    elsewhere = "127.0.0.1:1"
    file = root / "config.toml"
    file.write_text(f'[client]\nserver = "{api.address}"\n')
    assert client(None, "status", NIXBUILD_CONFIG=str(file)).code == 0
    file.write_text(f'[client]\nserver = "{elsewhere}"\n')
    assert client(None, "status", NIXBUILD_CONFIG=str(file)).code == 3
    assert client(None, "status", server=api.address, NIXBUILD_CONFIG=str(file)).code == 0
    assert client(None, "status", "--server", api.address, server=elsewhere).code == 0
    assert client(None, "status", "--server", f"http://{api.address}/").code == 0
    for bad in ("", "a b", "host:0", "ftp://host", "http://u:p@host"):
        done = client(None, "status", "--server", bad)
        assert done.code == 2 and "HOST:PORT" in done.err, bad


def test_the_path_below_which_an_api_lies(api):
    api.answers["GET /nix/build/status"] = status()
    assert client(None, "status", "--server", f"http://{api.address}/nix").code == 0


def test_token(api, root):
    api.answers["GET /build/status"] = status()
    file = root / "token"
    file.write_text("s3cret\n")
    assert client(api, "status", "--token-file", file).code == 0
    assert api.requests[-1][3]["Authorization"] == "Bearer s3cret"
    client(api, "status")
    assert "Authorization" not in api.requests[-1][3]

    api.answers["GET /build/status"] = Reply({"detail": "a token is needed"}, 401)
    done = client(api, "status")
    assert done.code == 4 and "a token is needed" in done.err and "--token-file" in done.err

    for content in ("", "two words", "a\nb"):
        file.write_text(content)
        assert client(api, "status", "--token-file", file).code == 2
    assert client(api, "status", "--token-file", root / "none").code == 2


def test_odd_names_stay_in_their_place(api):
    for name, path in (("../../x", "..%2F..%2Fx"), ("a?b#c", "a%3Fb%23c"), ("ä", "%C3%A4")):
        assert client(api, "status", name).code == 4
        assert api.requests[-1][1] == f"/build/status/{path}"


# Servers that cannot be reached


def test_refused_connection():
    done = client(None, "status", server="127.0.0.1:1")
    assert (done.code, done.out) == (3, "")
    assert "cannot reach 127.0.0.1:1: connection refused" in done.err
    assert "serve-api" in done.err


def test_name_that_does_not_resolve():
    done = client(None, "status", server="no-such-host.invalid:8000")
    assert (done.code, done.out) == (3, "")
    assert "cannot reach no-such-host.invalid:8000" in done.err and "Tailscale" in done.err


def test_no_answer_to_a_connection():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # Fills the queue of connections, so that further ones are not answered.
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        done = client(None, "status", server=f"127.0.0.1:{full.getsockname()[1]}")
        assert done.code == 3
        assert "no answer to a connection within 5 s" in done.err


def test_unix_socket(root):
    done = client(None, "status", server=f"unix:{root}/none.sock")
    assert done.code == 3 and f"cannot reach {root}/none.sock" in done.err


def test_a_proxy_is_told_of():
    done = client(None, "status", server="no-such-host.invalid:8000", http_proxy="http://127.0.0.1:1")
    assert done.code == 3 and "http_proxy" in done.err


# Answers that are none


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Reply("<html><title>Log in</title>", content_type="text/html"), ["web page", "Log in"]),
        (Reply("<!DOCTYPE html>", code=502, content_type="text/html"), ["web page", "502"]),
        (Reply('{"is_running": tr'), ["not JSON"]),
        (Reply(""), ["answered with 200"]),
        (Reply("null"), ["answered with 200"]),
        (Reply({"is_running": "yes"}), ["field 'is_running'", "true or false"]),
        (Reply({"is_running": True}), ["field 'repository'", "missing"]),
        (Reply({"detail": "the disk is full"}, 503), ["the disk is full", "503"]),
        (Reply("Internal Server Error", 500, "text/plain"), ["500", "Internal Server Error"]),
        (Reply("", 302, location="http://login.example/"), ["redirected", "http://login.example/"]),
        (Reply({"detail": "a\x1b[31mb"}, 404), ["ab"]),
        (Raw("SSH-2.0-OpenSSH_9.2\r\n"), ["does not speak HTTP"]),
        (Raw(""), ["closed before"]),
        (Raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"), ["cut off"]),
    ],
)
def test_answers_that_are_not_the_apis(api, answer, words):
    api.answers["GET /build/status"] = answer
    done = client(api, "status")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("error: ") and api.address in done.err
    assert "\x1b" not in done.err
    for word in words:
        assert word in done.err


def test_an_answer_without_end(api):
    api.answers["GET /build/status"] = Raw("HTTP/1.1 200 OK\r\n\r\n" + "x" * (70 << 20))
    done = client(api, "status")
    assert done.code == 4 and "longer than" in done.err


def test_fields_of_a_newer_server(api):
    api.answers["GET /build/status"] = {**status(), "colour": "blue", "progress": progress(x=1)}
    assert client(api, "status").code == 0


# Following


def test_wait(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(
        event("status", status(phase="queued")),
        event("status", status(progress=progress(to_build=2, built=1))),
        event("end", ended(outputs=["/nix/store/a"])),
    )
    done = client(api, "trigger", "--wait")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines()[0] == "✓ Build triggered successfully"
    assert done.err.splitlines()[-1] == "✓ Build #12 succeeded in 2m 13s"
    assert api.requests[-1][2] == {"build": "12", "events": "status"}
    done = client(api, "trigger", "--wait", "--json")
    assert json.loads(done.out)["outputs"] == ["/nix/store/a"]

    api.answers[f"GET {STREAM}"] = Stream(event("end", ended("failed")))
    done = client(api, "trigger", "--wait")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "✗ Build #12 failed: 2 targets failed"


def test_wait_for_the_build_that_runs_already(api):
    api.answers["POST /build/trigger"] = {**TRIGGERED, "status": "already_running", "build_id": 11}
    api.answers[f"GET {STREAM}"] = Stream(event("end", ended(build_id=11)))
    done = client(api, "trigger", "-w")
    assert done.code == 0 and "! Build already running (#11)" in done.err
    assert api.requests[-1][2]["build"] == "11"


def test_follow_in_a_pipe(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(
        event("status", status(phase="fetch")),
        0.3,
        event("log", "cloning", "12:8"),
        event("status", status(progress=progress(to_build=2, built=1))),
        0.3,
        event("log", "two\nlines", "12:18"),
        event("end", ended()),
    )
    done = client(api, "trigger", "--follow")
    assert (done.code, done.out) == (0, "cloning\ntwo\nlines\n")
    assert done.err.splitlines() == [
        "✓ Build triggered successfully",
        "nix-terminal #12: fetch",
        "nix-terminal #12: build: 1 of 2 built",
        "✓ Build #12 succeeded in 2m 13s",
    ]
    assert "\x1b" not in done.out + done.err
    assert client(api, "trigger", "--follow", "--json").code == 2


def test_logs_follow(api):
    api.answers["GET /build/status"] = status()
    api.answers[f"GET {STREAM}"] = Stream(event("log", "a", "12:2"), event("end", ended("failed")))
    done = client(api, "logs", "-f", "-n", 5)
    assert (done.code, done.out) == (0, "a\n")
    assert done.err == "✗ Build #12 failed: 2 targets failed\n"
    assert api.requests[-1][2] == {"build": "12", "lines": "5"}


def test_a_long_log(api):
    lines = [f"line {number} " + "x" * 80 for number in range(100_000)]
    api.answers["GET /build/status"] = status()
    api.answers[f"GET {STREAM}"] = Stream(
        "".join(event("log", line, f"12:{number}") for number, line in enumerate(lines)),
        event("end", ended()),
    )
    assert client(api, "logs", "-f").out.splitlines() == lines


def test_status_watch_in_a_pipe(api):
    api.answers["GET /build/status"] = status()
    api.answers[f"GET {STREAM}"] = Stream(
        event("status", status()), event("status", status(phase="finish")), event("end", ended())
    )
    done = client(api, "status", "--watch")
    assert done.code == 0
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["is_running"] for line in lines] == [True, False]
    assert done.err.splitlines()[-1] == "✓ Last build succeeded"
    done = client(api, "status", "--watch", "--json")
    phases = [json.loads(line)["phase"] for line in done.out.splitlines()]
    assert phases == ["build", "finish", "done"]

    api.answers["GET /build/status"] = ended()
    done = client(api, "status", "--watch")
    assert (done.code, done.err) == (0, "✓ Last build succeeded\n")
    assert json.loads(done.out)["last_status"] == "success"


def test_a_cut_stream_is_resumed_behind_the_last_line(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = [
        Stream(event("status", status()), event("log", "one", "12:4"), "id: 12:8\nevent: log\ndata: tw"),
        Reply("<html>starting", 502, "text/html"),
        Stream(event("status", status()), event("log", "two", "12:8"), event("end", ended())),
    ]
    done = client(api, "trigger", "--follow")
    assert (done.code, done.out) == (0, "one\ntwo\n")
    resumed = [request[3].get("Last-Event-ID") for request in api.requests_of(STREAM)]
    assert resumed == [None, "12:4", "12:4"]
    assert done.err.count("Connection lost") == 1
    assert done.err.count("Connected again") == 1


def test_a_server_that_restarts(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = [
        Stream(event("status", status()), event("log", "one", "12:4"), 60),
        Stream(event("log", "two", "12:8"), event("end", ended())),
    ]
    running = Running(api, "trigger", "--follow")
    running.wait_for("one")
    api.stop()
    running.wait_for("Connection lost")
    time.sleep(1)  # several tries are refused
    api.start()
    done = running.end()
    assert (done.code, done.out) == (0, "one\ntwo\n")
    assert done.err.count("Connection lost") == 1


def test_what_the_server_refuses_for_good_ends_the_following(api):
    api.answers["GET /build/status"] = status()
    api.answers[f"GET {STREAM}"] = [
        Stream(event("status", status())),
        Reply({"detail": "no repository 'nix-terminal'"}, 404),
    ]
    done = client(api, "status", "--watch")
    assert done.code == 4 and "no repository 'nix-terminal'" in done.err


@pytest.mark.parametrize(
    "answer", [Reply("<html>", content_type="text/html"), Reply({"detail": "no"}, 500), Raw("")]
)
def test_a_first_connection_that_gives_no_stream(api, answer):
    api.answers["GET /build/status"] = status()
    api.answers[f"GET {STREAM}"] = answer
    assert client(api, "logs", "-f").code == 4


def test_a_stream_of_something_else(api):
    api.answers["GET /build/status"] = status()
    api.answers[f"GET {STREAM}"] = Stream(event("status", {"is_running": 5}))
    done = client(api, "logs", "-f")
    assert done.code == 4 and "is_running" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_following_not_the_build(api, number):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(event("status", status()), event("log", "one", "12:4"), 60)
    running = Running(api, "trigger", "--follow")
    running.wait_for("one")
    running.process.send_signal(number)
    done = running.end()
    assert done.code == -number
    assert done.err.splitlines()[-1] == (
        "! Stopped following; build #12 goes on (`nixbuild cancel nix-terminal` stops it)"
    )
    assert not [request for request in api.requests if "cancel" in request[1]]


def test_ctrl_c_while_the_server_is_away(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(event("status", status()), event("log", "one", "12:4"), 60)
    running = Running(api, "trigger", "--follow")
    running.wait_for("one")
    api.stop()
    running.wait_for("Connection lost")
    running.process.send_signal(signal.SIGINT)
    assert running.end(5).code == -signal.SIGINT
    api.start()


# Where the output goes


def test_output_that_cannot_be_written(api):
    api.answers["GET /build/status"] = status()
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [str(BINARY), "status", "--server", api.address],
            env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1 and "standard output" in done.stderr


def test_a_reader_that_has_enough(api):
    api.answers["GET /build/logs"] = {"logs": ["x" * 100] * 10_000}
    done = subprocess.run(
        ["sh", "-c", f"{BINARY} logs -n 10000 --server {api.address} | head -n 1"],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "x" * 100 + "\n"
    assert done.stderr == ""


def test_status_on_a_terminal(api):
    api.answers["GET /build/status"] = ended()
    terminal = Terminal(api, "status")
    assert terminal.end() == 0
    assert "\x1b[32m✓\x1b[0m Last build succeeded" in terminal.text
    terminal = Terminal(api, "status", NO_COLOR="1")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.text
    assert terminal.screen()[-2:] == ["✓ Last build succeeded", ""]


def building(built):
    running = [{"derivation": "/nix/store/a.drv", "name": "hello-2.12", "phase": "", "since": START}]
    return status(progress=progress(to_build=4, built=built, running=running))


def test_follow_on_a_terminal(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(
        event("status", building(1)), 0.5,
        event("log", "first \x1b[2Jline", "12:1"), 0.5,
        event("log", "second " + "x" * 100, "12:2"),
        event("status", building(3)), 0.7,
        event("end", ended()),
        Date="Wed, 15 Jan 2025 14:31:00 GMT",
    )  # fmt: skip
    terminal = Terminal(api, "trigger", "--follow")
    terminal.wait_for("3/4 built")
    assert terminal.screen()[-4:] == [
        terminal.screen()[-4],
        "██████████████████░░░░░░ 3/4 built",
        terminal.screen()[-2],
        "",
    ]
    assert re.fullmatch(r"nix-terminal #12  build  1m 0\ds", terminal.screen()[-4])
    assert re.fullmatch(r"  hello-2.12  1m 0\ds", terminal.screen()[-2])
    assert terminal.end() == 0
    # The drawn lines are gone, the log is whole.
    assert terminal.screen() == [
        "✓ Build triggered successfully",
        "first line",
        "second " + "x" * 100,
        "✓ Build #12 succeeded in 2m 13s",
        "",
    ]
    assert "\x1b[32m" in terminal.text


def test_follow_without_colour(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(event("status", building(1)), 0.5, event("end", ended()))
    terminal = Terminal(api, "trigger", "--follow", NO_COLOR="1")
    assert terminal.end() == 0
    assert "1/4 built" in terminal.text
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.text)


def test_follow_on_a_dumb_terminal(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(event("status", building(1)), 0.5, event("end", ended()))
    terminal = Terminal(api, "trigger", "--follow", TERM="dumb")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.text and "nix-terminal #12: build: 1 of 4 built" in terminal.text


def test_ctrl_c_on_a_terminal(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(event("status", building(1)), 60)
    terminal = Terminal(api, "trigger", "--wait")
    terminal.wait_for("1/4 built")
    terminal.press("\x03")
    assert terminal.end() == -signal.SIGINT
    assert terminal.screen()[-2].startswith("! Stopped following; build #12 goes on")
    assert not any("1/4 built" in line for line in terminal.screen())


def test_watch_on_a_terminal(api):
    api.answers["GET /build/status"] = building(0)
    api.answers[f"GET {STREAM}"] = Stream(event("status", building(2)), 0.5, event("end", ended()))
    terminal = Terminal(api, "status", "--watch")
    terminal.wait_for("2/4 built")
    assert terminal.end() == 0
    screen = terminal.screen()
    assert json.loads("\n".join(screen[:-2]))["last_status"] == "success"
    assert screen[-2] == "✓ Last build succeeded"


def test_builds_fit_the_terminal(api):
    api.answers["GET /builds"] = {"builds": [build(12, commit_subject="s" * 200)], "next_before": None}
    terminal = Terminal(api, "builds", columns=100)
    assert terminal.end() == 0
    assert [len(line) for line in terminal.screen()[1:]] == [100, 0]
