"""The server's clock a day back."""

import contextlib
import datetime
import re

from support.repository import Clone

# As when a clock is put back: the monotonic one goes on, and files keep their times.
DROP_IN = """[Service]
Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1
Environment=FAKETIME=-1d DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1
"""
UNITS = ("nixbuild-api", "nixbuild-cache", "nixbuild-build@")


@contextlib.contextmanager
def yesterday(server):
    """There the product's services believe to be; the rest of the machine does not."""
    directories = [f"/run/systemd/system/{unit}.service.d" for unit in UNITS]

    def restart():
        server.run("systemctl", "daemon-reload")
        server.run("systemctl", "restart", "nixbuild-api", "nixbuild-cache")
        server.join_tailnet()

    for directory in directories:
        server.run("mkdir", "--parents", directory)
        server.run("tee", f"{directory}/clock.conf", input=DROP_IN)
    try:
        restart()
        yield
    finally:
        server.run("rm", *(f"{directory}/clock.conf" for directory in directories))
        restart()


def when(text):
    return datetime.datetime.fromisoformat(text)


def check_order(server):
    builds = server.builds()
    numbers = [build["id"] for build in builds]
    assert numbers == sorted(numbers, reverse=True)
    for build in builds:
        assert when(build["start"] or build["queued_at"]) <= when(build["finish"]), build


def check_what_is_shown(laptop):
    """No age and no duration is negative, whatever the clocks say."""
    for command in (["bs"], ["nixbuild", "builds"]):
        done = laptop.run(*command, user="alice")
        shown = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?Z?", "TIME", done.stdout + done.stderr)
        assert not re.search(r"(?<![\w.-])-\s?\d", shown), str(done)


def build(server, laptop, script):
    Clone(laptop).push(terminal=script)
    followed = laptop.run("bt", "--follow", user="alice")
    assert "succeeded" in followed.stderr
    return server.status()


def test_a_clock_that_is_put_back_a_day_and_forward_again(server, tailnet, laptop, desktop):
    before = build(server, laptop, "echo today > $out")
    with yesterday(server):
        # What was there before lies in the future now.
        check_what_is_shown(laptop)
        during = build(server, laptop, "echo yesterday > $out")
        assert during["build_id"] == before["build_id"] + 1
        assert when(during["last_start"]) <= when(during["last_finish"]) < when(before["last_start"])
        check_order(server)
        check_what_is_shown(laptop)
        # Such as a page that was fetched before, and is asked for again.
        for path in (*before["outputs"], *during["outputs"]):
            url = f"http://build-server:5000/{path[11:43]}.narinfo"
            head = desktop.run("curl", "--silent", "--fail", "--head", url).stdout
            tag = re.search(r"(?i)^etag: (.*?)\r?$", head, re.MULTILINE)[1]
            again = desktop.run("curl", "--silent", "--header", f"If-None-Match: {tag}", "--output", "/dev/null",
                                "--write-out", "%{http_code}", url).stdout  # fmt: skip
            assert again == "304", head
        server.check_served(desktop, *before["outputs"], *during["outputs"])
    after = build(server, laptop, "echo today again > $out")
    assert after["build_id"] == before["build_id"] + 2
    check_order(server)
    check_what_is_shown(laptop)
    paths = [*before["outputs"], *during["outputs"], *after["outputs"]]
    server.check_served(desktop, *paths)
    server.check_rooted(*paths)
