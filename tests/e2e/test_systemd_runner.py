"""serve-api starting builds as units: against a stand-in for systemd on a bus of the test's own."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time

import pytest
from support.api import ApiServer
from support.build import Repository, flake, packages
from support.http import fetch
from support.systemd_stand_in import SystemdStandIn

UNIT = "nixbuild-build@demo.service"
ENDLESS = "echo begun; while :; do sleep 0.1; done"


@pytest.fixture
def systemd(builder):
    if shutil.which("dbus-daemon") is None or not all(map(importlib.util.find_spec, ("dbus", "gi"))):
        pytest.skip("no dbus-daemon, or no python3-dbus and python3-gi")
    stand_in = SystemdStandIn(builder.root / "systemd")
    stand_in.start(builder.command("run-build", "%i"), builder.environment())
    yield stand_in
    for pid, command in builder.processes().items():
        if " run-build " in command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    stand_in.stop()
    builder.wait_for(lambda: not any(" run-build " in command for command in builder.processes().values()))


@pytest.fixture
def serve(builder, systemd):
    servers = []

    def start(*options, runner="systemd", prefix=()):
        servers.append(ApiServer(builder, *options, runner=runner, **systemd.environment))
        servers[-1].prefix = list(prefix)
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


def repository(builder, script="echo hello > $out"):
    source = Repository(builder.root / "src-demo", {"flake.nix": flake(packages(x=script))})
    builder.add("demo", source.path)
    return source


def wait_for_log_line(builder, api, text):
    builder.wait_for(lambda: text in "".join(api.get("/build/logs")["logs"]))


def test_a_trigger_starts_the_unit(builder, systemd, serve):
    repository(builder)
    api = serve()
    assert "through the systemd runner" in api.log_text()
    assert api.post("/build/trigger", **{"X-Nixbuild-User": "ann"})["status"] == "triggered"
    assert api.wait_until_done()["last_status"] == "success"
    assert f"StartUnit {UNIT} replace" in systemd.calls()
    # Queued by the API, built by the unit: one build.
    assert [build["triggered_by"] for build in builder.builds()] == ["ann"]


def test_builds_one_right_after_the_other(builder, systemd, serve):
    repository(builder)
    api = serve()
    for number in range(1, 9):
        # The unit of the build before may not have ended yet; its start then merges with that.
        assert api.post("/build/trigger") | {"message": ""} == {
            "status": "triggered", "message": "", "repository": "demo", "build_id": number,
        }  # fmt: skip
        assert api.wait_until_done()["last_status"] == "success"


def test_cancel_stops_the_unit(builder, systemd, serve):
    repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    wait_for_log_line(builder, api, "begun")
    assert api.post("/build/cancel")["status"] == "cancelled"
    status = api.wait_until_done()
    assert (status["last_status"], status["error"]) == ("failed", "cancelled")
    assert systemd.calls().count(f"StopUnit {UNIT} replace") == 1
    assert systemd.calls().count(f"StartUnit {UNIT} replace") == 1
    builder.wait_for(lambda: not any("begun" in command for command in builder.processes().values()))


def test_a_build_that_was_started_by_hand_is_not_said_to_end(builder, systemd, serve):
    repository(builder, ENDLESS)
    api = serve()
    by_hand = builder.start()
    wait_for_log_line(builder, api, "begun")
    answer = fetch(api, "/build/cancel", "POST", {"Content-Length": "0"})
    assert answer.status == 503 and f"by hand as process {by_hand.pid}" in answer.text, answer.text
    assert api.get("/build/status")["is_running"]
    by_hand.send_signal(signal.SIGTERM)
    by_hand.wait(30)
    assert api.wait_until_done()["error"] == "cancelled"


def test_a_restarted_server_finds_the_unit_running(builder, systemd, serve):
    repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    wait_for_log_line(builder, api, "begun")
    assert api.stop() < 10
    assert builder.last()["state"] == "running"
    api.start()
    assert api.get("/build/status")["is_running"]
    reply = api.post("/build/trigger")
    assert (reply["status"], reply["queued_build_id"]) == ("already_running", 2)
    # What follows a cancelled build is started by the server.
    api.post("/build/cancel")
    wait_for_log_line(builder, api, "begun")
    assert api.get("/build/status")["build_id"] == 2
    api.post("/build/cancel")
    assert api.wait_until_done()["error"] == "cancelled"


def test_a_unit_that_does_not_come_up(builder, systemd, serve):
    repository(builder)
    systemd.behave(start="fail")
    api = serve()
    api.post("/build/trigger")
    status = api.wait_until_done(seconds=10)
    assert status["last_status"] == "failed"
    assert status["error"] == f"{UNIT} did not begin the build (exit-code, status 217); see `journalctl -u {UNIT}`"
    systemd.behave(start="run")
    api.post("/build/trigger")
    assert api.wait_until_done()["last_status"] == "success"


def test_a_unit_that_ends_before_it_takes_the_build(builder, systemd, serve):
    repository(builder)
    systemd.behave(command=["false"])
    api = serve()
    api.post("/build/trigger")
    assert "exit-code, status 1" in api.wait_until_done(seconds=10)["error"]


@pytest.mark.parametrize("refusal, advice", [
    ("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "polkit rule"),
    ("org.freedesktop.DBus.Error.AccessDenied", "polkit rule"),
    ("org.freedesktop.systemd1.NoSuchUnit", "not installed"),
    ("org.freedesktop.systemd1.UnitMasked", "masked"),
    ("org.freedesktop.systemd1.Unknown", "systemctl status"),
])  # fmt: skip
def test_what_systemd_refuses_is_503_with_advice(builder, systemd, serve, refusal, advice):
    repository(builder)
    systemd.behave(start="refuse", stop="refuse", refusal=refusal)
    api = serve()
    answer = fetch(api, "/build/trigger", "POST", {"Content-Length": "0"})
    assert answer.status == 503 and int(answer.headers["retry-after"]) > 0
    assert f"StartUnit of {UNIT}: Refused" in answer.text and advice in answer.text
    status = api.get("/build/status")
    assert not status["is_running"] and "could not be started" in status["error"]

    systemd.behave(start="run")
    assert api.post("/build/trigger")["status"] == "triggered"
    api.wait_until_done()


def test_a_cancel_that_systemd_refuses(builder, systemd, serve):
    repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    wait_for_log_line(builder, api, "begun")
    systemd.behave(stop="refuse", refusal="org.freedesktop.DBus.Error.AccessDenied")
    answer = fetch(api, "/build/cancel", "POST", {"Content-Length": "0"})
    assert answer.status == 503 and "polkit rule" in answer.text
    assert api.get("/build/status")["is_running"]


def test_a_systemd_that_says_nothing(builder, systemd, serve):
    repository(builder)
    systemd.behave(start="silent")
    api = serve()
    answer = fetch(api, "/build/trigger", "POST", {"Content-Length": "0"})
    assert answer.status == 503 and "retry-after" in answer.headers and "systemctl status" in answer.text
    assert "could not be started" in api.get("/build/status")["error"]


def test_a_bus_that_hangs_and_one_that_is_gone(builder, systemd, serve):
    repository(builder)
    api = serve()
    systemd.bus.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    answer = fetch(api, "/build/trigger", "POST", {"Content-Length": "0"})
    assert answer.status == 503 and "retry-after" in answer.headers and "connecting to the system bus" in answer.text
    assert time.monotonic() - begin < 20
    # What asks no systemd is answered as ever.
    assert api.get("/build/status")["last_status"] == "failed"

    systemd.stop_bus()
    answer = fetch(api, "/build/trigger", "POST", {"Content-Length": "0"})
    assert answer.status == 503 and "is dbus running?" in answer.text
    assert [build["state"] for build in builder.builds()] == ["failed", "failed"]


def test_a_bus_that_goes_while_a_unit_runs(builder, systemd, serve):
    repository(builder, "until test -e ../go; do sleep 0.1; done; echo 1 > $out".replace("..", str(builder.root)))
    api = serve()
    api.post("/build/trigger")
    builder.wait_for(lambda: api.get("/build/status")["phase"] == "build")
    systemd.stop_bus()
    (builder.root / "go").touch()
    assert api.wait_until_done()["last_status"] == "success"


def as_booted():
    """A prefix for commands: they see a machine that systemd has booted."""
    script = 'mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec "$@"'
    prefix = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", script, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    return prefix


@pytest.mark.parametrize("booted, load_state, runner", [
    (True, "loaded", "systemd"), (True, "not-found", "local"), (True, "masked", "local"), (False, "loaded", "local"),
])  # fmt: skip
def test_the_runner_is_chosen_by_what_there_is(builder, systemd, serve, booted, load_state, runner):
    repository(builder)
    systemd.behave(load_state=load_state)
    api = serve(runner="auto", prefix=as_booted() if booted else [])
    assert f"through the {runner} runner" in api.log_text()
    api.post("/build/trigger")
    assert api.wait_until_done()["last_status"] == "success"
    assert (f"StartUnit {UNIT} replace" in systemd.calls()) == (runner == "systemd")


def test_without_a_bus_builds_are_children(builder, systemd, serve):
    repository(builder)
    systemd.stop_bus()
    api = serve(runner="auto", prefix=as_booted())
    assert "through the local runner" in api.log_text()
    assert "is dbus running?" in api.log_text()
