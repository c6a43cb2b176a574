"""A small disk in place of one of a machine's directories, and a file that fills it."""

import contextlib


@contextlib.contextmanager
def small_disk(machine, directory, megabytes, units):
    """Empty at first; what `units` have there otherwise is hidden meanwhile."""
    machine.run("systemctl", "stop", *units)
    machine.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", directory)
    try:
        machine.run("systemd-tmpfiles", "--create", code=None)
        start(machine, units)
        yield FullDisk(machine, directory)
    finally:
        machine.run("systemctl", "stop", *units, code=None)
        machine.run("umount", "--lazy", directory)
        start(machine, units)


def start(machine, units):
    # Tests do it more often than systemd takes for sane.
    machine.run("systemctl", "reset-failed", *units)
    machine.run("systemctl", "start", *units)


class FullDisk:
    def __init__(self, machine, directory):
        self.machine = machine
        self.file = f"{directory}/filler"

    def fill(self):
        self.machine.run("sh", "-c", f"cat /dev/zero >> {self.file}", code=None)

    def make_space(self):
        self.machine.run("rm", self.file)
