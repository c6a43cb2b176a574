"""A person's clone of the repository that the server builds."""

# `mk NAME SCRIPT`: a derivation that a shell builds.
FLAKE = """{
  outputs = { self }: let
    mk = name: script: derivation {
      inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-ec" script ];
      PATH = "/usr/bin:/bin";
    };
  in { packages.x86_64-linux = { @PACKAGES@ }; };
}
"""


class Clone:
    def __init__(self, machine, user="alice"):
        self.machine = machine
        self.user = user
        self.directory = f"/home/{user}/nix-terminal"
        if machine.run("test", "-d", self.directory, code=None).code != 0:
            machine.run("git", "clone", "--quiet", "git://build-server/nix-terminal", user=user)
            self.git("config", "user.name", "Alice")
            self.git("config", "user.email", "alice@example.org")
            self.git("checkout", "--quiet", "-B", "main")

    def git(self, *arguments):
        return self.machine.run("git", *arguments, user=self.user, directory=self.directory).stdout.strip()

    def push(self, **packages):
        """Commits a flake with these packages, NAME=SCRIPT, and pushes it; returns the commit."""
        lines = " ".join(f"{name} = mk \"{name}\" ''{script}'';" for name, script in packages.items())
        return self.commit(FLAKE.replace("@PACKAGES@", lines))

    def commit(self, flake):
        """The same with any text as flake.nix."""
        self.machine.write(f"{self.directory}/flake.nix", flake, owner=self.user)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A change")
        self.git("push", "--quiet", "origin", "main")
        return self.git("rev-parse", "HEAD")
