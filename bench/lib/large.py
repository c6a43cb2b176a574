"""What the benchmarks of large bodies share."""

from lib import load, measure


def rate_text(size, seconds):
    return f"{size / seconds / 1e6:,.0f} MB/s"


def download(server, path):
    """load.download() with the processor time that the server took."""
    pids = server.pids
    before = measure.processor_seconds(pids)
    transfer = load.download(server.port, path)
    transfer.processor = measure.processor_seconds(pids) - before
    return transfer


class Comparison:
    """Takes turns at `sides` (name → function returning a Transfer)."""

    def __init__(self, lab, sides):
        self.last = {}
        self._costs = {name: measure.Series() for name in sides}

        def side(name):
            def run_once():
                transfer = self.last[name] = sides[name]()
                self._costs[name].values.append(transfer.processor)
                return transfer.seconds

            return run_once

        self._series = measure.alternate({name: side(name) for name in sides}, lab.rounds)

    def seconds(self, name):
        """The median."""
        return self._series[name].median

    def rate_text(self, name, size=None):
        return rate_text(size or self.last[name].size, self.seconds(name))

    @property
    def spread(self):
        return max(series.spread for series in self._series.values())

    def notes(self):
        return [
            f"{name}: {self.seconds(name):.3f} s for {self.last[name].size:,} bytes, "
            f"spread {series.spread:.0%}, {self._costs[name].median:.2f} s of its processor time"
            for name, series in self._series.items()
        ]
