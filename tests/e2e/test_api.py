"""serve-api with real builds: its routes, who may use them, and what it leaves after a kill -9."""

import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import signal
import subprocess

import pytest
from support.api import ApiServer
from support.build import GOOD, PHASES, Repository, flake, hang_at, packages
from support.http import exchange, fetch, status_of
from support.json_schema import check, resolve
from support.reload import reload_under_load


@pytest.fixture
def serve(builder):
    servers = []

    def start(*options, **environment):
        servers.append(ApiServer(builder, *options, **environment))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


def repository(builder, script="echo hello > $out", name="demo", **settings):
    source = Repository(builder.root / f"src-{name}", {"flake.nix": flake(packages(x=script))})
    builder.add(name, source.path, **settings)
    return source


SLOW = "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; sleep 0.3; done; echo done > $out"
ENDLESS = "echo begun; while :; do sleep 0.1; done"


def test_trigger_status_logs(builder, serve):
    source = repository(builder)
    api = serve()
    before = api.get("/build/status")
    assert list(before)[:5] == ["is_running", "last_start", "last_finish", "last_status", "last_commit"]
    assert not before["is_running"] and before["last_status"] is None and before["build_id"] is None
    assert api.get("/build/logs") == {"logs": []}

    reply = api.post("/build/trigger", **{"X-Nixbuild-User": "ann@laptop"})
    assert reply["status"] == "triggered" and reply["repository"] == "demo" and reply["build_id"] == 1
    status = api.wait_until_done()
    assert status["last_status"] == "success" and status["last_commit"] == source.head()
    builder.wait_for(lambda: status["outputs"] == builder.roots()[1])  # what only the evaluation needed goes last
    assert api.get("/build/logs?lines=1") == {"logs": ["build 1 succeeded, 1 output"]}

    build = api.get("/builds/1")
    assert build["triggered_by"] == "ann@laptop" and build["triggered_from"] == "127.0.0.1"
    assert [phase["name"] for phase in build["phases"]] == ["fetch", "inputs", "evaluate", "build", "finish"]
    assert [row["id"] for row in api.get("/builds")["builds"]] == [1]
    assert fetch(api, "/builds/1/log").text == builder.log()
    assert api.get("/repositories")["repositories"][0]["url"] == str(source.path)


def test_builds_one_right_after_the_other(builder, serve):
    repository(builder)
    api = serve()
    for number in range(1, 9):
        # The build before may still hold its lock.
        reply = api.post("/build/trigger")
        assert (reply["status"], reply["build_id"]) == ("triggered", number)
        assert api.wait_until_done()["last_status"] == "success"


def test_a_build_that_runs_shows_nothing_of_the_last_one(builder, serve):
    repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger/demo")
    status = api.get("/build/status")
    assert status["is_running"] and status["last_start"]
    assert status["last_finish"] is None and status["last_status"] is None and status["last_commit"] is None
    # One that is not running is named by its number: nothing is stopped.
    other = api.post("/build/cancel?build=7")
    assert (other["status"], other["build_id"], other["message"]) == ("not_running", 7, "Build #7 of demo is not running")
    assert api.post("/build/cancel/demo?build=x", 422)["detail"].startswith("build: ")
    assert api.get("/build/status")["is_running"]
    assert api.post("/build/cancel/demo?build=1")["status"] == "cancelled"
    assert api.wait_until_done()["error"] == "cancelled"


@pytest.mark.concurrency
def test_many_clients_at_once_start_one_build(builder, serve):
    repository(builder, SLOW)
    api = serve()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: api.post("/build/trigger"), range(40)))
    assert sorted(reply["status"] for reply in replies) == ["already_running"] * 39 + ["triggered"]
    assert {reply["build_id"] for reply in replies} == {1}
    assert api.wait_until_done()["last_status"] == "success"
    # If the build had begun to fetch, one follows.
    assert len(builder.builds()) <= 2


