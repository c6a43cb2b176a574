"""SIGHUP, again and again, while clients ask."""

import concurrent.futures
import signal
import time

from support.http import fetch


def reload_under_load(server, *urls, clients=4, seconds=3):
    """Every status that the clients got."""
    over = time.monotonic() + seconds

    def ask():
        statuses = set()
        while time.monotonic() < over:
            statuses |= {fetch(server, url).status for url in urls}
        return statuses

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        answers = [pool.submit(ask) for _ in range(clients)]
        while time.monotonic() < over:
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.002)
        return set.union(*(answer.result() for answer in answers))
