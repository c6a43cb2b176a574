"""What the server has built, the clients' own daemons fetch for an ordinary user, and check."""

import json
import pathlib
import re
import textwrap

import pytest
from support import host_nix
from support.host_nix import HostNix
from support.repository import Clone

MANUAL = pathlib.Path(__file__).parents[2] / "docs/operations.md"
WRONG_KEY = "build-server-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture(scope="module")
def outputs(lab, server, laptop):
    """Store paths of a build, by name: lib, tool, which refers to lib, and big."""
    server.join_tailnet()
    Clone(laptop).push(
        lib="mkdir $out; echo a library > $out/lib",
        tool="mkdir -p $out/bin; printf '#!/bin/sh\\necho a tool\\n' > $out/bin/tool; chmod +x $out/bin/tool",
        big="mkdir $out; head -c 30000000 /dev/urandom > $out/noise",
    )
    laptop.run("bt", "--wait", user="alice")
    return {path[44:]: path for path in server.status()["outputs"]}


def test_a_wrong_key_is_refused(server, outputs, tailnet, desktop):
    desktop.trust(WRONG_KEY)
    refused = desktop.run("nix-store", "--realise", outputs["lib"], user="alice", code=1)
    assert "signature" in refused.stderr or "not signed by any of the keys" in refused.stderr, str(refused)
    desktop.run("test", "-e", outputs["lib"], code=1)


@pytest.mark.parametrize("name", ["laptop", "desktop"])
def test_an_ordinary_user_substitutes_what_was_built(lab, server, outputs, tailnet, name):
    client = lab.machines[name]
    client.trust(server.public_key())
    for path in outputs.values():
        client.run("nix-store", "--realise", path, user="alice")
    assert client.run(f"{outputs['tool']}/bin/tool", user="alice").stdout == "a tool\n"
    client.run("nix", "store", "verify", "--recursive", "--no-trust", *outputs.values(), user="alice")
    for path in outputs.values():
        hashes = {machine.run("nix-store", "--query", "--hash", path).stdout for machine in (client, server)}
        assert len(hashes) == 1
    info = json.loads(client.run("nix", "path-info", "--json", outputs["lib"], user="alice").stdout)
    assert any(s.startswith(server.public_key().split(":")[0] + ":") for s in info[outputs["lib"]]["signatures"])


def test_the_user_is_not_trusted_and_cannot_leave_the_check_out(server, outputs, tailnet, desktop):
    desktop.trust(WRONG_KEY)
    desktop.run("nix-store", "--delete", "--ignore-liveness", outputs["big"])
    cheated = desktop.run("nix-store", "--option", "require-sigs", "false", "--realise", outputs["big"], user="alice",
                          code=1)  # fmt: skip
    assert "restricted setting" in cheated.stderr or "not a trusted user" in cheated.stderr, str(cheated)
    desktop.trust(server.public_key())
    desktop.run("nix-store", "--realise", outputs["big"], user="alice")


@host_nix.missing
def test_the_nix_of_this_machine_substitutes_too(server, outputs, tailnet, laptop, tmp_path):
    """Debian 12's is Nix 2.8."""
    (tmp_path / "wrong").mkdir()
    stranger = HostNix(laptop, tmp_path / "wrong", WRONG_KEY)
    code, said = stranger.run(*stranger.realise(outputs["lib"]))
    assert code != 0 and "not signed by any of the keys" in said, said
    client = HostNix(laptop, tmp_path, server.public_key())
    code, said = client.run(*client.realise(outputs["lib"]))
    assert code == 0, said
    assert client.file(f"{outputs['lib']}/lib").read_text() == "a library\n"


def fetch_anew(client, path, code=0):
    """As if it had never asked: Nix remembers narinfos, with their signatures, for a month."""
    client.run("sh", "-ec", "rm -f ~/.cache/nix/binary-cache-*")
    client.restart_nix()
    client.run("nix-store", "--delete", "--ignore-liveness", path)
    return client.run("nix-store", "--realise", path, user="alice", code=code)


def test_the_key_is_changed_as_the_manual_says(server, outputs, tailnet, laptop, desktop):
    """While both keys sign, clients of either are served."""
    old = server.public_key()
    new = server.run("nixbuild", "keys", "generate", "--file", "/etc/nixbuild/cache-key-2", "--name",
                     "build-server-2").stdout.strip()  # fmt: skip
    blocks = re.findall(r"```ini\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    [lines] = [block for block in blocks if "cache-key-2" in block]
    server.machine.write("/etc/systemd/system/nixbuild-cache.service.d/override.conf", textwrap.dedent(lines))
    server.run("systemctl", "daemon-reload")
    server.run("systemctl", "restart", "nixbuild-cache")
    server.join_tailnet()
    for client, key in ((laptop, old), (desktop, new)):
        client.trust(key)
        fetch_anew(client, outputs["big"])
    assert server.public_key() == old, "it is the first"

    for suffix in ("", ".pub"):
        server.run("mv", f"/etc/nixbuild/cache-key-2{suffix}", f"/etc/nixbuild/cache-key{suffix}")
    server.run("systemctl", "revert", "nixbuild-cache")
    server.run("systemctl", "restart", "nixbuild-cache")
    server.join_tailnet()
    assert server.public_key() == new != old
    fetch_anew(desktop, outputs["big"])
    fetch_anew(laptop, outputs["big"], code=1)
    laptop.trust(new)
    laptop.run("nix-store", "--realise", outputs["big"], user="alice")
