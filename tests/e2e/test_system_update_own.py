"""system-update in a clone of a repository that the server builds: it configures several machines, and this one follows
the builds in which its own configuration succeeded."""

import json
import shutil

import pytest
from support.build import Repository

FLAKE = """{{
  inputs.nixpkgs.url = "git+file://{nixpkgs}";
  inputs.dep.url = "git+file://{dep}";
  outputs = {{ self, nixpkgs, dep }}: let
    home = name: nixpkgs.mk "home-${{name}}" (if dep.breaks == name then "exit 1" else "echo ${{name}} ${{dep.v}} > $out");
  in {{
    homeConfigurations.root.activationPackage = home "root";
    homeConfigurations."ann@desk".activationPackage = home "ann";
  }};
}}"""


def dep_files(version, breaks="nobody"):
    return {"flake.nix": f'{{ outputs = _: {{ v = "{version}"; breaks = "{breaks}"; }}; }}'}


class Hosts:
    """The repository `hosts`, its input `dep`, and a clone of it on the machine."""

    def __init__(self, world):
        self.world, self.machine, self.api = world, world.machine, world.api
        root = world.builder.root
        self.dep = Repository(root / "src-dep", dep_files(1))
        self.hosts = Repository(root / "src-hosts", {"flake.nix": self.flake()})
        world.builder.add("hosts", self.hosts.path)
        self.api.stop()
        self.api.start()
        self.machine.server = f"127.0.0.1:{self.api.port}"
        self.machine.nix("flake", "lock", directory=self.hosts.path)
        self.hosts.commit({}, "A lock")
        self.clone(self.hosts.path)

    def flake(self, more=""):
        return FLAKE.format(nixpkgs=self.world.nixpkgs.path, dep=self.dep.path) + more

    def clone(self, url):
        shutil.rmtree(self.machine.flake)
        self.hosts.git("clone", "--quiet", str(url), str(self.machine.flake))

    def build(self):
        self.api.post("/build/trigger/hosts")
        return self.api.wait_until_done("hosts")

    def locked(self):
        return self.machine.locked("dep")


@pytest.fixture
def hosts(world):
    return Hosts(world)


def test_the_inputs_of_the_build_and_none_that_nobody_has_built(hosts):
    built = hosts.dep.commit(dep_files(2, breaks="ann"))
    assert hosts.build()["last_status"] == "failed"
    hosts.dep.commit(dep_files(3))
    hosts.machine.settings["max-jobs"] = "0"  # whatever is not substituted fails
    result = hosts.machine.update("--no-gc")
    assert hosts.locked() == built and "hosts: build 2, commit " in result.stderr
    # Exactly its lock: a clone at the same commit needs nothing else.
    assert json.loads(hosts.machine.lock_text) == hosts.api.get("/builds/2/flake.lock")
    assert "0 inputs changed" in hosts.machine.update("--no-gc").stderr


def test_a_machine_that_is_the_broken_one_stays_where_it_was(hosts):
    lock = hosts.machine.lock_text
    hosts.dep.commit(dep_files(2, breaks="root"))
    assert hosts.build()["last_status"] == "failed"
    result = hosts.machine.update("--no-gc")
    assert hosts.machine.lock_text == lock
    assert "no build of homeConfigurations.root has succeeded yet" in result.stderr
    # An older build that was good for this machine is still good.
    good = hosts.dep.commit(dep_files(3))
    hosts.build()
    hosts.dep.commit(dep_files(4, breaks="root"))
    hosts.build()
    hosts.machine.update("--no-gc")
    assert hosts.locked() == good
    # The other machine follows the newest build, which broke only this one.
    query = "/builds?repository=hosts&result=success&target=homeConfigurations."
    assert [build["id"] for build in hosts.api.get(f"{query}root&limit=1")["builds"]] == [3]
    assert [build["id"] for build in hosts.api.get(f"{query}%22ann@desk%22")["builds"]] == [4, 3, 2]


def test_a_clone_that_is_elsewhere_than_the_build(hosts):
    built = hosts.dep.commit(dep_files(2))
    hosts.build()
    hosts.dep.commit(dep_files(3))
    flake = hosts.machine.flake

    def update():
        stderr = hosts.machine.update("--no-gc").stderr
        assert hosts.locked() == built, stderr
        return stderr

    (flake / "flake.nix").write_text(hosts.flake("\n# mine\n"))
    assert "flake.nix has changes that build 2 did not have" in update()
    clone = Repository.__new__(Repository)
    clone.path = flake
    clone.git("commit", "--quiet", "--all", "--message", "Mine")
    assert "this clone is ahead of commit " in update()
    clone.git("reset", "--quiet", "--hard", "HEAD~2")
    assert "this clone is behind commit " in update()
    clone.commit({"note": "mine"})
    assert "this clone is beside commit " in update()


def test_inputs_that_the_build_does_not_have_stay(hosts):
    other = hosts.world.other
    hosts.build()
    flake = hosts.flake().replace("inputs.dep.url", f'inputs.other.url = "git+file://{other.path}"; inputs.dep.url')
    (hosts.machine.flake / "flake.nix").write_text(flake.replace("nixpkgs, dep }", "nixpkgs, dep, other }"))
    hosts.machine.nix("flake", "lock")
    before = hosts.machine.locked("other")
    other.commit({"flake.nix": '{ outputs = { self }: { v = "o9"; }; }'})
    result = hosts.machine.update("--no-gc")
    assert "other: stays as it is: build 2 does not have it" in result.stderr
    assert hosts.machine.locked("other") == before


def test_a_remote_in_another_form(hosts):
    built = hosts.dep.commit(dep_files(2))
    hosts.build()
    hosts.dep.commit(dep_files(3))
    hosts.clone(f"file://{hosts.hosts.path}/")
    hosts.machine.update("--no-gc")
    assert hosts.locked() == built
