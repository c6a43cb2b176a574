"""Disks that lose power in the middle of writing, and disks that are full."""

import contextlib
import json
import random
import re
import shutil
import sqlite3
import time

import pytest
from support.full_disk import small_disk
from support.machine import wait_for
from support.phases import PHASES, UNIT
from support.repository import Clone

STATE = "/var/lib/nixbuild"
SERVICES = ("nixbuild-api.socket", "nixbuild-api", "nixbuild-cache.socket", "nixbuild-cache")
NOISE = "head -c 1000000 /dev/urandom > $out # {mark}"


# For each path: the file that its narinfo names is what the narinfo says of it, where that is said.
CHECK_FILES = """
  set -e -o pipefail
  for path; do
    hash=${path#/nix/store/}
    info=$(curl -sf "http://build-server:5000/${hash%%-*}.narinfo")
    url=$(sed -n 's/^URL: //p' <<<"$info")
    expected=$(sed -n 's/^FileHash: sha256://p' <<<"$info")
    sum=$(curl -sf "http://build-server:5000/$url" | sha256sum | cut -d' ' -f1)
    [ -z "$expected" ] || [ "$sum" = "$(nix-hash --to-base16 --type sha256 "$expected")" ]
  done
"""


def check_files(server, client, *paths):
    client.run("bash", "-c", CHECK_FILES, "check", *paths)
    server.check_served(client, *paths)


