"""The machines, booted once for all scenarios, and set up as their owners would."""

import os

import pytest

from support.lab import Lab
from support.server import BuildServer

if "NIXBUILD_LAB_DIRECTORY" not in os.environ:
    pytest.exit("these run in namespaces that tests/lab/run makes", returncode=2)

# What a person writes who has Nix on Debian: flakes on, and no cache of the outside world, which is not
# there. Without the sandbox /bin/sh can build.
NIX_CONF = """
experimental-features = nix-command flakes
sandbox = false
substituters =
flake-registry =
"""


build_server = pytest.StashKey()


@pytest.fixture(scope="session")
def lab(pytestconfig):
    lab = Lab()
    try:
        for number, name in enumerate(("build-server", "laptop", "desktop"), 1):
            machine = lab.add(name, number)
            machine.write("/etc/nix/nix.conf", NIX_CONF)
            machine.plug_in(lab.lan)
            if name != "build-server":
                machine.plug_in(lab.tailnet)
        lab.name_machines()
        for machine in lab.machines.values():
            machine.switch_on()
        for machine in lab.machines.values():
            state = machine.wait_until_booted()
            assert state == "running", machine.run("systemctl", "--failed", "--no-legend").stdout
            # Debian's daemon talks to this group only; that makes nobody a trusted user.
            machine.run("useradd", "--create-home", "--shell", "/bin/bash", "--groups", "nix-users", "alice")
        pytestconfig.stash[build_server] = lab.machines["build-server"]
        yield lab
    finally:
        lab.close()


@pytest.fixture(scope="session")
def server(lab):
    """The build server, set up from nothing; Tailscale is not connected when its services start."""
    return BuildServer(lab)


@pytest.fixture
def tailnet(lab, server):
    """The server is in the tailnet."""
    server.join_tailnet()
    return lab.tailnet


@pytest.fixture(scope="session")
def laptop(lab):
    return lab.machines["laptop"]


@pytest.fixture(scope="session")
def desktop(lab):
    return lab.machines["desktop"]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what the server logged last."""
    outcome = yield
    report = outcome.get_result()
    server = item.config.stash.get(build_server, None)
    if report.failed and server is not None and server.leader is not None:
        lines = server.journal("nixbuild-*").splitlines()[-60:]
        report.sections.append(("journal of the build server", "\n".join(lines)))
