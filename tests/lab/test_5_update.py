"""`system-update` takes what the server has built, and goes on by itself where the server is not to be had.

Home Manager's command is a stand-in (see support/stand_ins.py), whose builds and generations are real Nix's.
"""

import json

import pytest
from support.repository import Clone
from support.stand_ins import Home

WRONG_KEY = "build-server-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

FLAKE = """{
  inputs.nix-terminal.url = "git://build-server/nix-terminal?ref=main";
  inputs.own.url = "git+file:///home/alice/own";
  outputs = { self, nix-terminal, own }: let
    terminal = nix-terminal.packages.x86_64-linux.terminal;
  in { homeConfigurations.alice.activationPackage = @HOME@; };
}
"""
LOCAL = """derivation {
    name = "home"; system = "x86_64-linux"; builder = "/bin/sh";
    args = [ "-c" "echo ${terminal} ${own.version} > $out" ];
  }"""


@pytest.fixture(scope="module")
def home(lab, server, laptop):
    return Home(laptop)


def publish(home, version):
    """A new commit of the input that the server does not build."""
    home.write("own/flake.nix", f'{{ outputs = {{ self }}: {{ version = "{version}"; }}; }}\n')
    git = ("git", "-C", "/home/alice/own", "-c", "user.name=Alice", "-c", "user.email=alice@example.org")
    home.machine.run("git", "init", "--quiet", "/home/alice/own", user="alice")
    home.machine.run(*git, "add", "--all", user="alice")
    home.machine.run(*git, "commit", "--quiet", "--message", version, user="alice")
    return home.machine.run(*git, "rev-parse", "HEAD", user="alice").stdout.strip()


def locked(home, name):
    return json.loads(home.lock())["nodes"][name]["locked"]["rev"]


def check_nothing_is_followed(home, why):
    refused = home.update(code=4, NIX_CONFIG="max-jobs = 0")
    assert "the server is not followed" in refused.stderr and why in refused.stderr, str(refused)
    assert "--upstream" in refused.stderr
    assert home.generation() is None and home.lock() is None


def test_what_the_server_has_built_comes_from_there_signed(server, tailnet, laptop, home):
    commit = Clone(laptop).push(terminal="echo for the home > $out")
    laptop.run("bt", "--wait", user="alice")
    [output] = server.status()["outputs"]
    publish(home, "one")
    home.write("home-configuration/flake.nix", FLAKE.replace("@HOME@", "terminal"))

    laptop.trust_nobody()
    check_nothing_is_followed(home, "this machine has no key to verify build records with")
    laptop.follow(server.public_key())
    check_nothing_is_followed(home, "Nix does not trust the record key")
    laptop.trust(WRONG_KEY)
    laptop.follow(WRONG_KEY)
    check_nothing_is_followed(home, "is not signed by a key that this machine verifies records with")
    # Nor does Nix take what is signed by another key than its own.
    refused = home.update("--upstream", code=1, NIX_CONFIG="max-jobs = 0")
    assert "signature" in refused.stderr or "not signed by any of the keys" in refused.stderr, str(refused)
    assert home.generation() is None and home.lock() is None

    laptop.trust(server.public_key())
    laptop.follow(server.public_key())
    # Whatever is not substituted fails. The sources of inputs are garbage to Nix, and are still wanted below.
    updated = home.update("--no-gc", NIX_CONFIG="max-jobs = 0")
    assert home.generation() == output and locked(home, "nix-terminal") == commit
    assert "building '" not in updated.stderr and "nix-terminal: build " in updated.stderr
    info = json.loads(laptop.run("nix", "path-info", "--json", output, user="alice").stdout)
    assert any(s.startswith(server.public_key().split(":")[0] + ":") for s in info[output]["signatures"])


def test_with_the_server_cut_off_it_goes_on_by_itself(lab, server, tailnet, laptop, home):
    before = locked(home, "nix-terminal"), home.generation()
    Clone(laptop).push(terminal="echo never seen > $out")
    commit = publish(home, "two")
    home.write("home-configuration/flake.nix", FLAKE.replace("@HOME@", LOCAL))
    server.machine.cut(lab.tailnet)
    try:
        updated = home.update()
    finally:
        server.machine.cut(lab.tailnet, again=True)
    assert "http://build-server:5000 does not answer" in updated.stderr
    assert "build-server:8000" in updated.stderr and "from upstream instead" in updated.stderr
    assert "nix-terminal: stays as it is: build-server cannot be reached" in updated.stderr
    assert (locked(home, "nix-terminal"), locked(home, "own")) == (before[0], commit)
    assert laptop.run("cat", home.generation()).stdout == f"{before[1]} two\n"
    # The next time all is as ever.
    again = home.update()
    assert "does not answer" not in again.stderr and "nix-terminal: build " in again.stderr
