"""run-build when things go wrong: killed, cancelled, hanging, out of space."""

import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest
from support.build import GOOD, HANGS, PHASES, flake, hang_at, packages, repository



def start_and_hang(builder, phase, prefix):
    source, extra = hang_at(builder, phase)
    process = builder.start(prefix=prefix, **extra)
    builder.wait_for_phase(phase, process=process)
    # Until what hangs has been started.
    builder.wait_for(lambda: any("sleep" in command for command in builder.processes().values()))
    return source, process


@pytest.mark.parametrize("phase", PHASES)
def test_killed(builder, prefix, phase):
    source, process = start_and_hang(builder, phase, prefix)
    if not prefix:
        process.kill()
        process.wait()
        # The kernel ends what is in the pid namespace.
        builder.wait_for(lambda: not builder.processes(), 10)
    else:
        # Nix's own processes too, so that its builder is nobody's child. Descendants are recorded every second.
        record = builder.state / "locks/demo.processes"
        builder.wait_for(lambda: record.exists() and all(str(pid) in record.read_text().split()
                                                         for pid in builder.processes() if pid != process.pid))  # fmt: skip
        for pid, command in builder.processes().items():
            if pid == process.pid or "nix" in command.split()[0]:
                os.kill(pid, signal.SIGKILL)
        process.wait()

    builder.add("demo", source.path)
    source.commit(GOOD)
    builder.run()
    first, second = builder.builds()
    assert (first["state"], first["error"]) == ("failed", "interrupted")
    assert first["finish"] and second["state"] == "success"
    assert not builder.processes()
    unfinished = builder.query("SELECT * FROM phases WHERE finish IS NULL")
    assert unfinished == []


@pytest.mark.parametrize("phase", PHASES)
def test_cancelled(builder, prefix, phase):
    source, process = start_and_hang(builder, phase, prefix)
    # Signals of a terminal go to all of the foreground group; this is what systemd and the API send.
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 1
    assert builder.last()["state"] == "cancelled" and builder.last()["error"] == "cancelled"
    assert builder.status()["error"] == "cancelled" and builder.status()["is_running"] is False
    assert not builder.processes()
    assert builder.log().rstrip().endswith("build 1 was cancelled")
    builder.add("demo", source.path)
    source.commit(GOOD)
    builder.run()


def test_cancelled_while_it_waits_for_its_turn(builder):
    source, process = start_and_hang(builder, "build", [])
    repository(builder, GOOD, name="second")
    waiting = builder.start("second")
    builder.wait_for_phase("queued", "second", waiting)
    os.kill(waiting.pid, signal.SIGTERM)
    assert waiting.wait(10) == 1
    assert builder.last("second")["error"] == "cancelled"
    assert builder.last()["state"] == "running"
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(30) == 1


def test_too_slow(builder, prefix):
    repository(builder, HANGS, timeout="2s")
    process = builder.start(prefix=prefix)
    assert process.wait(60) == 1
    assert builder.last()["error"] == "build: timed out after 2 s"
    assert builder.targets()["packages.x86_64-linux.x"]["result"] == "failed"
    assert not builder.processes()


def give_to(user, *paths):
    """git works in a repository of its own user only."""
    subprocess.run(["chown", "-R", user, *paths], check=True)


def test_an_unprivileged_build_with_the_nix_daemon(as_nobody):
    builder = as_nobody
    marker = builder.root / "go"
    source = repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out", y="exit 1"))})
    give_to("nobody", source.path)
    with builder.daemon():
        builder.run(code=1)
        assert builder.results() == {"packages.x86_64-linux.x": "success", "packages.x86_64-linux.y": "failed"}
        assert builder.query("SELECT nar_size FROM outputs WHERE nar_size > 0")
        assert os.stat(builder.outputs()["packages.x86_64-linux.x.out"]).st_uid == 0
        builder.nix("nix-store", "--gc", prefix=[])
        assert builder.content("packages.x86_64-linux.x") == "1\n"

        script = f"touch {marker}; sleep 1000"
        give_to("root", source.path)
        source.commit({"flake.nix": flake(packages(z=script))})
        give_to("nobody", source.path)
        marker.parent.chmod(0o777)
        process = builder.start()
        builder.wait_for(marker.exists)
        process.terminate()
        assert process.wait(30) == 1
        builder.wait_for(lambda: not any("sleep" in command for command in builder.processes().values()))
    builder.run(code=1)  # without the daemon the store is not this user's to write
    assert builder.last()["error"].startswith(("build: ", "evaluate: ", "inputs: "))


def test_what_a_build_leaves_running_ends_with_it(builder, prefix):
    script = "(setsid sleep 1000 >/dev/null 2>&1 <&1 &) ; echo 1 > $out"
    repository(builder, {"flake.nix": flake(packages(x=script))})
    process = builder.start(prefix=prefix)
    assert process.wait(60) == 0
    assert not builder.processes()


