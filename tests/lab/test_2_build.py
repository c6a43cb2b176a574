"""A push on the laptop, a build on the server that the desktop watches."""

import json

import pytest
from support.machine import wait_for
from support.repository import Clone

UNIT = "nixbuild-build@nix-terminal.service"


def test_bt_on_the_laptop_bs_and_bl_on_the_desktop(server, tailnet, laptop, desktop, gate):
    commit = Clone(laptop).push(terminal=gate.script("the builder waits"))

    triggered = laptop.run("bt", user="alice")
    assert "Build triggered" in triggered.stdout + triggered.stderr

    running = desktop.run("bs", user="alice")
    assert json.loads(running.stdout)["is_running"] is True and "Build in progress" in running.stderr
    wait_for(lambda: "the builder waits" in desktop.run("bl", user="alice").stdout, "the log reaches the desktop")

    # What runs is the unit, as the user that may read nothing secret; nobody had a use for sudo.
    assert server.property(UNIT, "ActiveState") == "activating"
    pid = server.property(UNIT, "MainPID")
    assert server.run("ps", "-o", "user:20=", "-p", pid).stdout.strip() == "nixbuild-build"
    server.run("sh", "-c", "! command -v sudo")
    assert "already running" in laptop.run("bt", user="alice", code=0).stderr

    gate.open()
    assert server.wait_until_built()["last_status"] == "success"
    after = desktop.run("bs", user="alice")
    status = json.loads(after.stdout)
    assert status["last_status"] == "success" and status["last_commit"] == commit and "succeeded" in after.stderr
    wait_for(lambda: server.property(UNIT, "ActiveState") == "inactive", "the unit has ended")
    assert server.property(UNIT, "Result") == "success"


def test_a_failing_build_is_told_to_who_follows_it(server, tailnet, laptop):
    Clone(laptop).push(terminal="echo it cannot work; exit 1", other="echo good > $out")
    followed = laptop.run("bt", "--follow", user="alice", code=1)
    assert "it cannot work" in followed.stdout
    status = server.status()
    assert status["last_status"] == "failed" and len(status["outputs"]) == 1
    # The unit's failure is the build's; the system itself is well again with the next good build.
    Clone(laptop).push(terminal="echo good > $out")
    laptop.run("bt", "--wait", user="alice")
    wait_for(lambda: server.property(UNIT, "ActiveState") == "inactive", "the unit has ended")
    assert server.run("systemctl", "is-system-running").stdout.strip() == "running"


def test_cancel_ends_every_process_of_the_build(server, tailnet, laptop, desktop, gate):
    Clone(laptop).push(terminal=gate.script("to be cancelled"))
    laptop.run("bt", user="alice")
    gate.wait_until_reached("to be cancelled")
    desktop.run("nixbuild", "cancel", user="alice")
    assert server.wait_until_built()["error"] == "cancelled"
    wait_for(lambda: not gate.is_waited_at("to be cancelled"), "the builder is gone")
    # The build is called cancelled at once, and ends when its processes have.
    wait_for(lambda: server.run("pgrep", "--uid", "nixbuild-build", code=None).code == 1, "no process is left")


def test_a_killed_build_is_told_as_interrupted(server, tailnet, laptop, gate):
    Clone(laptop).push(terminal=gate.script("to be killed"))
    laptop.run("bt", user="alice")
    gate.wait_until_reached("to be killed")
    server.run("systemctl", "kill", "--signal=KILL", UNIT)
    status = server.wait_until_built()
    assert status["last_status"] == "failed" and "interrupted" in status["error"]
    gate.open()
    laptop.run("bt", "--wait", user="alice")


def as_user(server, user, *command):
    """As a service of that user would do it, without a terminal or a session."""
    return server.run("systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--uid={user}", *command, code=None)


def manage(server, user, verb, unit):
    return as_user(server, user, "busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                   "org.freedesktop.systemd1.Manager", verb, "ss", unit, "replace")  # fmt: skip


def test_the_api_may_start_and_stop_builds(server, tailnet, laptop, gate):
    Clone(laptop).push(terminal="echo good > $out")
    assert manage(server, "nixbuild-api", "StartUnit", UNIT).code == 0
    server.wait_until_built()
    assert manage(server, "nixbuild-api", "StopUnit", UNIT).code == 0


@pytest.mark.parametrize("user, verb, unit", [
    ("nixbuild-api", "StartUnit", "nixbuild-key.service"),
    ("nixbuild-api", "StopUnit", "nixbuild-cache.service"),
    ("nixbuild-api", "RestartUnit", UNIT),
    ("nixbuild-api", "StartUnit", "nixbuild-build@..-..-etc.service"),
    ("nixbuild-api", "StartUnit", "nixbuild-build@A.service"),
    ("nixbuild-api", "StartUnit", "emergency.target"),
    ("nixbuild-build", "StartUnit", UNIT),
    ("nixbuild-cache", "StartUnit", UNIT),
    ("alice", "StartUnit", UNIT),
])  # fmt: skip
def test_nobody_may_do_more(server, user, verb, unit):
    refused = manage(server, user, verb, unit)
    assert refused.code != 0, str(refused)
    assert "authentication required" in refused.stderr or "Access denied" in refused.stderr, str(refused)


def test_a_build_cannot_read_the_key(server, tailnet, laptop):
    clone = Clone(laptop)
    clone.push(terminal="cat /etc/nixbuild/cache-key > $out")
    laptop.run("bt", "--wait", user="alice", code=1)
    key = 'builtins.toFile "k" (builtins.readFile "/etc/nixbuild/cache-key")'
    flake = f"{{ outputs = _: {{ packages.x86_64-linux.key = {key}; }}; }}"
    laptop.write(f"{clone.directory}/flake.nix", flake, owner="alice")
    clone.git("commit", "--quiet", "--all", "--message", "Read the key")
    clone.git("push", "--quiet", "origin", "main")
    laptop.run("bt", "--wait", user="alice", code=1)
    key = server.run("cat", "/etc/nixbuild/cache-key").stdout.strip().split(":")[1]
    server.run("grep", "--recursive", "--fixed-strings", "--quiet", key, "/nix/store", "/var/lib/nixbuild", code=1)
