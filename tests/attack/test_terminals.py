"""Boundary 6: what a server or a repository wrote cannot command the terminal of who reads it."""

import json

import pytest
from support.client import Terminal, client
from support.fake_api import START, STREAM, TRIGGERED, Reply, Stream, build, ended, event, progress, status

# Erases the screen, sets the title, C1's CSI, overrides the direction, rings, goes back over the line.
EVIL = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202eevil\u2066\u2069\u200f\u2028\r\x08\x7f"
# None of these is among what the program itself draws with.
FORBIDDEN = ("\x1b[2J", "\x1b]", "\x07", "\u009b", "\u202e", "\u2066", "\u2069", "\u200f", "\u2028", "\x08", "\x7f")


def spoiled(value):
    """Every string in the JSON, made evil."""
    if isinstance(value, dict):
        return {
            name: part if name.endswith(("start", "finish", "_at", "since")) else spoiled(part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [spoiled(part) for part in value]
    return value + EVIL if isinstance(value, str) else value


RUNNING = {"derivation": "/nix/store/a.drv", "name": "hello", "phase": "buildPhase", "since": START}
TARGET = {"name": "packages.x", "result": "failed", "derivation": "/nix/store/a.drv", "error": "no", "log_tail": ["bad"],
          "outputs": [{"name": "out", "path": "/nix/store/a", "nar_size": 1}]}  # fmt: skip
BUILD = spoiled(build(
    state="failed", error="bad", targets=[TARGET], phases=[{"name": "fetch", "start": START, "finish": START}],
    derivations=[{"derivation": "/nix/store/a.drv", "name": "a", "start": START, "milliseconds": 1, "failed": True}],
))  # fmt: skip
INFO = {"hostname": "h", "version": "1", "system": "x", "api_port": 1, "cache_url": "http://c:5000",
        "public_keys": ["k-1:x"], "repositories": ["r"]}  # fmt: skip

COMMANDS = {
    "status": ["status"],
    "status, all of it": ["status", "--json"],
    "logs": ["logs"],
    "builds": ["builds"],
    "builds as JSON": ["builds", "--json"],
    "one build": ["builds", "12"],
    "one build as JSON": ["builds", "12", "--json"],
    "a whole log": ["builds", "12", "--log"],
    "a lock": ["builds", "12", "--lock"],
    "info": ["info"],
    "info as JSON": ["info", "--json"],
    "health": ["health"],
    "health as JSON": ["health", "--json"],
    "trigger": ["trigger"],
    "trigger --follow": ["trigger", "--follow"],
    "cancel": ["cancel"],
    "cancel as JSON": ["cancel", "--json"],
    "doctor": ["doctor"],
    "doctor as JSON": ["doctor", "--json"],
    "an error": ["status", "nowhere"],
}


@pytest.fixture
def evil_server(api):
    end = spoiled(ended("failed"))
    log = f"one{EVIL}line\n{EVIL}\nand the last, without an end{EVIL}"
    api.answers = {
        "GET /build/status": end,
        "GET /build/status/nowhere": Reply(spoiled({"detail": "no"}), 404),
        "GET /build/logs": {"logs": [f"line {EVIL}"]},
        "GET /builds": {"builds": [BUILD], "next_before": None},
        "GET /builds/12": BUILD,
        "GET /builds/12/log": Reply(log, content_type="text/plain"),
        "GET /builds/12/flake.lock": Reply(json.dumps({"x": EVIL}, ensure_ascii=False)),
        "GET /builds/12/record": Reply(spoiled({"detail": "no"}), 503),
        "GET /info": spoiled(INFO),
        "GET /health": spoiled({"status": "degraded", "cache_running": False, "problems": ["bad"]}),
        "POST /build/trigger": {**spoiled(TRIGGERED), "status": "triggered", "repository": "nix-terminal"},
        "POST /build/cancel": spoiled({"status": "x", "message": "m", "repository": "r", "build_id": 12}),
        f"GET {STREAM}": Stream(
            event("status", spoiled(status(progress=progress(to_build=4, built=1, running=[RUNNING])))),
            event("log", f"line {EVIL.replace(chr(13), '')}", "12:1"),
            event("end", end),
        ),
    }
    return api


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_no_command_lets_a_server_write_to_the_terminal(evil_server, words, root):
    terminal = Terminal(evil_server, *words, HOME=str(root), NIXBUILD_CONFIG="/dev/null")
    terminal.end()
    shown = [name for name in FORBIDDEN if name in terminal.text]
    assert not shown, (shown, terminal.text)
    if words[0] not in ("doctor", "trigger", "cancel"):
        assert terminal.text.strip()


def test_what_is_piped_is_as_the_server_sent_it(evil_server):
    as_text = EVIL.replace("\r", "\n")  # how Python reads a pipe
    assert client(evil_server, "builds", "12", "--log").out.endswith(f"and the last, without an end{as_text}")
    assert "\u202e" in client(evil_server, "builds", "12", "--lock").out
    assert f"line {as_text}" in client(evil_server, "logs").out


def test_a_character_that_a_piece_cuts_is_not_lost(evil_server):
    """The log comes in pieces of whatever size; so are escape sequences, and lines without an end."""
    text = ("ä" * 4096 + "\n") * 40 + "x" * 200_000 + "\x1b[2Jend"
    evil_server.answers["GET /builds/12/log"] = Reply(text, content_type="text/plain")
    terminal = Terminal(evil_server, "builds", "12", "--log")
    assert terminal.end() == 0
    assert terminal.text.count("ä") == 40 * 4096 and "\ufffd" not in terminal.text
    assert terminal.text.count("x") == 200_000 and "\x1b" not in terminal.text


def test_an_error_that_a_server_words_is_cleaned_also_in_a_pipe(evil_server):
    """Messages go to a terminal or a journal, not into a program."""
    shown = client(evil_server, "status", "nowhere").err
    assert not [name for name in FORBIDDEN if name in shown], shown
