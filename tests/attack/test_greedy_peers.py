"""A peer is greedy: what one client can take of connections and memory is bounded."""

import socket
import time

import pytest
from support.http import fetch
from support.network import PEERS, PEERS_V6, SERVER_V6


def eventually(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def hold(target, peer, count):
    """Opens connections and lets them lie once they have been answered; those that were closed are left out."""
    connections = [target.connect(peer, 60) for _ in range(count)]
    held = []
    for connection in connections:
        try:
            connection.sendall(target.request())
            if connection.recv(1 << 16):
                held.append(connection)
        except ConnectionError:
            pass
    return held


def test_one_peer_holds_half_of_all_connections_at_most(attack):
    target = attack(connections=100)
    held = hold(target, PEERS[0], 80)
    assert len(held) == 50
    # It is told nothing, others do not notice.
    assert target.ask(PEERS[0]) is None
    for peer in PEERS[1:]:
        assert target.ask(peer) == 200
    target.server.wait_for_log(rf"{PEERS[0]} has 50 connections open")
    for connection in held:
        connection.close()
    assert eventually(lambda: target.ask(PEERS[0]) == 200)


def test_a_network_of_64_bits_is_one_peer(attack):
    target = attack(connections=100, address=SERVER_V6)
    held = [hold(target, peer, 30) for peer in PEERS_V6[:2]]
    assert [len(connections) for connections in held] == [30, 20]
    assert target.ask(PEERS_V6[2]) == 200


def test_several_greedy_peers_leave_the_last_tenth(attack):
    target = attack(connections=100)
    held = [hold(target, peer, 60) for peer in PEERS[:3]]
    assert [len(connections) for connections in held] == [50, 40, 2]
    for peer in PEERS[3:]:
        assert target.ask(peer) == 200


def test_a_trusted_proxy_may_stand_for_many(attack):
    target = attack("--trusted-proxies", f"{PEERS[0]}/32", connections=100)
    held = hold(target, PEERS[0], 90)
    assert len(held) == 90


@pytest.mark.parametrize("attack", ["serve-api"], indirect=True)
def test_followers_of_one_peer_do_not_silence_the_api(attack):
    target = attack(connections=100)
    followers = hold(target, PEERS[0], 60)
    for connection in followers:
        connection.sendall(target.request("/build/logs/demo/stream"))
    assert target.ask(PEERS[1], "/build/status/demo") == 200


@pytest.mark.parametrize("attack", ["serve-api"], indirect=True)
def test_stalled_readers_share_one_budget_of_memory(attack, request):
    """100 clients ask for a log of 18 MB each and read nothing of it."""
    target = attack()
    builder = request.getfixturevalue("builder")
    target.network.inside(lambda: target.server.post("/build/trigger/demo"))
    target.network.inside(lambda: target.server.wait_until_done("demo"))
    log = builder.state / f"logs/demo/{builder.last()['id']}.log"
    log.write_text("".join(f"{line:09} {'x' * 1790}\n" for line in range(10_000)))
    before = target.memory()
    stalled = []
    for i in range(100):
        connection = target.connect(PEERS[i % 2])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(target.request("/build/logs/demo?lines=10000"))
        stalled.append(connection)
    most = 0

    def all_are_answered_or_cut():
        nonlocal most
        most = max(most, target.memory() - before)
        metrics = target.network.inside(lambda: fetch(target.server, "/metrics")).text
        return int(metrics.partition("\nnixbuild_api_timeouts_total ")[2].split("\n")[0]) >= 70

    assert eventually(all_are_answered_or_cut, 120)
    assert most < 700 << 20, f"{most >> 20} MiB"
    assert target.ask(PEERS[2], "/build/status/demo") == 200
