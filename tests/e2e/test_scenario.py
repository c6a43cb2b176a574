"""A build that is triggered on the laptop and watched from the desktop: one server, two homes, each with its own store."""

import json
import re
import subprocess

import pytest
from support.api import ApiServer
from support.build import Repository, flake, make_builder, packages
from support.machine import BuilderStore, Machine
from support.server import BINARY, Server

pytestmark = pytest.mark.distribution

FIVE = ["is_running", "last_start", "last_finish", "last_status", "last_commit"]


@pytest.fixture
def builder():
    yield from make_builder()


def machine_of(builder, cache, api, name):
    machine = Machine(builder, cache, name=name)
    machine.server = f"127.0.0.1:{api.port}"
    for command in ("bt", "bs", "bl"):
        (machine.bin / command).symlink_to(BINARY)
    return machine


def test_from_the_laptop_to_the_desktop(builder):
    gate = builder.root / "gate"
    script = f"echo working; until test -e {gate}; do sleep 0.05; done; echo done; echo hello > $out"
    source = Repository(builder.root / "src", {"flake.nix": flake(packages(hello=script))})
    builder.add("nix-terminal", source.path)
    builder.nix("nix-store", "--init")
    with Server(BuilderStore(builder), builder.root / "cache-state") as cache, ApiServer(builder) as api:
        laptop, desktop = (machine_of(builder, cache, api, name) for name in ("laptop", "desktop"))

        said = laptop.run("bt")
        assert (said.stdout, said.stderr) == ("", "✓ Build triggered successfully (nix-terminal #1)\n")
        builder.wait_for_phase("build", "nix-terminal")
        for machine in (laptop, desktop):
            said = machine.run("bs")
            status = json.loads(said.stdout)
            assert list(status) == FIVE and status["is_running"] is True
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status["last_start"])
            assert [status[name] for name in FIVE[2:]] == [None, None, None]
            assert said.stderr == "⏳ Build in progress... (nix-terminal #1)\n"
        # What was pushed since the fetch is not lost.
        assert desktop.run("bt").stderr == "! Build already running (#1) of nix-terminal; #2 follows\n"
        gate.touch()
        api.wait_until_done("nix-terminal")

        said = desktop.run("bs")
        status = json.loads(said.stdout)
        assert said.stderr == "✓ Last build succeeded (nix-terminal #2)\n"
        assert (status["is_running"], status["last_status"], status["last_commit"]) == (False, "success", source.head())
        assert "nothing has changed since build 1" in desktop.run("bl").stdout
        assert "done" in builder.log("nix-terminal", 1)

        # Whatever can send a request starts a build, too.
        answer = subprocess.run(["curl", "-sS", "--fail", "-X", "POST", f"{api.url}/build/trigger"], check=True,
                                capture_output=True, text=True, timeout=30).stdout  # fmt: skip
        assert json.loads(answer) == {
            "status": "triggered", "message": json.loads(answer)["message"], "repository": "nix-terminal", "build_id": 3,
        }  # fmt: skip
        assert api.wait_until_done("nix-terminal")["last_status"] == "success"

        # Both take the result from the cache, by its signature.
        path = builder.outputs("nix-terminal")["packages.x86_64-linux.hello.out"]
        for machine in (laptop, desktop):
            machine.settings["max-jobs"] = "0"
            machine.run("nix-store", "--realise", path)
            assert machine.run("cat", path).stdout == "hello\n"
        desktop.public_key = "another-1:" + "A" * 43 + "="
        desktop.run("nix-store", "--delete", path)
        assert "not signed by any of the keys" in desktop.run("nix-store", "--realise", path, code=1).stderr
