"""A machine that has just been installed becomes a client of the build server."""

import re

import pytest
from support import stand_ins

DIRECTORY = "/home/alice/configuration"
BOOTSTRAP = ("bootstrap-new-machine", "--yes", "--dir", DIRECTORY)
PUBLIC_KEY = ".#homeConfigurations.default.config.programs.bootstrap.buildServer.publicKey"


@pytest.fixture(scope="module")
def new_laptop(lab, server):
    machine = lab.add("new-laptop", 4)
    machine.plug_in(lab.lan)
    machine.plug_in(lab.tailnet)
    lab.boot(machine)
    return machine


def test_its_configuration_trusts_the_server(server, tailnet, new_laptop):
    done = new_laptop.run(*BOOTSTRAP, user="alice")
    key = server.public_key()
    fingerprint = re.search(r"SHA256:\S+", server.run("nixbuild", "keys", "show").stderr)[0]
    assert fingerprint in done.stderr
    assert new_laptop.run("stat", "--format=%a %U", f"{DIRECTORY}/secrets.nix").stdout == "600 alice\n"
    evaluated = new_laptop.run("nix", "eval", "--raw", PUBLIC_KEY, *stand_ins.inputs(new_laptop), user="alice",
                               directory=DIRECTORY)  # fmt: skip
    assert evaluated.stdout == key


def test_another_key_than_before_is_refused(server, tailnet, new_laptop):
    new_laptop.run(*BOOTSTRAP, user="alice")
    before = new_laptop.run("sha256sum", f"{DIRECTORY}/secrets.nix").stdout
    key, kept = "/etc/nixbuild/cache-key", "/etc/nixbuild/kept-key"
    server.run("mv", key, kept)
    try:
        server.run("systemctl", "restart", "nixbuild-key", "nixbuild-cache")
        refused = new_laptop.run(*BOOTSTRAP, user="alice", code=4)
        assert len(set(re.findall(r"SHA256:\S+", refused.stderr))) == 2
    finally:
        server.run("mv", kept, key)
        server.run("systemctl", "restart", "nixbuild-cache")
    assert new_laptop.run("sha256sum", f"{DIRECTORY}/secrets.nix").stdout == before


def test_a_server_that_is_cut_off_is_named(lab, server, tailnet, new_laptop):
    server.machine.cut(lab.tailnet)
    try:
        failed = new_laptop.run("bootstrap-new-machine", "--dir", "/home/alice/elsewhere", user="alice", code=3)
    finally:
        server.machine.cut(lab.tailnet, again=True)
    assert "build-server" in failed.stderr
    new_laptop.run("test", "-e", "/home/alice/elsewhere/flake.nix", code=1)
