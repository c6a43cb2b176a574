"""How rates change with the number of paths in the store."""

import socket
import time

from lib import load, many, measure, stores
from lib.report import Result

ABOUT = "rates of narinfos, hot and cold, and of 404s at 10^6 paths, against those at 10^3"

CONNECTIONS = 50


def cold_sweep(port, hash_parts):
    """Asks for each narinfo once, on 50 connections, all of a connection's requests at once so that
    the client costs little. Returns requests a second."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    batches = []
    for number in range(CONNECTIONS):
        batches.append(
            b"".join(
                f"GET /{part}.narinfo HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                for part in hash_parts[number::CONNECTIONS]
            )
        )
    received = [bytearray() for _ in connections]
    missing = [len(hash_parts[number::CONNECTIONS]) for number in range(CONNECTIONS)]
    began = time.perf_counter()
    for connection, batch in zip(connections, batches):
        connection.sendall(batch)
    for number, connection in enumerate(connections):
        while received[number].count(b"\nNarSize: ") < missing[number]:
            piece = connection.recv(1 << 20)
            if not piece:
                raise load.WrongAnswer("the connection was closed before all narinfos had come")
            received[number] += piece
    seconds = time.perf_counter() - began
    for connection in connections:
        connection.close()
    if any(answers.count(b"HTTP/1.1 200 ") != count for answers, count in zip(received, missing)):
        raise load.WrongAnswer("a narinfo was not answered 200")
    return len(hash_parts) / seconds


def settle(server):
    """Asks for paths that are not there until the server has learnt what is there, which it does once,
    a second for 10^6 paths."""
    for number in range(1000):
        status = load.status(server.port, f"/{number:032}.narinfo")
        if status != 404:
            raise load.WrongAnswer(f"an absent narinfo was answered {status}")
    used = -1.0
    while used != (used := measure.processor_seconds(server.pids)):
        time.sleep(0.2)


def run(lab):
    (small, small_parts), (large, large_parts) = lab.small_database, lab.large_database
    working_set = len(small_parts)
    some_of_large = stores.seeded("working set").sample(large_parts, working_set)
    names = [f"{count:,} paths" for count in lab.database_sizes]
    results = []

    def add(what, rates, notes):
        results.append(
            Result(
                f"growth: {what}, {names[1]} against {names[0]}",
                rates[1] / rates[0], 0.8, True, "×",
                f"{rates[1]:,.0f}/s", f"{rates[0]:,.0f}/s", notes,
            )
        )  # fmt: skip

    with lab.start_nixbuild(small) as few, lab.start_nixbuild(large) as lots:
        servers = dict(zip(names, (few, lots)))
        lists = {few.port: lab.path_list(small_parts), lots.port: lab.path_list(some_of_large)}
        hot = many.Comparison(lab, servers, "paths", lambda server: lists[server.port])
        add("hot narinfo", [hot.rate(name) for name in names], hot.notes())
        absent = many.Comparison(lab, servers, "absent", lambda _: lab.new_seed())
        add("404", [absent.rate(name) for name in names], absent.notes())

    def cold(store, parts):
        # A new server has no narinfo in memory.
        def run_once():
            with lab.start_nixbuild(store) as server:
                settle(server)
                return cold_sweep(server.port, parts)

        return run_once

    series = measure.alternate(
        {names[0]: cold(small, small_parts), names[1]: cold(large, some_of_large)}, 3 * lab.rounds
    )
    add(
        "cold narinfo",
        [series[name].median for name in names],
        [f"{name}: {one.median:,.0f}/s, spread {one.spread:.0%}" for name, one in series.items()],
    )
    return results
