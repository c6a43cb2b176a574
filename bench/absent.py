"""Narinfos of paths that are not there: most of what a cache is asked for."""

from lib import many
from lib.report import Result

ABOUT = "absent narinfos (404), each asked for once, requests a second, against nginx's 404"


def run(lab):
    store, hash_parts = lab.small_database
    root = lab.new_directory("narinfos")
    for part in hash_parts:
        (root / f"{part}.narinfo").touch()
    with lab.start_nixbuild(store) as server:
        ratio, ours, peer, notes = many.against_nginx(
            lab, server, root, "absent", lambda _: lab.new_seed()
        )
    return [
        Result(
            "absent narinfo (404), requests/s, distinct hashes",
            ratio, 0.5, True, "×", f"{ours:,.0f}/s", f"nginx {peer:,.0f}/s", notes,
        )
    ]  # fmt: skip
