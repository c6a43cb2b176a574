"""Boundary 3: who answers as the build server, without its key, cannot choose what a machine runs.

The machine's server is one that only passes on what the real one says, but for what a test changes.
"""

import hashlib
import json
import subprocess

import pytest
from support.build import Repository
from support.fake_api import FakeApi, Reply
from support.http import fetch
from support.records import canonical, sign, signed
from support.server import BINARY

EVIL = {"flake.nix": '{ outputs = { self }: { version = "666"; mk = name: script: throw "evil"; v = "evil"; }; }'}


def new_key(root, name):
    file = root / f"{name}.secret"
    subprocess.run([BINARY, "keys", "generate", "--name", name, "--file", file], check=True, capture_output=True)
    return file.read_text().strip(), file.with_name(file.name + ".pub").read_text().strip()


class FalseServer(FakeApi):
    def __init__(self, world):
        super().__init__()
        self.api = world.api
        self.key = (world.builder.state / "cache-key").read_text()
        for path in ("/repositories", "/info", "/health", "/builds"):
            self.answers[f"GET {path}"] = Reply(json.dumps(self.api.get(path)))
        for build in self.api.get("/builds")["builds"]:
            for path in (f"/builds/{build['id']}", f"/builds/{build['id']}/record"):
                self.answers[f"GET {path}"] = Reply(json.dumps(self.api.get(path)))
            lock = fetch(self.api, f"/builds/{build['id']}/flake.lock").text
            self.answers[f"GET /builds/{build['id']}/flake.lock"] = Reply(lock)

    def body(self, path):
        return json.loads(self.answers[f"GET {path}"].body)

    def record(self, number):
        return json.loads(self.body(f"/builds/{number}/record")["record"])

    def put(self, path, answer):
        self.answers[f"GET {path}"] = answer if isinstance(answer, Reply) else Reply(answer)

    def put_lock(self, number, change):
        """Another flake.lock, and a record of it with the server's true key."""
        lock = self.body(f"/builds/{number}/flake.lock")
        change(lock["nodes"])
        text = json.dumps(lock)
        self.put(f"/builds/{number}/flake.lock", Reply(text))
        record = {**self.record(number), "lock_sha256": hashlib.sha256(text.encode()).hexdigest()}
        self.put(f"/builds/{number}/record", signed(self.key, record))


@pytest.fixture
def attack(world):
    """A machine that is locked, a build that it could follow, and a server that is not to be trusted."""
    world.machine.nix("flake", "lock")
    world.move_on(2)
    world.number = max(world.build() and [build["id"] for build in world.api.get("/builds")["builds"]])
    world.false = FalseServer(world)
    world.evil = Repository(world.builder.root / "src-evil", EVIL)
    world.machine.server = world.false.address
    yield world
    world.false.stop()


def refused(world, *options, because):
    machine = world.machine
    before = machine.lock_text
    result = machine.update("--no-gc", *options, code=4)
    assert because in result.stderr and "--upstream" in result.stderr, result.stderr
    assert machine.lock_text == before and machine.calls == [] and machine.generation() is None
    return result.stderr


def test_what_is_passed_on_is_followed(attack):
    """So that the other tests fail for their own reason."""
    assert "signed by" in attack.machine.update("--no-gc").stderr
    assert attack.machine.locked("tools") == attack.tools.head()


def test_no_record(attack):
    attack.false.put(f"/builds/{attack.number}/record", Reply({"detail": "no"}, 404))
    refused(attack, because="404")


def test_no_signature(attack):
    record = attack.false.body(f"/builds/{attack.number}/record")
    attack.false.put(f"/builds/{attack.number}/record", {**record, "signatures": []})
    refused(attack, because="it has no signature")


def test_a_key_of_the_same_name(attack, root):
    name = attack.machine.record_key.partition(":")[0]
    secret, _ = new_key(root, name)
    attack.false.put(f"/builds/{attack.number}/record", signed(secret, attack.false.record(attack.number)))
    refused(attack, because=f"claim to be by {name}")


def test_the_key_of_a_public_cache_that_nix_trusts(attack, root):
    secret, public = new_key(root, "cache.example.org-1")
    attack.machine.settings["trusted-public-keys"] = f"{attack.machine.public_key} {public}"
    attack.false.put(f"/builds/{attack.number}/record", signed(secret, attack.false.record(attack.number)))
    refused(attack, because="cache.example.org-1")


def test_a_record_key_that_nix_does_not_trust(attack):
    attack.machine.settings["trusted-public-keys"] = ""
    refused(attack, because="Nix does not trust the record key")


def test_a_machine_without_record_keys(attack):
    attack.machine.record_key = ""
    refused(attack, because="record_keys")


