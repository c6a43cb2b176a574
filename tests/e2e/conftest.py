"""Fixtures: real Nix stores, a running server, clients of each Nix there is."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from support.build import make_builder, without_pid_namespaces
from support.fake_api import FakeApi
from support.fresh_machine import FreshMachine
from support.machine import World
from support.nix import Client, Nix, Store, newer_nix_missing
from support.sample import Sample
from support.server import BINARY, Server
from support.upstream import Upstream, cache_info


def remove(directory):
    # Store paths are read-only; root does not mind, others do.
    subprocess.run(["chmod", "-R", "u+w", directory], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def session_root():
    """A directory that every user can read, with a short name: Nix's sockets lie below it."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="nixbuild-"))
    directory.chmod(0o755)
    yield directory
    remove(directory)


@pytest.fixture
def root(session_root):
    """The same, for one test."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="t-", dir=session_root))
    directory.chmod(0o755)
    yield directory
    remove(directory)


@pytest.fixture(scope="session")
def system_nix(session_root):
    if shutil.which("nix-store") is None:
        pytest.skip("no nix-store in PATH")
    return Nix("system", session_root)


@pytest.fixture(scope="session")
def newer_nix(session_root):
    if missing := newer_nix_missing():
        pytest.skip(missing)
    return Nix("newer", session_root)


@pytest.fixture(scope="session", params=["system", "newer"])
def nix(request, system_nix):
    """Each Nix that is here, as the client."""
    return system_nix if request.param == "system" else request.getfixturevalue("newer_nix")


@pytest.fixture(scope="session")
def sample(session_root, system_nix):
    """A store with one path of every kind. Not to be written to."""
    directory = session_root / "sample"
    directory.mkdir()
    return Sample(Store(system_nix, directory / "store"), directory)


@pytest.fixture(scope="session")
def shared_server(session_root, sample):
    """A server of the sample store with default options, for tests that leave it as it is."""
    with Server(sample.store, session_root / "shared-state") as server:
        yield server


@pytest.fixture
def serve(root, session_root):
    """Starts servers: serve(store, options…, user=…). They are stopped, and their logs checked, at the end."""
    servers = []

    def start(store, *options, state_dir=None, user=None, **keywords):
        state_dir = state_dir or root / f"state-{len(servers)}"
        if user:
            # The source tree may be out of that user's sight.
            keywords["binary"] = session_root / "nixbuild"
            if not keywords["binary"].exists():
                shutil.copy(BINARY, keywords["binary"])
            state_dir.mkdir(exist_ok=True)
            shutil.chown(state_dir, user)
        server = Server(store, state_dir, *options, user=user, **keywords)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def make_client(root):
    """Makes empty clients: make_client(nix, server, url=…, public_keys=…, settings…)."""
    count = 0

    def make(nix, server, url=None, public_keys=None, **settings):
        nonlocal count
        count += 1
        keys = [server.public_key] if public_keys is None else public_keys
        return Client(nix, root / f"client-{count}", server.store, url or server.url, keys, **settings)

    return make


@pytest.fixture
def api():
    """A build API that answers what the test tells it to."""
    fake = FakeApi()
    yield fake
    fake.stop()


@pytest.fixture
def machine(root):
    """A fresh machine, to be bootstrapped."""
    return FreshMachine(root)


@pytest.fixture
def tiny_file_system(root):
    """mount(directory, size) puts a small file system there."""
    mounted = []

    def mount(directory, size):
        directory.mkdir(parents=True)
        result = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], capture_output=True)
        if result.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {result.stderr.decode().strip()}")
        mounted.append(directory)

    yield mount
    for directory in mounted:
        subprocess.run(["umount", "-l", directory], check=False)


@pytest.fixture
def nobody():
    """The name of an unprivileged user that servers can be started as."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a server as another user")
    return "nobody"


@pytest.fixture
def writable_store(root, system_nix):
    """A store of this test's own, with one path in it: (store, path)."""
    store = Store(system_nix, root / "store")
    file = root / "file"
    file.write_text("a first path\n")
    return store, store.add(file)


@pytest.fixture
def builder():
    """A build server without its API."""
    yield from make_builder()


@pytest.fixture
def small_disk(builder):
    """The state directory on a file system of a few MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    builder.state.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", builder.state], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    yield builder
    subprocess.run(["umount", "--lazy", builder.state], check=True)


@pytest.fixture(params=["system", "newer"])
def any_builder(request):
    """A builder of each Nix that is here."""
    if request.param == "newer" and (missing := newer_nix_missing()):
        pytest.skip(missing)
    yield from make_builder(nix=request.param)


@pytest.fixture
def world(builder):
    """A build server with its API and cache, and a machine that it configures."""
    world = World(builder)
    yield world
    world.stop()


@pytest.fixture(params=["system", "newer"])
def world_of_each_nix(request, builder):
    """The same, for each Nix that the machine may have."""
    world = World(builder, request.param)
    yield world
    world.stop()


@pytest.fixture
def as_nobody():
    if os.geteuid() != 0:
        pytest.skip("only root can run a build as another user")
    yield from make_builder(user="nobody")


@pytest.fixture
def upstream(sample):
    """upstream(answer) is one that answers nix-cache-info as it should, and everything else so."""
    upstreams = []

    def make(answer):
        def answer_all(path, headers):
            return cache_info(sample.store.store_dir) if path == "/nix-cache-info" else answer(path, headers)

        upstreams.append(Upstream(answer_all))
        return upstreams[-1]

    yield make
    for one in upstreams:
        one.close()


@pytest.fixture(params=["isolated", "not isolated"])
def prefix(request):
    """With and without the namespaces that a build's programs are put in."""
    return [] if request.param == "isolated" else without_pid_namespaces()
