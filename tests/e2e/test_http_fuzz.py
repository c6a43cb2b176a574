"""Both servers against a fuzzer of HTTP on raw sockets: right requests and broken ones, cut, slow and dropped.

NIXBUILD_FUZZ_SECONDS is how long each server is fuzzed, NIXBUILD_FUZZ_SEED which cases there are (a failure tells it),
NIXBUILD_FUZZ_CASE the one case to run, NIXBUILD_FUZZ_DIRECTORY where the bytes of a case that failed are written.
"""

import os
import pathlib
import random
import tempfile
import time

import pytest

from support.api import ApiServer
from support.fuzz.api_grammar import ApiGrammar, add_repositories
from support.fuzz.cache_grammar import CacheGrammar
from support.fuzz.fuzzer import Fuzzer, descriptors, resident

SECONDS = float(os.environ.get("NIXBUILD_FUZZ_SECONDS", "6"))
DIRECTORY = pathlib.Path(os.environ.get("NIXBUILD_FUZZ_DIRECTORY", tempfile.gettempdir())) / "nixbuild-http-fuzz"
# What the memory of a server may grow by in the second half of a run: compressors that wait for slow clients keep
# within 256 MiB, and what they give back stays with the allocator. Leaks are for LeakSanitizer.
GROWTH = 300 << 20

pytestmark = pytest.mark.timeout(SECONDS * 3 + 300)


@pytest.fixture(autouse=True)
def small_quarantine(monkeypatch):
    """What AddressSanitizer keeps of what was freed would hide a leak: 256 MiB by default."""
    options = os.environ.get("ASAN_OPTIONS", "")
    monkeypatch.setenv("ASAN_OPTIONS", f"{options}:quarantine_size_mb=32:thread_local_quarantine_size_kb=64".lstrip(":"))


@pytest.fixture
def fuzz():
    seed = int(os.environ.get("NIXBUILD_FUZZ_SEED", random.SystemRandom().randrange(1 << 32)))

    def run(server, grammar):
        print(f"seed {seed}")
        fuzzer = Fuzzer(server, grammar, seed, DIRECTORY)
        if one := os.environ.get("NIXBUILD_FUZZ_CASE"):
            return fuzzer.run_one(int(one))
        cases = fuzzer.run(SECONDS / 2)
        before = quiet(server, descriptors), resident(server)
        cases += fuzzer.run(SECONDS / 2)
        print(f"{cases} cases")
        # Caches and pools are full after the first half.
        # Who followed a build, and went away without a word, is noticed at the next sign of life, after 15 s.
        assert quiet(server, descriptors, before[0] + 16, patience=30) <= before[0] + 16
        assert quiet(server, resident, before[1] + GROWTH) <= before[1] + GROWTH

    return run


def quiet(server, measure, enough=0, patience=6):
    """What `measure` says once it has not become less for so many seconds, or when it is no more than `enough`."""
    least, since = measure(server), time.monotonic()
    while least > enough and time.monotonic() - since < patience:
        time.sleep(0.1)
        if (now := measure(server)) < least:
            least, since = now, time.monotonic()
    return least


@pytest.mark.parametrize("size", ["20G", "0"], ids=["with files", "without files"])
def test_serve_cache(sample, serve, fuzz, size):
    server = serve(sample.store, "--nar-cache-size", size)
    fuzz(server, CacheGrammar(server, sample))


def test_serve_api(builder, fuzz):
    add_repositories(builder)
    with ApiServer(builder, ASAN_OPTIONS=os.environ["ASAN_OPTIONS"]) as server:
        fuzz(server, ApiGrammar(server))
        # What was triggered meanwhile follows the cancelled build.
        deadline = time.monotonic() + 60
        while server.get("/build/status/hangs")["is_running"]:
            assert time.monotonic() < deadline
            server.post("/build/cancel/hangs")
            time.sleep(0.1)
        for name in ("again", "broken"):
            server.wait_until_done(name)
