"""Nix itself as the client: a closure into an empty store."""

import subprocess
import time

from lib import measure, stores
from lib.lab import remove_tree
from lib.report import Result

ABOUT = "nix copy and nix-store -r of 500 paths, against nginx serving a nix copy --to file:// cache"

CONNECTIONS = 25  # Nix's default


class Client:
    """Substitutes `top` from `url` into a new store each time, signatures required."""

    def __init__(self, lab, top, url):
        self.lab = lab
        self.top = top
        self.url = url

    def _run(self, command):
        """The seconds that `command` takes, a function from the store's directory to its words."""
        home = self.lab.new_directory("client-home")
        root = self.lab.new_directory("client-store")
        environment = dict(self.lab.nix_environment)
        environment["XDG_CACHE_HOME"] = str(home)  # no memory of what the cache has
        subprocess.run(["sync", "--file-system", root], check=True)
        began = time.perf_counter()
        self.lab.run_nix(
            [*command(root), "--option", "require-sigs", "true",
             "--option", "trusted-public-keys", self.lab.public_key,
             "--option", "http-connections", str(CONNECTIONS)],
            environment,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        self.lab.run_nix(["nix-store", "--store", root, "--check-validity", self.top])
        remove_tree(root)
        remove_tree(home)
        return seconds

    def copy(self):
        return self._run(lambda root: ["nix", "copy", "--from", self.url, "--to", root, self.top])

    def realise(self):
        # As many substitutions at once as there may be connections; the default is one.
        return self._run(
            lambda root: ["nix-store", "--store", root, "--realise", self.top,
                          "--option", "substituters", self.url,
                          "--option", "max-jobs", str(CONNECTIONS)]
        )  # fmt: skip


def run(lab):
    measure.say(f"making a closure of {lab.closure_paths} paths")
    store = lab.new_store("closure")
    paths = stores.make_closure(lab.closure_paths, stores.seeded("closure"))
    store.import_paths(paths)
    top = paths[-1].path
    measure.say("nix copy --to file://")
    cache = lab.new_directory("file-cache")
    lab.run_nix(
        ["nix", "copy", "--from", store.root, "--to",
         f"file://{cache}?compression=zstd&compression-level={lab.compression_level}"
         f"&secret-key={lab.secret_key}", top]
    )  # fmt: skip

    results = []
    with lab.start_nixbuild(store) as server, lab.start_nginx(cache, nopush=True) as nginx:
        ours = Client(lab, top, f"http://127.0.0.1:{server.port}")
        peer = Client(lab, top, f"http://127.0.0.1:{nginx.port}")
        ours.copy()  # what is compressed on demand is compressed now
        for command, sides in (
            ("nix copy", {"nixbuild": ours.copy, "nginx": peer.copy}),
            ("nix-store -r", {"nixbuild": ours.realise, "nginx": peer.realise}),
        ):
            series = measure.alternate(sides, lab.rounds)
            results.append(
                Result(
                    f"{command} of {lab.closure_paths} paths, time",
                    series["nixbuild"].median / series["nginx"].median,
                    1.1,
                    False,
                    "×",
                    f"{series['nixbuild'].median:.2f} s",
                    f"nginx {series['nginx'].median:.2f} s",
                    [f"{name}: spread {one.spread:.0%}" for name, one in series.items()],
                )
            )
    return results