def test_triggers_during_a_build_make_one_more(builder, serve):
    gate = builder.root / "gate"
    source = repository(builder, f"until test -e {gate}; do sleep 0.02; done; echo 1 > $out")
    api = serve()
    assert "queued_build_id" not in api.post("/build/trigger")
    builder.wait_for_phase("build")
    source.commit({"flake.nix": flake(packages(x="echo 2 > $out"))})
    replies = [api.post("/build/trigger", **{"X-Nixbuild-User": f"user{number}"}) for number in range(5)]
    assert {(r["status"], r["build_id"], r["queued_build_id"]) for r in replies} == {("already_running", 1, 2)}
    status = api.get("/build/status")
    assert (status["build_id"], status["phase"]) == (1, "build")
    assert "#2 follows" in api.client("trigger").stderr
    gate.touch()
    assert api.wait_until_done()["build_id"] == 2
    first, second = builder.builds()
    assert (first["state"], second["state"], second["triggered_by"]) == ("success", "success", "user0")
    assert second["commit_id"] == source.head() != first["commit_id"]


def is_free(lock):
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def test_a_build_that_follows_evaluates_nothing_if_nothing_has_changed(builder, serve):
    gate = builder.root / "gate"
    repository(builder, f"until test -e {gate}; do sleep 0.02; done; echo 1 > $out")
    api = serve()
    api.post("/build/trigger")
    builder.wait_for_phase("build")
    follow_up = api.post("/build/trigger")["queued_build_id"]
    with api.stream(f"/build/logs/demo/stream?build={follow_up}&events=status") as events:
        gate.touch()
        assert [json.loads(data) for name, _, data in events if name == "end"][-1]["last_status"] == "success"
    first, second = (api.get(f"/builds/{number}") for number in (1, 2))
    assert [phase["name"] for phase in second["phases"]] == ["fetch", "inputs", "build", "finish"]
    assert "nothing has changed since build 1" in builder.log(number=2)
    assert second["targets"] == first["targets"] and second["commit"] == first["commit"]
    assert builder.roots()[2] == builder.roots()[1] == api.get("/build/status")["outputs"]
    # A trigger after the end evaluates again, unless the ending process still takes it.
    with open(builder.state / "locks/demo.lock", "r+b") as lock:
        builder.wait_for(lambda: is_free(lock))
    api.post("/build/trigger")
    api.wait_until_done()
    assert "evaluate" in [phase["name"] for phase in api.get("/builds/3")["phases"]]


def test_what_follows_a_cancelled_build_is_built(builder, serve):
    source = repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    builder.wait_for(lambda: "begun" in "".join(api.get("/build/logs")["logs"]))
    assert api.post("/build/trigger")["queued_build_id"] == 2
    assert api.post("/build/cancel?build=2")["message"] == "Build #2 of demo was cancelled"
    assert api.get("/builds/2")["finish"] and api.get("/build/status")["build_id"] == 1
    assert "#3 follows" in api.client("trigger").stderr
    source.commit(GOOD)
    api.post("/build/cancel")
    status = api.wait_until_done()
    assert (status["build_id"], status["last_status"]) == (3, "success")


def test_queued_builds_survive_a_kill_of_server_and_build(builder, serve):
    source = repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    builder.wait_for(lambda: "begun" in "".join(api.get("/build/logs")["logs"]))
    assert api.post("/build/trigger")["queued_build_id"] == 2
    source.commit(GOOD)
    api.process.kill()
    api.process.wait(30)

    def all_are_gone():
        left = builder.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    builder.wait_for(all_are_gone)
    api.start()
    status = api.wait_until_done()
    assert (status["build_id"], status["last_status"]) == (2, "success")
    assert api.get("/builds/1")["error"] == "interrupted"


def test_cancel_ends_every_process(builder, serve):
    repository(builder, ENDLESS)
    api = serve()
    assert api.post("/build/cancel")["status"] == "not_running"
    api.post("/build/trigger")
    builder.wait_for(lambda: "begun" in "".join(api.get("/build/logs")["logs"]))
    api.post("/build/cancel/demo")
    status = api.wait_until_done()
    assert (status["last_status"], status["error"]) == ("failed", "cancelled")
    builder.wait_for(lambda: all("serve-api" in command for command in builder.processes().values()))
    assert api.post("/build/trigger")["status"] == "triggered"


def test_a_cancelled_build_says_so_at_once_and_holds_up_no_other(builder, serve):
    source = repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    builder.wait_for(lambda: "begun" in "".join(api.get("/build/logs")["logs"]))
    source.commit(GOOD)
    api.post("/build/cancel")
    assert api.get("/builds/1")["state"] == "cancelled"
    assert api.get("/builds?limit=1")["builds"][0]["state"] == "cancelled"
    # The processes of the first may still be ending.
    reply = api.post("/build/trigger")
    assert (reply["status"], reply["build_id"]) == ("triggered", 2)
    assert api.wait_until_done()["last_status"] == "success"
    first, second = (api.get(f"/builds/{number}") for number in (1, 2))
    assert (first["state"], first["error"], second["state"]) == ("cancelled", "cancelled", "success")
    assert first["finish"] and {target["error"] for target in first["targets"]} == {"cancelled"}
    assert "build 1 was cancelled" in fetch(api, "/builds/1/log").text


@pytest.mark.parametrize("who", ["run-build", "serve-api", "both"])
def test_after_kill_9_the_status_is_right(builder, serve, who):
    repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    builder.wait_for(lambda: "begun" in "".join(api.get("/build/logs")["logs"]))
    if who != "run-build":
        api.kill()
    if who != "serve-api":
        for pid, command in builder.processes().items():
            if " run-build " in command:
                os.kill(pid, signal.SIGKILL)
    if who != "run-build":
        api.start()
    if who == "serve-api":
        # Its build goes on, and can be ended by the next one.
        assert api.get("/build/status")["is_running"]
        api.post("/build/cancel")
    status = api.wait_until_done()
    assert status["last_status"] == "failed"
    assert status["error"] == ("cancelled" if who == "serve-api" else "interrupted")
    builder.wait_for(lambda: all("serve-api" in command for command in builder.processes().values()))
    assert api.post("/build/trigger")["status"] == "triggered"


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("who", ["run-build", "serve-api", "both"])
def test_after_kill_9_in_each_phase(builder, serve, who, phase):
    source, extra = hang_at(builder, phase)
    api = serve(**extra)
    api.post("/build/trigger")
    builder.wait_for(lambda: api.get("/build/status")["phase"] == phase)
    builder.wait_for(lambda: any("sleep" in command for command in builder.processes().values()))
    pid = int((builder.state / "locks/demo.lock").read_text())
    if who != "run-build":
        api.kill()
    if who != "serve-api":
        os.kill(pid, signal.SIGKILL)
    if who != "run-build":
        api.start()
    if who == "serve-api":
        assert api.get("/build/status")["phase"] == phase
        api.post("/build/cancel")
    status = api.wait_until_done()
    assert status["last_status"] == "failed"
    assert status["error"] == ("cancelled" if who == "serve-api" else "interrupted")
    builder.wait_for(lambda: all("serve-api" in command for command in builder.processes().values()))
    assert api.get("/builds/1")["state"] == ("cancelled" if who == "serve-api" else "failed")
    # No lock stays, and the next one works.
    source.commit(GOOD)
    builder.add("demo", source.path)
    builder.command("config", "check")  # writes the configuration
    assert api.post("/build/trigger")["build_id"] == 2
    assert api.wait_until_done()["last_status"] == "success"


def fill(builder):
    filler = builder.state / "filler"
    with pytest.raises(OSError), open(filler, "ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def test_a_server_that_is_started_on_a_full_disk(small_disk, serve):
    """The history needs room to be opened. That is said, and no restart is needed once there is some."""
    repository(small_disk)
    small_disk.run()
    filler = fill(small_disk)
    api = serve()
    health = api.get("/health")
    assert health["status"] == "degraded" and "No space left" in "".join(health["problems"])
    detail = api.post("/build/trigger", 503)["detail"]
    assert str(small_disk.state) in detail and "No space left" in detail
    filler.unlink()
    assert api.get("/build/status")["last_status"] == "success"
    api.post("/build/trigger")
    assert api.wait_until_done()["last_status"] == "success"


def test_after_kill_9_the_status_is_right_on_a_full_disk(small_disk, serve):
    repository(small_disk, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    small_disk.wait_for(lambda: "begun" in "".join(api.get("/build/logs")["logs"]))
    filler = fill(small_disk)
    for pid, command in small_disk.processes().items():
        if " run-build " in command:
            os.kill(pid, signal.SIGKILL)
    assert api.wait_until_done()["error"] == "interrupted"
    # What the killed ones had open is free now.
    fill(small_disk)
    assert "full" in api.post("/build/trigger", 503)["detail"]
    filler.unlink()
    assert api.post("/build/trigger")["status"] == "triggered"


def test_the_end_of_the_server_ends_its_builds(builder, serve):
    repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    builder.wait_for(lambda: "begun" in "".join(api.get("/build/logs")["logs"]))
    api.stop()
    assert builder.last()["state"] == "cancelled" and builder.last()["error"] == "cancelled"
    builder.wait_for(lambda: not builder.processes())


@pytest.mark.concurrency
def test_a_stream_tells_all_of_a_build(builder, serve):
    repository(builder, SLOW)
    api = serve()
    api.post("/build/trigger")
    with api.stream("/build/logs/demo/stream") as events:
        seen = list(events)
    assert seen[0][0] == "status" and seen[-1][0] == "end"
    assert json.loads(seen[-1][2])["last_status"] == "success"
    lines = [data for name, _, data in seen if name == "log"]
    assert lines == builder.log().splitlines()
    ids = [event_id for name, event_id, _ in seen if name == "log"]
    assert ids[-1] == f"1:{len(builder.log().encode())}"

    with api.stream("/build/logs/demo/stream", **{"Last-Event-ID": ids[-3]}) as events:
        assert [data for name, _, data in events if name == "log"] == lines[-2:]
    with api.stream("/build/logs/demo/stream?lines=1") as events:
        assert [data for name, _, data in events if name == "log"] == lines[-1:]
    with api.stream("/build/logs/demo/stream?events=status") as events:
        assert {name for name, _, _ in events} == {"status", "end"}
    api.post("/build/trigger")
    with api.stream("/build/logs/demo/stream?build=1") as events:
        seen = list(events)
    assert [data for name, _, data in seen if name == "log"] == lines and json.loads(seen[-1][2])["build_id"] == 1


def test_a_follower_hears_of_the_build_it_asked_for(builder, serve):
    repository(builder)
    api = serve()
    for number in (1, 2, 3):
        api.post("/build/trigger")
        # The server has last looked at the build before this one.
        with api.stream(f"/build/logs/demo/stream?build={number}") as events:
            statuses = [json.loads(data) for name, _, data in events if name in ("status", "end")]
        assert {status["build_id"] for status in statuses} == {number}
        assert statuses[-1]["last_status"] == "success", statuses


@pytest.mark.concurrency
def test_a_slow_follower_hears_the_end_of_its_own_build(builder, serve):
    # More than the sockets between them hold, so that the server waits for its client.
    repository(builder, "head -c 24000000 /dev/zero | tr '\\0' x | fold -w 12000; echo; sleep 1; echo done > $out")
    api = serve()
    api.post("/build/trigger")
    with api.stream("/build/logs/demo/stream?build=1") as events:
        next(events)
        api.wait_until_done()
        api.post("/build/trigger")
        seen = list(events)
    assert [data for name, _, data in seen if name == "log"] == builder.log(number=1).splitlines()
    end = json.loads(seen[-1][2])
    assert seen[-1][0] == "end" and end["build_id"] == 1 and end["last_status"] == "success"


def resident_memory(pid):
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


@pytest.mark.parametrize("size", [100 << 20, pytest.param(1 << 30, marks=pytest.mark.slow)])
def test_a_log_of_any_length(builder, serve, size):
    repository(builder)
    builder.run()
    log = builder.state / "logs/demo/1.log"
    line = "cc -O2 -c -o objects/module-%09d.o source/module-%09d.c -Iinclude\n"
    count = size // len(line % (0, 0))
    with log.open("w") as out:
        for begin in range(0, count, 100_000):
            out.write("".join(line % (number, number) for number in range(begin, min(count, begin + 100_000))))
    end = [(line % (number, number)).rstrip() for number in range(count - 10_000, count)]
    # An AddressSanitizer keeps what was freed, by default up to 256 MiB of it.
    api = serve(ASAN_OPTIONS="quarantine_size_mb=1")
    assert api.client("logs").stdout.splitlines() == end[-100:]
    assert api.client("logs", "-n", "10000").stdout.splitlines() == end
    assert api.client("logs", "--follow", "-n", "7").stdout.splitlines() == end[-7:]
    before = resident_memory(api.process.pid)

    def digest(stream):
        found = hashlib.sha256()
        while piece := stream.read(1 << 20):
            found.update(piece)
        return found.hexdigest()

    with log.open("rb") as file:
        wanted = digest(file)
    # Several, and one of them through events.
    command = builder.command("builds", "1", "--log")
    whole = [
        subprocess.Popen(command, env={**builder.environment(), "NIXBUILD_SERVER": api.url}, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [digest(one.stdout) for one in whole] == [wanted] * 3
    assert [one.wait(60) for one in whole] == [0] * 3
    with api.stream("/build/logs/demo/stream?build=1") as events:
        assert sum(name == "log" for name, _, _ in events) == count
    assert resident_memory(api.process.pid) - before < 32 << 20


def test_lines_reach_a_follower_while_the_build_runs(builder, serve):
    repository(builder, SLOW)
    api = serve()
    api.post("/build/trigger")
    with api.stream("/build/logs/demo/stream") as events:
        for name, _, data in events:
            if name == "log" and data.endswith("line 3"):
                break
        assert api.get("/build/status")["is_running"]


def test_followers_do_not_hold_up_the_end_of_the_server(builder, serve):
    repository(builder, ENDLESS)
    api = serve()
    api.post("/build/trigger")
    with api.stream("/build/logs/demo/stream") as events:
        next(events)
        api.post("/build/cancel")
        assert api.stop() < 10
        list(events)


@pytest.mark.concurrency
def test_clients_and_server(builder, serve):
    repository(builder, SLOW)
    api = serve()
    followed = api.client("trigger", "--follow")
    assert "line 10" in followed.stdout and "✓" in followed.stderr
    status = api.client("status")
    assert json.loads(status.stdout)["last_status"] == "success" and "✓ Last build succeeded" in status.stderr
    assert api.client("logs", "-n", "1").stdout == "build 1 succeeded, 1 output\n"
    assert "demo" in api.client("builds").stdout
    assert json.loads(api.client("info", "--json").stdout)["api_port"] == api.port
    assert "not running" in api.client("health", code=1).stdout  # there is no cache


@pytest.mark.parametrize("path, status", [
    ("/build/status/other", 404), ("/build/logs/other", 404), ("/builds/7", 404), ("/builds/7/log", 404),
    ("/builds/7/flake.lock", 404), ("/builds/x", 422), ("/builds/0", 422), ("/nowhere", 404),
    ("/build/logs?lines=0", 422), ("/build/logs?lines=-1", 422), ("/build/logs?lines=abc", 422),
    ("/build/logs?lines=999999", 422), ("/build/logs?lines=", 422), ("/builds?limit=0", 422),
    ("/builds?result=good", 422), ("/builds?target=x&result=cancelled", 422),
    ("/builds?before=x", 422), ("/build/trigger", 405), ("/build/logs/demo/stream?lines=x", 422),
    ("/build/logs/demo/stream?build=9", 404),
])  # fmt: skip
def test_what_is_wrong_is_said(builder, serve, path, status):
    repository(builder)
    assert serve().get(path, status)["detail"]


def test_a_post_to_what_is_read_is_405(builder, serve):
    repository(builder)
    answer = fetch(serve(), "/build/status", "POST", {"Content-Length": "0"})
    assert answer.status == 405 and "GET" in answer.headers["allow"] and json.loads(answer.text)["detail"]


def test_no_page_of_another_site_triggers_a_build(builder, serve):
    repository(builder)
    api = serve("--allowed-host", "builds.example.org")
    for headers in ({"Origin": "http://evil.example.com"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        assert api.post("/build/trigger", 403, **headers)["detail"]
    for host, status in (("evil.example.com", 403), ("builds.example.org", 200), ("build-server:8000", 200)):
        raw = exchange(api, f"GET /build/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert status_of(raw) == status
    assert builder.builds() == []


def test_a_token_where_it_is_asked_for(builder, serve):
    repository(builder)
    token = builder.root / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    api = serve("--token-file", token)
    assert fetch(api, "/build/status").headers["www-authenticate"] == "Bearer"
    api.post("/build/trigger", 401)
    api.post("/build/trigger", 401, Authorization="Bearer wrong")
    api.get("/build/status", 200, Authorization="Bearer secret")
    api.get("/health")


def test_a_token_that_systemd_hands_over(builder, serve):
    """As the drop-in of docs/operations.md and NixOS' tokenFile do: a credential, with its group's bits."""
    repository(builder)
    token = builder.root / "token"
    token.write_text("secret\n")
    token.chmod(0o440)
    api = serve(NIXBUILD_API_TOKEN_FILE=str(token))
    assert fetch(api, "/build/status").status == 401
    api.get("/build/status", 200, Authorization="Bearer secret")


def test_a_build_that_cannot_be_started_fails(builder, serve):
    repository(builder)
    api = serve()
    # What run-build is told to read is no configuration any more.
    builder.config.write_text("nonsense\n")
    api.post("/build/trigger")
    status = api.wait_until_done()
    assert status["last_status"] == "failed" and "config.toml:1" in status["error"]


def test_sighup_reads_the_repositories_again(builder, serve):
    repository(builder)
    api = serve()
    api.get("/build/status/second", 404)
    repository(builder, name="second")
    builder.command("config", "check")  # writes the configuration
    api.process.send_signal(signal.SIGHUP)
    builder.wait_for(lambda: fetch(api, "/build/status/second").status == 200)


def test_sighup_while_the_repositories_are_told(builder, serve):
    for number in range(300):
        builder.add(f"r{number}", "/nowhere")
    builder.command("config", "check")  # writes the configuration
    api = serve()
    assert reload_under_load(api, "/metrics", "/repositories", "/info") == {200}


def test_answers_are_as_openapi_says(builder, serve):
    repository(builder)
    api = serve()
    document = api.get("/openapi.json")
    assert document["openapi"].startswith("3.1.")
    held = set()

    def hold(method, template, path):
        answer = fetch(api, path, method.upper(), {"Content-Length": "0"} if method == "post" else {})
        described = document["paths"][template][method]["responses"][str(answer.status)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in described, f"{path}: {kind} is none of {list(described)}"
        schema = described[kind].get("schema", {})
        if kind == "application/json" and schema:
            body = json.loads(answer.text)
            if "properties" in resolve(schema, document):
                check(body, schema, document)
        held.add((method, template))

    hold("post", "/build/trigger", "/build/trigger")
    api.wait_until_done()
    hold("post", "/build/trigger/{repository}", "/build/trigger/demo")
    api.wait_until_done()
    for template, operations in document["paths"].items():
        for method in operations:
            if template.endswith("/stream") or template.startswith("/build/trigger"):
                continue
            hold(method, template, template.replace("{repository}", "demo").replace("{id}", "1"))
    hold("get", "/build/status/{repository}", "/build/status/other")
    hold("get", "/build/logs", "/build/logs?lines=0")
    everything = {(method, template) for template, operations in document["paths"].items() for method in operations}
    assert held == {pair for pair in everything if not pair[1].endswith("/stream")}
