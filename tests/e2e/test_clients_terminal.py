"""What clients show on a terminal."""

import json
import re
import signal
import time

from support.client import Terminal
from support.fake_api import START, STREAM, TRIGGERED, Stream, build, ended, event, progress, status


def test_status_on_a_terminal(api):
    api.answers["GET /build/status"] = ended()
    terminal = Terminal(api, "status")
    assert terminal.end() == 0
    assert "\x1b[32m✓\x1b[0m Last build succeeded (nix-terminal #12)" in terminal.text
    terminal = Terminal(api, "status", NO_COLOR="1")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.text
    assert terminal.screen()[-2:] == ["✓ Last build succeeded (nix-terminal #12)", ""]


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
        "✓ Build triggered successfully (nix-terminal #12)",
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
    assert terminal.screen()[-2].startswith("! Stopped following; build #12 continues")
    assert not any("1/4 built" in line for line in terminal.screen())


def test_watch_on_a_terminal(api):
    api.answers["GET /build/status"] = building(0)
    api.answers[f"GET {STREAM}"] = Stream(event("status", building(2)), 0.5, event("end", ended()))
    terminal = Terminal(api, "status", "--watch")
    terminal.wait_for("2/4 built")
    assert terminal.end() == 0
    screen = terminal.screen()
    assert json.loads("\n".join(screen[:-2]))["last_status"] == "success"
    assert screen[-2] == "✓ Last build succeeded (nix-terminal #12)"


def test_a_failure_is_told_once(api):
    error = "1 of 2 targets failed: packages.bad: cc: no"
    api.answers["POST /build/trigger"] = TRIGGERED
    api.answers[f"GET {STREAM}"] = Stream(
        event("status", building(1)),
        event("log", "packages.bad: failed: cc: no", "12:1"),
        event("log", f"build 12 failed: {error}", "12:2"),
        event("end", {**ended("failed"), "error": error}),
    )
    terminal = Terminal(api, "trigger", "--follow")
    assert terminal.end() == 1
    assert terminal.screen() == [
        "✓ Build triggered successfully (nix-terminal #12)",
        "packages.bad: failed: cc: no",
        "✗ Build #12 failed: 1 of 2 targets failed",
        "",
    ]


def test_times_on_a_terminal(api):
    """Local, and how long ago; exact in a pipe (see test_clients.py)."""
    start = time.time() - 7300
    utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start))
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(start + 5 * 3600))
    one = build(12, start=utc, finish=utc, queued_at=START)
    api.answers["GET /builds"] = {"builds": [one, build(11)], "next_before": None}
    terminal = Terminal(api, "builds", columns=120, TZ="XYZ-5")
    assert terminal.end() == 0
    assert "  2 h ago  " in terminal.screen()[1] and "  2025-01-15  " in terminal.screen()[2]
    api.answers["GET /builds/12"] = one
    terminal = Terminal(api, "builds", "12", columns=120, TZ="XYZ-5")
    assert terminal.end() == 0
    assert f"  started   {local} (2 h ago)" in terminal.screen()
    assert any(line.startswith("  asked     2025-01-15 19:30:00 (") for line in terminal.screen())


def test_builds_fit_the_terminal(api):
    api.answers["GET /builds"] = {"builds": [build(12, commit_subject="s" * 200)], "next_before": None}
    terminal = Terminal(api, "builds", columns=100)
    assert terminal.end() == 0
    assert [len(line) for line in terminal.screen()[1:]] == [100, 0]
    # Long names leave room for what follows them.
    long = build(12, repository="r" * 60, triggered_by="b" * 80, commit_subject="s" * 200)
    api.answers["GET /builds"] = {"builds": [long], "next_before": None}
    terminal = Terminal(api, "builds", columns=90)
    assert terminal.end() == 0
    assert [len(line) for line in terminal.screen()[1:]] == [90, 0]
    assert re.search(r"r…  success  .* b+…  s+…$", terminal.screen()[1])
