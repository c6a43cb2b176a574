"""`kill -9` of every process that has to do with a build, in each phase of it, and what holds after."""

import itertools
import re

import pytest
from support.machine import wait_for
from support.phases import PHASES, UNIT, Phases
from support.repository import Clone

KILLED = "1 of 2 targets failed: packages.x86_64-linux.terminal: nix-store: killed by"

marks = (f"mark-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def kept(server, laptop):
    """Built before all of these tests, and a part of each build in them."""
    server.join_tailnet()
    Clone(laptop).push(kept="echo kept for good > $out")
    laptop.run("bt", "--wait", user="alice")
    return server.status()["outputs"][0]


@pytest.fixture
def phases(server, tailnet, laptop, gate, kept):
    phases = Phases(server, Clone(laptop), gate)
    yield phases
    phases.release()


def kill(server, *pids):
    assert pids
    server.run("kill", "-KILL", *pids)


def kill_main(server, unit):
    kill(server, server.property(unit, "MainPID"))


def check_kept(server, desktop, path):
    server.check_served(desktop, path)
    server.check_rooted(path)


def check_nothing_is_left(server, phases):
    wait_for(lambda: server.property(UNIT, "ActiveState") in ("inactive", "failed"), "the unit has ended")
    assert server.property(UNIT, "ControlGroup") == ""
    assert server.run("pgrep", "--uid", "nixbuild-build", code=1).stdout == ""
    wait_for(lambda: not phases.gate.is_waited_at(phases.mark), "the builder is gone")


@pytest.mark.parametrize("phase", PHASES)
def test_run_build(server, laptop, desktop, phases, kept, phase):
    phases.prepare(phase, next(marks))
    laptop.run("bt", user="alice")
    phases.wait_until_reached(phase)
    kill_main(server, UNIT)
    status = server.wait_until_built(5)
    assert status["last_status"] == "failed" and "interrupted" in status["error"], status
    check_nothing_is_left(server, phases)
    phases.release()
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr
    check_kept(server, desktop, kept)


# What the log says of it, and how the build's error begins where it could not do without the program.
@pytest.mark.parametrize("phase, program, said, error", [
    ("fetch", "git", "signal 9", None),
    ("inputs", "nix", "signal 9", "inputs: the inputs cannot be locked: killed by"),
    ("inputs", "git", "while fetching the input", "inputs: the inputs cannot be locked: "),
    ("evaluate", "nix-instantiate", "signal 9", None),
    ("build", "nix-store", "nix-store gave up: nix-store: killed by signal 9; trying again", None),
], ids=["fetch-git", "inputs-nix", "inputs-git", "evaluate-nix", "build-nix"])  # fmt: skip
def test_a_program_of_the_build(server, laptop, desktop, phases, kept, phase, program, said, error):
    phases.prepare(phase, next(marks))
    follower = laptop.start("bt", "--follow", user="alice")
    phases.wait_until_reached(phase)
    kill(server, *phases.pids(program))
    phases.release()
    out, _ = follower.communicate(timeout=60)
    status = server.status()
    if error is None:
        assert status["last_status"] == "success", f"{status}\n{out}"
    else:
        assert status["last_status"] == "failed" and status["error"].startswith(error), status
    assert said in out, out
    check_nothing_is_left(server, phases)
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr
    check_kept(server, desktop, kept)


def test_nix_store_again_and_again(server, laptop, desktop, phases, kept):
    """A second attempt is the last."""
    phases.prepare("build", next(marks))
    follower = laptop.start("bt", "--follow", user="alice")
    killed = set()
    for _ in range(2):
        phases.wait_until_reached("build")
        [running] = wait_for(lambda: set(phases.pids("nix-store")) - killed, "nix-store runs")
        kill(server, running)
        killed.add(running)
    out, _ = follower.communicate(timeout=60)
    status = server.status()
    assert status["last_status"] == "failed" and status["error"].startswith(KILLED), f"{status}\n{out}"
    check_nothing_is_left(server, phases)
    phases.release()
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr
    check_kept(server, desktop, kept)


@pytest.mark.parametrize("phase", ["evaluate", "build"])
@pytest.mark.parametrize("all_of_it", [False, True], ids=["worker", "all"])
def test_the_nix_daemon(server, laptop, desktop, phases, kept, phase, all_of_it):
    """Its processes are one a client, and the one that starts them."""
    phases.prepare(phase, next(marks))
    follower = laptop.start("bt", "--follow", user="alice")
    phases.wait_until_reached(phase)
    main = server.property("nix-daemon.service", "MainPID")
    workers = server.run("pgrep", "--parent", main).stdout.split()
    kill(server, *workers, *([main] if all_of_it else []))
    phases.release()
    out, _ = follower.communicate(timeout=60)
    status = server.status()
    assert status["last_status"] == "success", f"{status}\n{out}"
    if phase == "build":
        assert re.search("nix-store gave up: .*(daemon|unexpected end-of-file).*; trying again", out), out
    check_nothing_is_left(server, phases)
    assert "succeeded" in laptop.run("bt", "--wait", user="alice").stderr
    check_kept(server, desktop, kept)


@pytest.mark.parametrize("phase", PHASES)
def test_both_servers(server, laptop, desktop, phases, kept, phase):
    phases.prepare(phase, next(marks))
    follower = laptop.start("bt", "--follow", user="alice")
    phases.wait_until_reached(phase)
    number = server.status()["build_id"]
    for unit in ("nixbuild-api.service", "nixbuild-cache.service"):
        kill_main(server, unit)
    wait_for(lambda: server.run("curl", "--silent", "--fail", "http://127.0.0.1:8000/health", code=None).code == 0,
             "serve-api is there again")  # fmt: skip
    server.join_tailnet()
    check_kept(server, desktop, kept)
    phases.release()
    out, error = follower.communicate(timeout=60)
    assert follower.returncode == 0, f"{out}\n{error}"
    status = server.status()
    assert status["build_id"] == number and status["last_status"] == "success", status
    check_nothing_is_left(server, phases)
