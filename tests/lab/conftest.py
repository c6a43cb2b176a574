"""The machines, booted once for all scenarios, and set up as their owners would."""

import os

import pytest

from support.gate import Gate
from support.lab import Lab
from support.server import BuildServer

if "NIXBUILD_LAB_DIRECTORY" not in os.environ:
    pytest.exit("these run in namespaces that tests/lab/run makes", returncode=2)

build_server = pytest.StashKey()


@pytest.fixture(scope="session")
def lab(pytestconfig):
    lab = Lab()
    try:
        lab.start()
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


@pytest.fixture
def gate(server):
    """Builds that wait there; at the end it is open."""
    gate = Gate(server)
    yield gate
    if server.machine.leader is not None:
        gate.open()


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
