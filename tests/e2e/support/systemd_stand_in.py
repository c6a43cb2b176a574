"""A stand-in for systemd on a private bus: no systemd, only the calls of its manager that serve-api makes.

It loads units, starts one by running a command, ends it, and tells of ended jobs, as org.freedesktop.systemd1(5)
describes it; a start of a unit that is starting merges with the job that is there. Run as a program it reads
`control.json` in its directory before each call, which says how it is to behave, and writes each call to `calls`.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

NAME = "org.freedesktop.systemd1"
BUS_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"""


class SystemdStandIn:
    """The private bus and the stand-in on it."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir()
        self.socket = self.directory / "bus"
        self.bus = None
        self.manager = None
        self.control = {}

    @property
    def environment(self):
        return {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.socket}"}

    def behave(self, **control):
        """`start`: "run" the command, "fail", "refuse" or be "silent"; `stop`: "run" or "refuse"; `load_state`."""
        self.control |= control
        replacement = self.directory / "control.new"
        replacement.write_text(json.dumps(self.control))
        replacement.rename(self.directory / "control.json")

    def calls(self):
        file = self.directory / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def start(self, command, environment):
        """Units run `command`, each %i in it replaced by the instance's name."""
        self.behave(command=command, environment=environment)
        configuration = self.directory / "bus.conf"
        configuration.write_text(BUS_CONFIGURATION.format(socket=self.socket))
        self.bus = subprocess.Popen(["dbus-daemon", "--nofork", f"--config-file={configuration}"])
        self._wait_for(self.socket.exists)
        self.manager = subprocess.Popen(
            [sys.executable, __file__, str(self.directory)], env={**os.environ, **self.environment}
        )
        self._wait_for((self.directory / "ready").exists)

    def _wait_for(self, condition):
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline and not (self.manager and self.manager.poll()), "no private bus"
            time.sleep(0.02)

    def stop_bus(self):
        if self.bus and self.bus.poll() is None:
            self.bus.send_signal(signal.SIGCONT)
            self.bus.kill()
            self.bus.wait()

    def stop(self):
        self.stop_bus()
        if self.manager:
            self.manager.kill()
            self.manager.wait()


def serve(directory):
    import dbus
    import dbus.mainloop.glib
    import dbus.service
    from gi.repository import GLib

    manager_interface = f"{NAME}.Manager"
    directory = pathlib.Path(directory)

    def control():
        return json.loads((directory / "control.json").read_text())

    def note(*words):
        with (directory / "calls").open("a") as file:
            file.write(" ".join(words) + "\n")

    def error(name, text):
        return dbus.exceptions.DBusException(text, name=name)

    class Unit(dbus.service.Object):
        def __init__(self, bus, number, name):
            self.path = f"/org/freedesktop/systemd1/unit/u{number}"
            super().__init__(bus, self.path)
            self.name = name
            self.process = None
            self.job = None
            self.result, self.status = "success", 0

        @dbus.service.method(dbus.PROPERTIES_IFACE, in_signature="ss", out_signature="v")
        def Get(self, interface, name):
            return {
                (f"{NAME}.Unit", "LoadState"): control().get("load_state", "loaded"),
                (f"{NAME}.Unit", "ActiveState"): "activating" if self.process else "inactive",
                (f"{NAME}.Service", "Result"): self.result,
                (f"{NAME}.Service", "ExecMainStatus"): dbus.Int32(self.status),
            }[str(interface), str(name)]

    class Manager(dbus.service.Object):
        def __init__(self, bus):
            super().__init__(bus, "/org/freedesktop/systemd1")
            self.bus = bus
            self.units = {}
            self.jobs = 0

        def unit(self, name):
            return self.units.setdefault(str(name), None) or self._new(str(name))

        def _new(self, name):
            self.units[name] = Unit(self.bus, len(self.units), name)
            return self.units[name]

        @dbus.service.signal(manager_interface, signature="uoss")
        def JobRemoved(self, number, job, unit, result):
            pass

        @dbus.service.method(manager_interface)
        def Subscribe(self):
            note("Subscribe")

        @dbus.service.method(manager_interface, in_signature="s", out_signature="o")
        def LoadUnit(self, name):
            note("LoadUnit", name)
            return self.unit(name).path

        @dbus.service.method(
            manager_interface, in_signature="ss", out_signature="o", async_callbacks=("reply", "refuse")
        )
        def StartUnit(self, name, mode, reply, refuse):
            note("StartUnit", name, mode)
            how = control().get("start", "run")
            if how == "silent":
                return
            if how == "refuse":
                refuse(error(control()["refusal"], "Refused, for this test."))
                return
            unit = self.unit(name)
            if unit.job is None:
                self.jobs += 1
                unit.job = (self.jobs, f"/org/freedesktop/systemd1/job/{self.jobs}")
                if how == "fail":
                    unit.result, unit.status = "exit-code", 217
                    GLib.timeout_add(50, self.end_job, unit, "failed")
                else:
                    self.run(unit)
            reply(unit.job[1])

        def run(self, unit):
            instance = unit.name.partition("@")[2].removesuffix(".service")
            command = [word.replace("%i", instance) for word in control()["command"]]
            unit.process = subprocess.Popen(
                command, env=control()["environment"], stdin=subprocess.DEVNULL, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

            def ended(_, wait_status):
                code = os.waitstatus_to_exitcode(wait_status)
                unit.process = None
                unit.result = "success" if code == 0 else "exit-code" if code > 0 else "signal"
                unit.status = abs(code)
                self.end_job(unit, "done" if code == 0 else "failed")

            GLib.child_watch_add(GLib.PRIORITY_DEFAULT, unit.process.pid, ended)

        def end_job(self, unit, result):
            if unit.job:
                number, path = unit.job
                unit.job = None
                self.JobRemoved(dbus.UInt32(number), dbus.ObjectPath(path), unit.name, result)

        @dbus.service.method(manager_interface, in_signature="ss", out_signature="o")
        def StopUnit(self, name, mode):
            note("StopUnit", name, mode)
            if control().get("stop") == "refuse":
                raise error(control()["refusal"], "Refused, for this test.")
            unit = self.unit(name)
            if unit.process:
                unit.process.send_signal(signal.SIGTERM)
            # The stop takes the place of a start that goes on.
            self.end_job(unit, "canceled")
            self.jobs += 1
            return f"/org/freedesktop/systemd1/job/{self.jobs}"

    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    bus = dbus.SystemBus()
    name = dbus.service.BusName(NAME, bus)
    manager = Manager(bus)
    (directory / "ready").touch()
    with contextlib.suppress(KeyboardInterrupt):
        GLib.MainLoop().run()
    del name, manager


if __name__ == "__main__":
    serve(sys.argv[1])