def test_the_lock_is_not_inherited(builder):
    _, process = start_and_hang(builder, "build", [])
    lock = os.stat(builder.state / "locks/demo.lock")
    holders = []
    for pid in builder.processes():
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.path.samestat(fd.stat(), lock):
                    holders.append(pid)
            except OSError:
                pass
    assert holders == [process.pid]
    process.terminate()
    process.wait(30)


def test_status_is_whole_whenever_it_is_read(builder):
    """Readers that poll while builds come, go and are killed never see half of a file."""
    import json

    repository(builder, {"flake.nix": flake(packages(**{f"p{i}": f"echo {i} > $out" for i in range(20)}))})
    stop = threading.Event()
    reads, broken = [0], []

    def poll():
        while not stop.is_set():
            try:
                text = (builder.state / "status/demo.json").read_text()
            except FileNotFoundError:
                continue
            reads[0] += 1
            try:
                assert json.loads(text)["repository"] == "demo"
            except Exception:
                broken.append(text)

    thread = threading.Thread(target=poll)
    thread.start()
    for delay in (0.05, 0.15, 0.3, 0.6, 1.0):
        process = builder.start()
        time.sleep(delay)
        process.kill()
        process.wait()
    builder.run()
    stop.set()
    thread.join()
    assert reads[0] > 100 and not broken
    assert [build["state"] for build in builder.builds()][-1] == "success"
    assert not [build for build in builder.builds() if build["state"] in ("queued", "running")]


def test_a_log_of_binary_bytes(builder):
    script = "head -c 20000 /dev/urandom; printf '\\n\\377\\0\\033]0;title\\007end\\n'; exit 1"
    repository(builder, {"flake.nix": flake(packages(x=script))})
    builder.run(code=1)
    text = builder.log()  # decodes as UTF-8
    assert not [c for c in text if ord(c) < 32 and c not in "\n\t"]
    assert any(line.endswith("end") for line in text.splitlines())
    assert builder.targets()["packages.x86_64-linux.x"]["log_tail"].rstrip().endswith("end")
    assert builder.status()["last_status"] == "failed"


def test_a_long_log(builder):
    line = "x" * 1000
    script = f"echo first; i=0; while [ $i -lt 3000 ]; do echo {line}; i=$((i+1)); done; echo last; exit 1"
    repository(builder, {"flake.nix": flake(packages(x=script))})
    builder.run(code=1)
    lines = builder.log().splitlines()
    assert "x> first" in lines and "x> last" in lines
    assert builder.targets()["packages.x86_64-linux.x"]["log_tail"].rstrip().endswith("last")


@pytest.mark.slow
def test_a_log_of_a_gigabyte(builder):
    # Beyond what the log keeps: its beginning and its end are there.
    script = "echo first; head -c 1100000000 /dev/zero | tr '\\0' x | fold -w 1000; echo; echo last; exit 1"
    repository(builder, {"flake.nix": flake(packages(x=script))})
    builder.run(code=1, timeout=280)
    file = builder.state / "logs/demo/1.log"
    assert file.stat().st_size < 300 << 20
    lines = builder.log().splitlines()
    assert "x> first" in lines and "x> last" in lines
    assert any("left out" in line for line in lines)
    assert builder.targets()["packages.x86_64-linux.x"]["log_tail"].rstrip().endswith("last")


def test_a_full_disk(small_disk):
    builder = small_disk
    line = "x" * 1000
    script = f"i=0; while [ $i -lt 8000 ]; do echo {line}; i=$((i+1)); done; echo 1 > $out"
    source = repository(builder, {"flake.nix": flake(packages(x=script))})
    builder.run(code=1)
    assert "No space left on device" in builder.last()["error"]
    assert builder.last()["error"].startswith("build: ")
    assert builder.status()["last_status"] == "failed" and "No space left" in builder.status()["error"]
    assert not builder.processes()
    # The next one works once there is room again.
    (builder.state / "logs/demo/1.log").unlink()
    source.commit(GOOD)
    builder.run()


def test_a_disk_that_is_full_from_the_start(small_disk):
    builder = small_disk
    source = repository(builder, GOOD)
    builder.run()
    filler = builder.state / "filler"
    try:
        filler.write_bytes(b"x" * (8 << 20))
    except OSError:
        pass
    result = builder.run(code=1)
    assert "No space left" in result.stderr or "full" in result.stderr
    filler.unlink()
    builder.run()
    assert not [build for build in builder.builds() if build["state"] in ("queued", "running")]
    assert source.head() == builder.last()["commit_id"]


def test_a_damaged_history(builder):
    repository(builder, GOOD)
    builder.run()
    for file in builder.state.glob("history.sqlite*"):
        file.unlink()
    (builder.state / "history.sqlite").write_text("nonsense " * 1000)
    result = builder.run(code=1)
    assert "history.sqlite" in result.stderr and "move the file away" in result.stderr
