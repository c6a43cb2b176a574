"""The commands that talk to a build server, against one that says what a test wants: what they say."""

import json

from support.client import client
from support.fake_api import COMMIT, FINISH, START, TRIGGERED, Reply, build, ended, status
from support.server import BINARY

FIVE = ["is_running", "last_start", "last_finish", "last_status", "last_commit"]


def test_the_seeds_scenario(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    done = client(api, "trigger")
    assert (done.code, done.out, done.err) == (0, "", "✓ Build triggered successfully (nix-terminal #12)\n")
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
    assert done.err == "⏳ Build in progress... (nix-terminal #12)\n"

    api.answers["GET /build/status"] = ended()
    done = client(api, "status")
    assert (done.code, done.err) == (0, "✓ Last build succeeded (nix-terminal #12)\n")
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
    assert (done.code, done.out, done.err) == (0, "", "! Build already running (#12) of nix-terminal\n")


def test_trigger_behind_another_build(api):
    api.answers["POST /build/trigger"] = {**TRIGGERED, "queued_behind": 11}
    assert client(api, "trigger").err == (
        "✓ Build triggered successfully (nix-terminal #12), queued behind #11\n"
    )


def test_status_of_several_repositories(api):
    """The success of one hides the failure of none."""
    repository = {"url": "/r", "branch": None, "lock": "updated"}
    names = ("nix-terminal", "tools", "site", "new")
    api.answers["GET /repositories"] = {"repositories": [{"name": name, **repository} for name in names]}
    api.answers["GET /build/status"] = api.answers["GET /build/status/nix-terminal"] = ended()
    api.answers["GET /build/status/tools"] = ended("failed", repository="tools", build_id=13)
    api.answers["GET /build/status/site"] = {
        **ended("failed", repository="site", build_id=14), "error": "cancelled",
    }  # fmt: skip
    api.answers["GET /build/status/new"] = status(
        repository="new", is_running=False, last_start=None, build_id=None, phase=""
    )
    done = client(api, "status")
    assert done.code == 0 and list(json.loads(done.out)) == FIVE
    assert done.err.splitlines() == [
        "✓ Last build succeeded (nix-terminal #12)",
        f"  ✓ nix-terminal #12: succeeded {FINISH}",
        f"  ✗ tools #13: failed {FINISH}: 2 targets failed",
        f"  ✗ site #14: cancelled {FINISH}",
        "  ! new: never built",
    ]
    # One that is named is the only one.
    assert client(api, "status", "nix-terminal").err == "✓ Last build succeeded (nix-terminal #12)\n"


def test_a_build_by_its_number(api):
    api.answers["GET /builds/7"] = build(7, state="failed", error="no space left")
    done = client(api, "status", "7", "--json")
    assert (done.code, done.err) == (0, "✗ Last build failed: no space left (nix-terminal #7)\n")
    told = json.loads(done.out)
    assert (told["build_id"], told["last_status"], told["last_finish"]) == (7, "failed", FINISH)

    api.answers["GET /builds/7/log"] = Reply("one\ntwo\nthree\n", content_type="text/plain")
    assert client(api, "logs", "7", "-n", "2").out == "two\nthree\n"

    api.answers["GET /build/status/nix-terminal"] = status()
    done = client(api, "cancel", "7")
    assert (done.code, done.err) == (0, "! Build #7 is not running\n")
    assert not [request for request in api.requests if request[0] == "POST"]
    api.answers["GET /builds/12"] = build(12, state="running", finish=None)
    reply = {"status": "cancelled", "message": "m", "repository": "nix-terminal", "build_id": 12}
    api.answers["POST /build/cancel/nix-terminal"] = reply
    assert client(api, "cancel", "12").err == "✓ Build #12 cancelled\n"

    # A repository may be named by digits.
    api.answers["GET /build/status/2048"] = ended(repository="2048")
    assert "(2048 #12)" in client(api, "status", "--repository", "2048").err
    assert client(api, "status", "3", "--repository", "2048").code == 2


def test_a_repository_that_is_mistyped(api):
    api.answers["GET /builds"] = {"builds": [], "next_before": None}
    api.answers["GET /repositories"] = {
        "repositories": [{"name": "sample", "url": "/r", "branch": None, "lock": "updated"}]
    }
    done = client(api, "builds", "sampel")
    assert (done.code, done.out) == (4, "")
    assert "unknown repository 'sampel'; did you mean 'sample'? repositories: sample" in done.err
    assert client(api, "builds", "sample").err == "! No builds\n"


def test_a_locale_without_unicode(api):
    """Signs are ASCII where the locale has nothing else; data stays as it is."""
    api.answers["GET /build/status"] = ended(outputs=["/nix/store/ü"])
    for variables in ({"LANG": "C"}, {"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}):
        done = client(api, "status", "--json", **variables)
        assert done.err == "[ok] Last build succeeded (nix-terminal #12)\n"
        assert json.loads(done.out)["outputs"] == ["/nix/store/ü"]
    for variables in ({"LANG": "C.UTF-8"}, {"LANG": "C", "LC_ALL": "en_US.utf8"}, {"LANG": ""}):
        assert client(api, "status", **variables).err.startswith("✓ Last build succeeded")


def test_trigger_json(api):
    api.answers["POST /build/trigger"] = TRIGGERED
    assert json.loads(client(api, "trigger", "--json").out) == TRIGGERED


def test_status_of_other_states(api):
    api.answers["GET /build/status/nix-terminal"] = ended("failed")
    done = client(api, "status", "nix-terminal", "--json")
    assert (done.code, done.err) == (0, "✗ Last build failed: 2 targets failed (nix-terminal #12)\n")
    assert json.loads(done.out) == ended("failed")
    assert list(json.loads(done.out))[:5] == FIVE

    api.answers["GET /build/status/nix-terminal"] = status(phase="queued", last_start=None)
    assert client(api, "status", "nix-terminal").err == "⏳ Build in progress... (nix-terminal #12, queued)\n"

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
    assert done.err == "! Older builds: --before 12\n"
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
    file.chmod(0o644)
    refused = client(api, "status", "--token-file", file)
    assert refused.code == 2 and "chmod 600" in refused.err and not api.requests
    file.chmod(0o600)
    assert client(api, "status", "--token-file", file).code == 0
    assert api.requests[-1][3]["Authorization"] == "Bearer s3cret"
    client(api, "status")
    assert "Authorization" not in api.requests[-1][3]

    api.answers["GET /build/status"] = Reply({"detail": "a token is needed"}, 401)
    done = client(api, "status")
    assert done.code == 4 and "a token is needed" in done.err and "--token-file" in done.err

    for content in ("", "two words", "\na"):
        file.write_text(content)
        assert client(api, "status", "--token-file", file).code == 2
    assert client(api, "status", "--token-file", root / "none").code == 2


def test_names_that_no_repository_can_have(api):
    for name in ("../x", "..", "", "a/b", "A", "-x", "a?b#c", "ä", "x" * 64):
        for command in ("trigger", "status", "logs", "cancel", "builds"):
            done = client(api, command, "--", name)
            assert (done.code, done.out) == (2, "") and f"'{name}'" in done.err
        assert client(api, "builds", f"--repository={name}").code == 2
    assert api.requests == []


def test_a_name_that_the_server_does_not_know(api):
    api.answers["POST /build/trigger/other"] = Reply({"detail": "no repository 'other' is configured"}, 404)
    done = client(api, "trigger", "other")
    assert (done.code, done.out) == (4, "") and "no repository 'other' is configured" in done.err
