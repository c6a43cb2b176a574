"""Clients that follow a build: in a pipe, through cut connections, until Ctrl-C."""

import json
import signal
import time

import pytest
from support.client import Running, client
from support.fake_api import STREAM, TRIGGERED, Raw, Reply, Stream, ended, event, progress, status


def test_wait(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(
        event("status", status(phase="queued")),
        event("status", status(progress=progress(to_build=2, built=1))),
        event("end", ended(outputs=["/nix/store/a"])),
    )
    done = client(api, "trigger", "--wait")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines()[0] == "✓ Build triggered successfully (nix-terminal #12)"
    assert done.err.splitlines()[-3:] == [
        "✓ Build #12 succeeded in 2m 13s",
        "  /nix/store/a",
        "Next: `nixbuild system-update` brings this machine to what was built",
    ]
    assert api.requests[-1][2] == {"build": "12", "events": "status"}
    done = client(api, "trigger", "--wait", "--json")
    assert json.loads(done.out)["outputs"] == ["/nix/store/a"]

    api.answers[f"GET {STREAM}"] = Stream(event("end", ended("failed")))
    done = client(api, "trigger", "--wait")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "✗ Build #12 failed: 2 targets failed"
    api.answers[f"GET {STREAM}"] = Stream(event("end", {**ended("failed"), "error": "cancelled"}))
    done = client(api, "trigger", "--wait")
    assert done.code == 1 and done.err.splitlines()[-1] == "✗ Build #12 was cancelled"


def test_wait_for_the_build_that_runs_already(api):
    api.answers["POST /build/trigger"] = {**TRIGGERED, "status": "already_running", "build_id": 11}
    api.answers[f"GET {STREAM}"] = Stream(event("end", ended(build_id=11)))
    done = client(api, "trigger", "-w")
    assert done.code == 0 and "! Build already running (#11) of nix-terminal" in done.err
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
        "✓ Build triggered successfully (nix-terminal #12)",
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
    assert done.err.splitlines()[-1] == "✓ Last build succeeded (nix-terminal #12)"
    done = client(api, "status", "--watch", "--json")
    phases = [json.loads(line)["phase"] for line in done.out.splitlines()]
    assert phases == ["build", "finish", "done"]

    api.answers["GET /build/status"] = ended()
    done = client(api, "status", "--watch")
    assert (done.code, done.err) == (0, "✓ Last build succeeded (nix-terminal #12)\n")
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
    assert done.err.count("Reconnected") == 1


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
        "! Stopped following; build #12 continues (`nixbuild cancel nix-terminal` stops it)"
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
