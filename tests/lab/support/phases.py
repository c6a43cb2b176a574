"""Builds that are held in one of their phases, until a test lets them go on."""

from support.machine import wait_for

UNIT = "nixbuild-build@nix-terminal.service"
PHASES = ("fetch", "inputs", "evaluate", "build", "finish")

# `kept` is in each of them, so that each good build has a root for it.
FLAKE = """{{
  {inputs}
  outputs = _: let
    mk = name: script: derivation {{
      inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-ec" script ];
      PATH = "/usr/bin:/bin";
    }};
  in {{ packages.x86_64-linux = {{
    kept = mk "kept" "echo kept for good > $out";
    terminal = mk "terminal" {script};
  }}; }};
}}
"""
INPUT_PORT = 9419
INPUT = 'inputs.other = {{ url = "git://build-server:{port}/{mark}?ref=main"; flake = false; }};'

# What is stopped to hold a phase; a builder at the gate holds the others.
STOPPED = {"fetch": "git-daemon", "inputs": "input-daemon", "finish": "nixbuild-cache"}

# The programs that run in a phase. Nix asks git for inputs, and its daemon to build.
PROGRAMS = {"fetch": ("git",), "inputs": ("nix", "git"), "evaluate": ("nix-instantiate",), "build": ("nix-store",),
            "finish": ()}  # fmt: skip


class Phases:
    def __init__(self, server, clone, gate):
        self.server = server
        self.clone = clone
        self.gate = gate
        self.mark = None
        self.stopped = []

    def serve_input(self, mark):
        """Something that nobody has fetched yet, beside the repository's git daemon: Nix keeps what it has fetched."""
        directory = f"/srv/inputs/{mark}"
        self.server.run("git", "init", "--quiet", "--initial-branch=main", directory)
        self.server.run("git", "-C", directory, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet",
                        "--allow-empty", "--message=An input")  # fmt: skip
        if self.server.property("input-daemon", "ActiveState") != "active":
            self.server.run("systemd-run", "--unit=input-daemon", "git", "daemon", "--export-all",
                            "--base-path=/srv/inputs", f"--port={INPUT_PORT}", "--reuseaddr")  # fmt: skip
        return INPUT.format(port=INPUT_PORT, mark=mark)

    def prepare(self, phase, mark):
        """Pushes a commit, unlike all others by its `mark`, whose next build will stay in this phase."""
        self.mark = mark
        script = f'"echo {mark} > $out"'
        if phase == "build":
            script = f"''{self.gate.script(mark)}''"
        elif phase == "evaluate":
            needed = f"builtins.readFile (mk \"needed\" ''{self.gate.script(mark)}'')"
            script = f'"echo {mark} > $out # ${{{needed}}}"'
        inputs = self.serve_input(mark) if phase == "inputs" else ""
        self.clone.commit(FLAKE.format(inputs=inputs, script=script))
        if phase in STOPPED:
            self.signal(STOPPED[phase], "STOP")
            self.stopped.append(STOPPED[phase])

    def signal(self, unit, name):
        # Of git's daemon the main process is one that only waits for another.
        self.server.run("systemctl", "kill", f"--signal={name}", f"{unit}.service", code=None)

    def is_reached(self, phase):
        if self.server.status()["phase"] != phase:
            return False
        if phase in ("evaluate", "build") and not self.gate.is_waited_at(self.mark):
            return False
        return all(self.pids(program) for program in PROGRAMS[phase])

    def wait_until_reached(self, phase):
        wait_for(lambda: self.is_reached(phase), f"the build is in its phase {phase}")

    def pids(self, program):
        """Of the build's processes, those of this program."""
        return self.server.run("pgrep", "--exact", "--uid", "nixbuild-build", program, code=None).stdout.split()

    def release(self):
        """What was held goes on, and nothing holds the next build."""
        for unit in self.stopped:
            self.signal(unit, "CONT")
        self.stopped.clear()
        self.gate.open()