def check_history(server, directory):
    """As it lies on the disk of a machine that is off."""
    for file in server.machine.path(STATE).glob("history.sqlite*"):
        shutil.copy(file, directory)
    with contextlib.closing(sqlite3.connect(directory / "history.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []


# Each push makes other outputs, which are compressed when the build has ended.
CHANGING = """{
  outputs = { self }: let
    mk = name: derivation {
      inherit name; system = "x86_64-linux"; builder = "/bin/sh"; PATH = "/usr/bin:/bin";
      args = [ "-ec" "head -c 3000000 /dev/urandom | base64 > $out # ${self.rev}" ];
    };
  in { packages.x86_64-linux = { one = mk "one"; two = mk "two"; }; };
}
"""
LOOP = """
  while git commit --quiet --allow-empty --message=again && git push --quiet origin main && bt --wait; do
    bs --json | jq .build_id >> told
  done"""


def outputs_of(server, number):
    """The outputs of a build that has succeeded, after a look at whether all of it was written down."""
    url = f"http://127.0.0.1:8000/builds/{number}"
    build = json.loads(server.run("curl", "--silent", "--show-error", "--fail", url).stdout)
    assert build["finish"] and len(build["targets"]) == 2, build
    assert [phase["name"] for phase in build["phases"]] == list(PHASES), build
    assert all(phase["finish"] for phase in build["phases"]), build
    return [output["path"] for target in build["targets"] for output in target["outputs"]]


def test_power_cuts_while_everything_is_written(server, tailnet, laptop, desktop, tmp_path):
    """The laptop builds on and on; a build's outputs are compressed while the next one runs."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    clone = Clone(laptop)
    clone.commit(CHANGING)
    laptop.run("bt", "--wait", user="alice")
    first = server.status()["build_id"]
    for _ in range(3):
        laptop.run("rm", "--force", f"{clone.directory}/told")
        before = server.status()["build_id"]
        laptop.run("systemd-run", "--unit=loop", "--uid=alice", f"--working-directory={clone.directory}",
                   "--setenv=HOME=/home/alice", "sh", "-c", LOOP)  # fmt: skip
        wait_for(lambda before=before: server.status()["build_id"] > before, "the loop's first build runs")
        time.sleep(moments.uniform(0.1, 3))
        server.machine.cut_power()
        laptop.run("systemctl", "stop", "loop", code=None)  # it may have seen the cut, and ended
        status = json.loads(server.machine.path(f"{STATE}/status/nix-terminal.json").read_text())
        assert status["repository"] == "nix-terminal"
        check_history(server, tmp_path)
        server.machine.boot()
        server.start_git_daemon()
        server.join_tailnet()
        # One that was queued at that moment is given half a minute to begin.
        server.wait_until_built()
        builds = {build["id"]: build for build in server.builds() if build["id"] >= first}
        assert all(build["state"] == "success" or build["error"] for build in builds.values()), builds
        good = [number for number, build in builds.items() if build["state"] == "success"]
        # Nothing that a client was told of is forgotten.
        told = laptop.run("cat", f"{clone.directory}/told", code=None).stdout.split()
        assert {int(number) for number in told} <= set(good)
        paths = [path for number in good for path in outputs_of(server, number)]
        check_files(server, desktop, *paths[:8])
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr


@pytest.fixture
def small_state(server, tailnet):
    """The server with an empty state on a disk of 48 MB."""
    with small_disk(server.machine, STATE, 48, SERVICES) as disk:
        server.join_tailnet()
        yield disk
    server.join_tailnet()


def check_words(text, directory):
    """They say that a disk is full, and which one."""
    assert re.search("No space left on device|disk is full", text) and directory in text, text


def trigger(laptop):
    """What the refusal says, or the failure: what was written before may leave the history room for one more build."""
    done = laptop.run("bt", "--wait", user="alice", code=None)
    assert done.code in (1, 4), str(done)
    return done.stderr


def test_a_full_disk_below_the_state(server, small_state, laptop, desktop):
    clone = Clone(laptop)
    clone.push(terminal=NOISE.format(mark="before"))
    laptop.run("bt", "--wait", user="alice")
    before = server.status()
    small_state.fill()
    clone.push(terminal=NOISE.format(mark="full"))
    check_words(trigger(laptop), STATE)
    assert server.status()["is_running"] is False
    for command in ("bs", "bl"):
        laptop.run(command, user="alice")
    json.loads(server.run("cat", f"{STATE}/status/nix-terminal.json").stdout)
    # One that cannot be compressed into a file now.
    server.run("sh", "-c", "head -c 2000000 /dev/urandom > /tmp/unseen")
    unseen = server.run("nix-store", "--add", "/tmp/unseen").stdout.strip()
    check_files(server, desktop, unseen, *before["outputs"])
    small_state.make_space()
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr


def test_a_disk_that_fills_during_a_build(server, small_state, laptop, desktop, gate):
    Clone(laptop).push(terminal=gate.script("fills"))
    follower = laptop.start("bt", "--wait", user="alice")
    gate.wait_until_reached("fills")
    small_state.fill()
    gate.open()
    _, error = follower.communicate(timeout=60)
    status = server.wait_until_built()
    if status["last_status"] == "failed":
        check_words(status["error"], STATE)
        assert follower.returncode == 1 and status["error"] in error
    else:
        assert follower.returncode == 0, error
    small_state.make_space()
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr


def test_a_killed_build_and_restarted_servers_on_a_full_disk(server, small_state, laptop, desktop, gate):
    clone = Clone(laptop)
    clone.push(terminal="echo before > $out")
    laptop.run("bt", "--wait", user="alice")
    [before] = server.status()["outputs"]
    clone.push(terminal=gate.script("killed when full"))
    laptop.run("bt", user="alice")
    gate.wait_until_reached("killed when full")
    small_state.fill()
    server.run("systemctl", "kill", "--signal=KILL", UNIT)
    status = server.wait_until_built()
    assert status["last_status"] == "failed" and "interrupted" in status["error"]
    gate.open()
    small_state.fill()
    check_words(trigger(laptop), STATE)
    # The servers start, and say what is wrong.
    server.run("systemctl", "stop", *SERVICES)
    small_state.fill()
    server.run("systemctl", "start", *SERVICES)
    server.join_tailnet()
    check_words(laptop.run("bt", user="alice", code=4).stderr, STATE)
    server.check_served(desktop, before)
    small_state.make_space()
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr


@pytest.fixture
def small_store(server, tailnet):
    """The server with an empty store on a disk of 40 MB."""
    units = ("nix-daemon.socket", "nix-daemon", "nixbuild-cache.socket", "nixbuild-cache")
    with small_disk(server.machine, "/nix", 40, units) as disk:
        server.join_tailnet()
        yield disk
    server.join_tailnet()


def test_a_full_disk_below_the_store(server, small_store, laptop, desktop):
    clone = Clone(laptop)
    clone.push(terminal=NOISE.format(mark="room"))
    laptop.run("bt", "--wait", user="alice")
    [before] = server.status()["outputs"]
    small_store.fill()
    clone.push(terminal=NOISE.format(mark="no room"))
    check_words(laptop.run("bt", "--wait", user="alice", code=1).stderr, "/nix/store")
    check_files(server, desktop, before)
    small_store.make_space()
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr
