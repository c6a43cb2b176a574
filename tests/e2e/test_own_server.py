"""A machine that is its own build server, before anybody has configured anything.

In a network of their own: the default ports are there, and no name resolves.
"""

import json
import subprocess

import pytest
from support.api import ApiServer
from support.build import flake, packages, repository
from support.fake_api import FakeApi, TRIGGERED
from support.network import Network
from support.server import BINARY, ServerProcess

SAID = "! The name 'build-server' does not resolve; using the server of this machine, http://127.0.0.1:8000"


@pytest.fixture
def network():
    with Network() as network:
        yield network


@pytest.fixture
def client(builder, network):
    def run(*words, code=0, **more):
        environment = {**builder.environment(), "NIXBUILD_CONFIG": "/dev/null", **more}
        result = subprocess.run(
            [*network.prefix, str(BINARY), *map(str, words)], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    return run


@pytest.fixture
def api(builder, network):
    server = ApiServer(builder)
    server.prefix = network.prefix
    server.port = 8000
    yield server
    server.stop()


def test_clients_find_the_server_of_their_own_machine(builder, api, client):
    repository(builder, {"flake.nix": flake(packages(x="echo hello > $out"))})
    api.start()
    built = client("trigger", "--follow")
    assert built.stderr.splitlines()[:2] == [SAID, "✓ Build triggered successfully (demo #1)"]
    for words in (["status"], ["logs"], ["logs", "1"], ["logs", "-f"], ["builds"], ["builds", 1], ["builds", 1, "--log"], ["cancel"], ["info"]):
        result = client(*words)
        assert result.stderr.splitlines()[0] == SAID and result.stderr.count("does not resolve") == 1, words
    assert json.loads(client("status").stdout)["last_status"] == "success"
    done = client("doctor", "--json", code=1)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.stderr.strip() == SAID and checks["build API"]["message"].startswith("http://127.0.0.1:8000 answers")
    done = client("complete", "--", "nixbuild", "status", "")
    assert "demo\t" in done.stdout and done.stderr == ""


def test_what_was_configured_is_meant(builder, api, client):
    repository(builder, {"flake.nix": flake(packages(x="echo hello > $out"))})
    api.start()
    for words in (["--server", "build-server"], ["--server", "build-server:8000"]):
        result = client("status", *words, code=3)
        assert "'build-server' does not resolve" in result.stderr and "using" not in result.stderr
    assert "using" not in client("status", code=3, NIXBUILD_SERVER="build-server").stderr


@pytest.mark.parametrize("words", [["bootstrap", "--yes"], ["system-update", "--dry-run"]])
def test_trust_needs_a_server_by_name(builder, api, client, words):
    repository(builder, {"flake.nix": flake(packages(x="echo hello > $out"))})
    api.start()
    result = subprocess.run([*api.prefix, str(BINARY), *words], env={**builder.environment(), "NIXBUILD_CONFIG": "/dev/null"}, cwd=builder.root / "home", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert result.returncode != 0 and SAID not in result.stderr


def test_another_server_on_this_port_is_left_alone(builder, network, client):
    token = builder.root / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    fake = network.inside(lambda: FakeApi(port=8000))
    try:
        for answer in ({}, {"version": "1"}, TRIGGERED):
            fake.answers["GET /info"] = answer
            result = client("trigger", code=3, NIXBUILD_CLIENT_TOKEN_FILE=str(token))
            assert "'build-server' does not resolve" in result.stderr and "using" not in result.stderr
        assert {(request[0], request[1]) for request in fake.requests} == {("GET", "/info")}
        assert all("secret" not in str(request) for request in fake.requests)
    finally:
        fake.stop()


def test_a_server_without_repositories_serves_and_says_what_to_add(builder, network, api, client):
    api.start()
    assert any("no repository is configured; add a [[repository]]" in line and str(builder.config) in line for line in api.log)
    for words in (["trigger"], ["status"], ["logs"]):
        assert "the server has no repository; add a [[repository]] with name and url" in client(*words, code=4).stderr
    assert client("builds", "--json").stdout.strip().startswith("{")
    assert json.loads(client("info", "--json").stdout)["repositories"] == []
    # One that is added is there after a reload.
    repository(builder, {"flake.nix": flake(packages(x="echo hello > $out"))})
    builder.command()
    api.process.send_signal(1)
    builder.wait_for(lambda: json.loads(client("info", "--json").stdout)["repositories"] == ["demo"])
    client("trigger", "--wait")


def test_a_server_that_is_nobodys_client_is_well(builder, network, api, client):
    repository(builder, {"flake.nix": flake(packages(x="echo hello > $out"))})
    cache = ServerProcess()
    options = ["--state-dir", builder.state, "--nix-state-dir", builder.store / "var/nix"]
    builder.nix("nix-store", "--init")
    serve = builder.command("serve-cache", "--listen", "127.0.0.1:5000", "--store-dir", builder.store / "store", *options)
    cache.start_process([*network.prefix, *serve], builder.environment())
    api.options[api.options.index("--cache-url") + 1] = "http://127.0.0.1:5000"
    api.start()
    try:
        for is_first in (True, False):
            checks = json.loads(client("doctor", "--on-server", "--json", *options).stdout)["checks"]
            # How full the disk is depends on the machine.
            assert {check["name"] for check in checks if check["state"] != "ok"} <= {"disk space", "state's disk space"}, checks
            assert "substituter" not in {check["name"] for check in checks}
            if is_first:
                client("trigger", "--wait")
    finally:
        cache.stop()


def test_run_build_without_a_repository(builder):
    result = builder.run(code=2)
    assert f"no repository is configured; add a [[repository]] with name and url to {builder.config}" in result.stderr
