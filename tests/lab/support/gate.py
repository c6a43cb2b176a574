"""Builds that wait on the server until a test lets them go on."""

from support.machine import wait_for

PATH = "/var/tmp/gate"


class Gate:
    def __init__(self, server):
        self.server = server
        server.run("rm", "-f", PATH)

    def open(self):
        self.server.run("touch", PATH)

    @staticmethod
    def script(mark):
        """A builder that says `mark` and waits."""
        return f"echo {mark}; until [ -e {PATH} ]; do sleep 0.05; done; echo {mark} > $out"

    def is_waited_at(self, mark):
        return self.server.run("pgrep", "--full", f"echo {mark};", code=None).code == 0

    def wait_until_reached(self, mark):
        wait_for(lambda: self.is_waited_at(mark), f"the builder of {mark} runs")
