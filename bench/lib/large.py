"""What the benchmarks of large bodies share."""

from lib import measure


def rate_text(size, seconds):
    return f"{size / seconds / 1e6:,.0f} MB/s"


def compare(lab, sides, pids):
    """Takes turns at `sides` (name → function returning a Transfer). Returns (name → Series of
    seconds, name → last Transfer, notes). `pids`: name → function giving the processes whose processor
    time is to be told."""
    last = {}
    costs = {name: measure.Series() for name in pids}

    def side(name):
        def run_once():
            before = measure.processor_seconds(pids[name]()) if name in pids else 0
            transfer = last[name] = sides[name]()
            if name in pids:
                used = measure.processor_seconds(pids[name]()) - before
                costs[name].values.append(used)
            return transfer.seconds

        return run_once

    series = measure.alternate({name: side(name) for name in sides}, lab.rounds)
    notes = []
    for name in sides:
        text = (
            f"{name}: {series[name].median:.3f} s for {last[name].size:,} bytes, "
            f"spread {series[name].spread:.0%}"
        )
        if name in pids:
            text += f", {costs[name].median:.2f} s of the server's processor time"
        notes.append(text)
    return series, last, notes
