"""Many clients, slow ones, silent ones, and a store whose garbage is collected meanwhile: what the others get."""

import concurrent.futures
import hashlib
import re

import pytest
from support.host_nix import HostNix, has_host_nix
from support.load import Clients, metric, wants
from support.machine import wait_for
from support.repository import Clone

MEBIBYTE = 1 << 20
SERVICES = ("nixbuild-cache", "nixbuild-api")


@pytest.fixture(scope="module")
def built(lab, server, laptop, desktop):
    """Store paths by name; the clients trust the server."""
    server.join_tailnet()
    scripts = {f"small-{number}": f"head -c {number}0000 /dev/urandom > $out" for number in range(1, 7)}
    Clone(laptop).push(**scripts, large="head -c 1500000 /dev/urandom > $out")
    laptop.run("bt", "--wait", user="alice")
    for client in (laptop, desktop):
        client.trust(server.public_key())
    return {path[44:]: path for path in server.status()["outputs"]}


@pytest.fixture(scope="module")
def wanted(server, built):
    return wants(server, built.values())


@pytest.fixture(autouse=True)
def unharmed(server):
    """Whatever happens, the services that run at the end are the same."""

    def state():
        return [server.property(unit, name) for unit in SERVICES for name in ("NRestarts", "MainPID", "ActiveState")]

    before = state()
    yield
    assert state() == before


def connections(server, service="cache"):
    return metric(server, f"nixbuild_{service}_connections", service)


def whole(result, clients, wanted):
    """Each client got all of it, without a retry."""
    return (result["wrong"], result["cut"], result["answers"]) == ([], 0, clients * len(wanted))


def test_two_hundred_clients_at_once(server, tailnet, wanted, built, laptop, desktop):
    with Clients(laptop, "read", clients=200, wants=wanted, rounds=1) as clients:
        # Nix among them.
        desktop.run("nix-store", "--realise", built["large"], user="alice")
        result = clients.result()
    assert whole(result, 200, wanted), result
    assert result["bytes"] > 200 * sum(want.get("size", 0) for want in wanted)


def test_clients_that_send_a_byte_at_a_time_keep_nobody_waiting(server, tailnet, wanted, built, laptop, desktop):
    before = metric(server, "nixbuild_cache_timeouts_total")
    with Clients(laptop, "loris", clients=1000) as slow:
        wait_for(lambda: connections(server) >= 1000, "all of them are connected")
        with Clients(desktop, "read", clients=10, wants=wanted, rounds=1) as others:
            result = others.result()
        desktop.run("nix-store", "--realise", built["small-1"], user="alice")
        assert connections(server) >= 1000, "they were to be there yet"
        assert whole(result, 10, wanted), result
        assert slow.result()["ends"] == {"408": 1000}
    assert metric(server, "nixbuild_cache_timeouts_total") == before + 1000


@pytest.mark.parametrize("service, port, url", [("cache", 5000, "/nix-cache-info"), ("api", 8000, "/build/status")])
def test_ten_thousand_idle_connections(server, tailnet, wanted, built, laptop, desktop, service, port, url):
    """More than there is room for: those that are idle have to go for those that ask for something."""
    with Clients(laptop, "idle", clients=10_000, port=port, url=url) as idle:
        assert idle.line() == "held"
        for _ in range(3):
            desktop.run("curl", "--silent", "--fail", "--max-time", "30", f"http://build-server:{port}{url}")
        if service == "cache":
            desktop.run("nix-store", "--realise", built["small-2"], user="alice")
            with Clients(desktop, "read", clients=20, wants=wanted, rounds=1) as others:
                result = others.result()
            assert whole(result, 20, wanted), result
        assert connections(server, service) <= 8192
        assert metric(server, f"nixbuild_{service}_resident_memory_bytes", service) < 64 * MEBIBYTE
    wait_for(lambda: connections(server, service) < 100, "they are gone")


class Client:
    """One of three: how it gets a store path, and what it has then."""

    def __init__(self, realise, read):
        self.realise = realise  # a path → (exit code, what was said)
        self.read = read  # a path → the file's bytes, as its store has it


def of_machine(machine):
    def realise(path):
        done = machine.run("nix-store", "--realise", path, user="alice", code=None)
        return done.code, done.stderr

    return Client(realise, lambda path: machine.path(path).read_bytes())


# What Nix says where a path is not there (any more).
ABSENT = re.compile(
    r"don't know how to build these paths|does not exist|is not valid|no substituter that can build it|"
    r"no longer exists|cannot be built|is required, but"
)


def test_garbage_is_collected_while_three_clients_substitute(lab, server, tailnet, built, laptop, desktop, tmp_path):
    clients = [of_machine(laptop), of_machine(desktop)]
    if has_host_nix:
        other = HostNix(laptop, tmp_path, server.public_key())
        clients.append(Client(lambda path: other.run(*other.realise(path)),
                              lambda path: other.file(path).read_bytes()))  # fmt: skip
    server.machine.slow_down(lab.tailnet, "80mbit")  # so that paths are deleted while they are sent
    rooted = list(built.values())
    outcomes = {"whole": 0, "absent": 0}

    def substitute(client, files, kept):
        for path, sha256 in files.items():
            code, said = client.realise(path)
            if code == 0:
                assert hashlib.sha256(client.read(path)).hexdigest() == sha256, path
                outcomes["whole"] += 1
            else:
                assert ABSENT.search(said), said
                outcomes["absent"] += 1
        code, said = client.realise(kept)
        assert code == 0, said

    server.run("rm", "-f", "/var/tmp/enough")
    loop = "until [ -e /var/tmp/enough ]; do nix-collect-garbage; sleep 0.2; done"
    collector = server.machine.start("sh", "-ec", loop)
    try:
        building = laptop.start("bt", "--wait", user="alice")
        with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
            for kept in rooted:
                files = garbage(server)
                for done in [pool.submit(substitute, client, files, kept) for client in clients]:
                    done.result()
        assert building.wait(60) == 0, building.communicate()
    finally:
        server.machine.slow_down(lab.tailnet, None)
        server.run("touch", "/var/tmp/enough")
        said = collector.communicate(timeout=60)
    assert collector.returncode == 0 and "store paths deleted" in said[0] + said[1], said
    assert outcomes["whole"] > 0, outcomes
    for path in [*rooted, *server.status()["outputs"]]:
        server.run("nix-store", "--verify-path", path)


def garbage(server):
    """Adds files to the server's store that nothing holds there: path → SHA-256."""
    script = """
    rm -rf /var/tmp/garbage; mkdir /var/tmp/garbage; cd /var/tmp/garbage
    for name in 1 2 3; do head -c 2000000 /dev/urandom > $name; done
    paste -d ' ' <(nix-store --add *) <(sha256sum * | cut -d ' ' -f 1)"""
    return dict(line.split() for line in server.run("bash", "-ec", script).stdout.splitlines())
