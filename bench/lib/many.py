"""What the benchmarks of many small answers share: servers under wrk, taking turns."""

from lib import load, measure


class Comparison:
    """Requests a second of several servers, `servers` being name → Server. `argument` is called
    with the server before each run of wrk and gives what the mode `what` of wrk.lua needs."""

    def __init__(self, lab, servers, what, argument):
        self.servers = servers
        self._latencies = {name: measure.Series() for name in servers}
        self._costs = {name: measure.Series() for name in servers}

        def side(name):
            def run_once():
                pids = servers[name].pids
                before = measure.processor_seconds(pids)
                result = load.wrk(servers[name].port, lab.seconds, what, argument(servers[name]))
                used = measure.processor_seconds(pids) - before
                self._latencies[name].values.append(result.p99)
                self._costs[name].values.append(used / result.requests)
                return result.rate

            return run_once

        self._series = measure.alternate({name: side(name) for name in servers}, lab.rounds)

    def rate(self, name):
        """The median, in requests a second."""
        return self._series[name].median

    def p99(self, name):
        """The median of the rounds' 99th percentiles, in seconds."""
        return self._latencies[name].median

    @property
    def spread(self):
        return max(series.spread for series in self._series.values())

    def notes(self):
        return [
            f"{name}: {self.rate(name):,.0f}/s, spread {self._series[name].spread:.0%}, "
            f"p99 {self._latencies[name].median * 1e3:.1f} ms, "
            f"{self._costs[name].median * 1e6:.1f} µs of the server's processor time a request"
            for name in self.servers
        ]


def against_nginx(lab, ours, root, what, argument):
    """(ratio, our rate, nginx's rate, notes) of our server and nginx serving the directory `root`.
    nginx runs as it is installed and with open_file_cache; the better one counts."""
    with lab.start_nginx(root) as plain, lab.start_nginx(root, file_cache=True) as caching:
        servers = {"nixbuild": ours, "nginx": plain, "nginx with open_file_cache": caching}
        comparison = Comparison(lab, servers, what, argument)
    rate = comparison.rate("nixbuild")
    peer = max(comparison.rate(name) for name in list(servers)[1:])
    return rate / peer, rate, peer, comparison.notes()
