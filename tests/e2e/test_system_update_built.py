"""system-update --built: this machine becomes what the server has built for it, without a clone and without evaluating."""

import json
import os
import shutil
import signal
import time

import pytest
from support.build import Repository
from support.fake_api import FakeApi, Reply
from support.records import signed

# Stand-ins for what nixpkgs and home-manager make: the scripts that activate a generation.
FLAKE = r"""{{
  inputs.nixpkgs.url = "git+file://{nixpkgs}";
  outputs = {{ self, nixpkgs }}: let
    script = dir: name: text: "mkdir -p $out/${{dir}}; printf '%s\n' '#!/bin/sh' 'echo \"${{name}} $*\" >> \"$MACHINE_DIR/calls\"' " +
      "'[ ! -e \"$MACHINE_DIR/rebuild\" ] || . \"$MACHINE_DIR/rebuild\"' '${{text}}' > $out/${{dir}}/${{name}}; chmod +x $out/${{dir}}/${{name}}; ";
    tool = nixpkgs.mk "tool-{version}" "echo > $out";
    unit = nixpkgs.mk "unit-{version}" "echo > $out";
  in {{
    homeConfigurations.root.activationPackage = nixpkgs.mk "home-manager-generation"
      (script "." "activate" ''mkdir -p "$HOME/.local/state/nix/profiles"; nix-env --profile "$HOME/.local/state/nix/profiles/home-manager" --set "''${{0%%/*}}"''
       + "echo ${{tool}} > $out/tool; {home}");
    nixosConfigurations.box.config.system.build.toplevel = nixpkgs.mk "nixos-system-box-{version}"
      (script "bin" "switch-to-configuration" "true"
       + "mkdir -p $out/etc/systemd/system; ln -s ${{unit}} $out/etc/systemd/system/web.service");
  }};
}}"""


class Hosts:
    def __init__(self, world):
        self.world, self.machine, self.api = world, world.machine, world.api
        self.hosts = Repository(world.builder.root / "src-hosts")
        self.commit("1.0")
        world.builder.add("hosts", self.hosts.path)
        self.api.stop()
        self.api.start()
        self.machine.server = f"127.0.0.1:{self.api.port}"
        self.machine.settings["max-jobs"] = "0"
        shutil.rmtree(self.machine.flake)
        self.pin(target="homeConfigurations.root")
        assert self.build()["last_status"] == "success"

    def commit(self, version, home=""):
        text = FLAKE.format(nixpkgs=self.world.nixpkgs.path, version=version, home=home).replace("%%", "%")
        self.hosts.commit({"flake.nix": text})

    def build(self):
        self.api.post("/build/trigger/hosts")
        return self.api.wait_until_done("hosts")

    def pin(self, **values):
        self.values = {"repository": "hosts", **values}
        self.config = self.machine.root / "config.toml"
        self.config.write_text("[update]\n" + "".join(f"{key} = '{value}'\n" for key, value in self.values.items()))

    def keywords(self, keywords):
        # No program that evaluates is there.
        for name in ("nix-instantiate", "home-manager", "nixos-rebuild"):
            self.machine.program(name, '#!/bin/sh\necho "$0" >> "$MACHINE_DIR/calls"\nexit 9\n')
        return {"directory": "/", "NIXBUILD_CONFIG": str(self.config), **keywords}

    def update(self, *options, **keywords):
        return self.machine.update("--built", "--no-gc", *options, **self.keywords(keywords))

    def output(self, target):
        return self.world.builder.outputs("hosts")[f"{target}.out"]


@pytest.fixture
def hosts(world):
    return Hosts(world)


def test_a_home_follows_its_builds(hosts):
    machine = hosts.machine
    # A dry run fetches, shows, and leaves everything as it is.
    result = hosts.update("--dry-run")
    assert "homeConfigurations.root: build 2, commit " in result.stderr and "will be fetched (" in result.stderr
    assert machine.calls == [] and machine.generation() is None
    assert not (machine.home / ".local/state/nixbuild").exists()

    hosts.update()
    assert machine.generation() == hosts.output("homeConfigurations.root") and machine.calls == ["activate "]
    assert "this machine is at build 2 of hosts" in hosts.update().stderr and len(machine.calls) == 1

    hosts.commit("2.0")
    hosts.build()
    result = hosts.update()
    assert "tool" in result.stdout and "1.0 → 2.0" in result.stdout
    assert machine.generation() == hosts.output("homeConfigurations.root")

    # The next one breaks this machine's configuration, and no other.
    before = machine.generation()
    hosts.commit("3.0", home="exit 1")
    hosts.build()
    result = hosts.update()
    assert machine.generation() == before and len(machine.calls) == 2
    assert "homeConfigurations.root did not succeed in build 4" in result.stderr and "at build 3" in result.stderr