@pytest.mark.parametrize("change", [
    {"commit": "0" * 40}, {"url": "file:///elsewhere"}, {"build": 999}, {"lock_sha256": None}, {"later": 1},
])  # fmt: skip
def test_a_changed_record(attack, change):
    path = f"/builds/{attack.number}/record"
    record = attack.false.body(path)
    attack.false.put(path, {**record, "record": canonical({**json.loads(record["record"]), **change})})
    refused(attack, because="not signed")


def test_a_signature_of_a_narinfo_is_none_of_a_record(attack):
    path = f"/builds/{attack.number}/record"
    text = attack.false.body(path)["record"]
    attack.false.put(path, {"record": text, "signatures": [sign(attack.false.key, text, prefix=b"")]})
    refused(attack, because="not signed")


def test_the_record_of_another_build(attack):
    attack.false.put(f"/builds/{attack.number}/record", attack.false.body(f"/builds/{attack.number - 1}/record"))
    refused(attack, because=f"is that of build {attack.number - 1}")


def test_the_record_of_another_repository(attack):
    """Signed, but of what this machine did not ask for."""
    record = {**attack.false.record(attack.number), "url": f"file://{attack.evil.path}", "commit": attack.evil.head()}
    attack.false.put(f"/builds/{attack.number}/record", signed(attack.false.key, record))
    refused(attack, because=f"build {attack.number} is of file://{attack.evil.path}")


def test_a_failed_build_as_a_success(attack):
    record = {**attack.false.record(attack.number), "state": "failed"}
    attack.false.put(f"/builds/{attack.number}/record", signed(attack.false.key, record))
    refused(attack, because="failed of tools, not success")


def test_another_lock(attack):
    lock = attack.false.body(f"/builds/{attack.number}/flake.lock")
    lock["nodes"]["editor"]["locked"]["url"] = f"file://{attack.evil.path}"
    attack.false.put(f"/builds/{attack.number}/flake.lock", lock)
    refused(attack, because="is not the one in the signed record")


# --- defence in depth: what even the key cannot do ---


def test_an_input_that_is_locked_elsewhere(attack):
    def change(nodes):
        nodes["editor"]["locked"] |= {"url": f"file://{attack.evil.path}", "rev": attack.evil.head()}

    attack.false.put_lock(attack.number, change)
    assert "/src-evil" in refused(attack, because="has 'editor' come from")


def test_a_tree_under_the_name_of_another_commit(attack):
    """The commit is nixpkgs', the hash that of something else that the cache may well have."""

    def change(nodes):
        nodes["nixpkgs"]["locked"]["narHash"] = nodes["editor"]["locked"]["narHash"]

    attack.false.put_lock(attack.number, change)
    refused(attack, because="narHash")


# --- going back ---


def test_an_old_build_that_was_followed_before(attack):
    machine = attack.machine
    machine.update("--no-gc")
    locked, calls = machine.lock_text, machine.calls
    # Genuine in every byte, and older.
    builds = attack.false.body("/builds")
    attack.false.put("/builds", {**builds, "builds": builds["builds"][1:]})
    result = machine.update("--no-gc", code=4)
    assert f"build {attack.number - 1} is older than build {attack.number}" in result.stderr
    assert "--allow-older" in result.stderr and machine.lock_text == locked and machine.calls == calls
    machine.update("--no-gc", "--allow-older")
    assert machine.lock_text != locked
    # From there it is forward again.
    attack.false.put("/builds", builds)
    machine.update("--no-gc")
    assert machine.lock_text == locked


def test_another_history_only_forward_in_time(attack):
    machine = attack.machine
    machine.update("--no-gc")
    record = attack.false.record(attack.number)
    path = f"/builds/{attack.number}/record"
    attack.false.put(path, signed(attack.false.key, {**record, "history": "f" * 32}))
    assert "of another history" in machine.update("--no-gc", code=4).stderr
    attack.false.put(path, signed(attack.false.key, {**record, "history": "f" * 32, "finish": "2099-01-01T00:00:00Z"}))
    machine.update("--no-gc")


def test_a_dry_run_remembers_nothing(attack):
    attack.machine.update("--dry-run")
    assert not (attack.machine.home / ".local/state/nixbuild").exists()


# --- looking at a record ---


def test_builds_verify(attack):
    machine, number = attack.machine, str(attack.number)
    good = machine.run(BINARY, "builds", number, "--verify")
    assert f"✓ Build {number} of tools: signed by" in good.stderr
    record = json.loads(machine.run(BINARY, "builds", number, "--verify", "--json").stdout)
    assert record["commit"] == attack.tools.head() and record["targets"]
    attack.false.put(f"/builds/{number}/flake.lock", {})
    assert "flake.lock" in machine.run(BINARY, "builds", number, "--verify", code=4).stderr
    attack.false.put(f"/builds/{number}/record", signed(new_key(attack.builder.root, "x-1")[0], record))
    assert "not signed" in machine.run(BINARY, "builds", number, "--verify", code=4).stderr
