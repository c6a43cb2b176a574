"""The fixtures of the end-to-end tests, for attacks on the same programs."""

import importlib.util
import pathlib
import sys

import pytest

E2E = pathlib.Path(__file__).resolve().parents[1] / "e2e"
sys.path.insert(0, str(E2E))

specification = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
shared = importlib.util.module_from_spec(specification)
specification.loader.exec_module(shared)
globals().update({name: value for name, value in vars(shared).items() if not name.startswith("__")})

from support.api import ApiServer  # noqa: E402
from support.build import GOOD, repository  # noqa: E402
from support.network import PEERS, PEERS_V6, SERVER, SERVER_V6, Network, Target  # noqa: E402
from support.server import Server  # noqa: E402


@pytest.fixture
def network():
    with Network(*(f"{address}/32" for address in [SERVER, *PEERS]),
                 *(f"{address}/128" for address in [SERVER_V6, *PEERS_V6])) as made:  # fmt: skip
        yield made


@pytest.fixture(params=["serve-cache", "serve-api"])
def attack(request, network, root):
    """Starts one of the servers in the network: attack(options…, connections=…)."""
    started = []

    def start(*options, connections=None, address=SERVER):
        # Half of few descriptors are for connections, two for each.
        limit = ["prlimit", f"--nofile={4 * connections}"] if connections else []
        port = 5000 if request.param == "serve-cache" else 8000
        host = f"[{address}]" if ":" in address else address
        listen = ["--listen", f"{host}:{port}", *options]
        if request.param == "serve-cache":
            server = Server(request.getfixturevalue("sample").store, root / "state", *listen)
            server.command_prefix = [*network.prefix, *limit]
            path = "/nix-cache-info"
        else:
            builder = request.getfixturevalue("builder")
            repository(builder, GOOD)
            # An AddressSanitizer keeps what was freed, by default up to 256 MiB of it.
            server = ApiServer(builder, *listen, ASAN_OPTIONS="quarantine_size_mb=1")
            server.prefix = [*network.prefix, *limit]
            path = "/build/status"
        server.start()
        started.append(server)
        return Target(server, network, (address, port), path)

    yield start
    for server in started:
        server.stop()