def test_killed_while_it_switches(hosts):
    machine = hosts.machine
    machine.during_rebuild('touch "$MACHINE_DIR/begun"; sleep 60')
    process = machine.start("--built", "--no-gc", **hosts.keywords({}))
    deadline = time.monotonic() + 60
    while not (machine.root / "begun").exists():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    assert "another system-update --built" in hosts.update(code=1).stderr
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert machine.generation() is None
    # A script that fails is repeated, too, even if the profile is already the new one.
    machine.during_rebuild('mkdir -p "$HOME/.local/state/nix/profiles"; nix-env --profile "$HOME/.local/state/nix/profiles/home-manager" --set "${0%/*}"; exit 3')
    assert "switching failed" in hosts.update(code=1).stderr
    assert machine.generation() == hosts.output("homeConfigurations.root")
    machine.during_rebuild("")
    hosts.update()
    assert machine.calls == ["activate "] * 3
    hosts.update()
    assert machine.calls == ["activate "] * 3


def test_a_system_and_its_next_boot(hosts):
    machine = hosts.machine
    hosts.pin(target="nixosConfigurations.box")
    hosts.update("--boot")
    profile = machine.root / "nix/var/nix/profiles/system"
    assert machine.calls == ["switch-to-configuration boot"]
    assert os.readlink(profile.parent / os.readlink(profile)) == hosts.output("nixosConfigurations.box")
    hosts.commit("2.0")
    hosts.build()
    result = hosts.update()
    assert machine.calls[-1] == "switch-to-configuration switch" and "units that change: web.service" in result.stderr
    # A unit that fails: the system is in force.
    hosts.commit("3.0")
    hosts.build()
    machine.during_rebuild("exit 4")
    assert "not all of its units started" in hosts.update(code=1).stderr
    machine.during_rebuild("")
    assert "at build 4" in hosts.update().stderr


def test_only_what_is_pinned(hosts):
    """The true key signs what another repository or branch builds; this machine does not follow it."""
    machine = hosts.machine
    key = (hosts.world.builder.state / "cache-key").read_text()
    true = hosts.api.get("/builds/2/record")
    record = json.loads(true["record"])
    home = next(target for target in record["targets"] if target["name"] == "homeConfigurations.root")
    others = [target for target in record["targets"] if target != home]
    elsewhere = [{"name": "out", "path": "/tmp/" + "0" * 32 + "-x"}]
    fake = FakeApi()
    fake.answers["GET /builds"] = Reply(hosts.api.get("/builds?repository=hosts"))
    machine.server = fake.address
    try:
        for change, because in [
            ({"repository": "tools"}, "it is of tools"), ({"branch": "wild"}, "it is of branch 'wild'"),
            ({"targets": others}, "it has not made that target"),
            ({"targets": [{**home, "outputs": elsewhere}]}, "is no path of"),
        ]:  # fmt: skip
            fake.answers["GET /builds/2/record"] = Reply(signed(key, {**record, **change}))
            assert because in hosts.update(code=4).stderr
        fake.answers["GET /builds/2/record"] = Reply({**true, "signatures": []})
        assert "no signature" in hosts.update(code=4).stderr
        assert machine.calls == [] and machine.generation() is None
        fake.answers["GET /builds/2/record"] = Reply(true)
        hosts.update()
        older = {**record, "build": 1}
        fake.answers["GET /builds"] = Reply({"builds": [hosts.api.get("/builds/2") | {"id": 1}], "next_before": None})
        fake.answers["GET /builds/1/record"] = Reply(signed(key, older))
        assert "is older than build 2" in hosts.update(code=4).stderr
    finally:
        fake.stop()
    # A signature that Nix does not trust.
    machine.server = f"127.0.0.1:{hosts.api.port}"
    hosts.commit("2.0")
    hosts.build()
    machine.substituters = []
    assert "cannot fetch /" in hosts.update(code=1).stderr and machine.calls == ["activate "]


def test_what_is_missing_is_said(hosts):
    hosts.pin(target="homeConfigurations.nobody")
    assert "the server has no build with homeConfigurations.nobody of hosts yet" in hosts.update(code=1).stderr
    hosts.pin(target="homeConfigurations.root", branch="wild")
    assert "branch wild yet" in hosts.update(code=1).stderr
    hosts.pin(target="packages.x86_64-linux.tool")
    assert "a configuration was expected" in hosts.update(code=2).stderr
    hosts.pin()
    assert "set repository and target in [update]" in hosts.update(code=2).stderr
    hosts.pin(target="homeConfigurations.root")
    hosts.machine.server = "127.0.0.1:1"
    hosts.update(code=3)
    assert "--built" in hosts.machine.update("--boot", directory="/", code=2).stderr
