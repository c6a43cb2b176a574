"""Hot narinfos: the same thousand, over and over."""

from lib import load, many
from lib.report import Result

ABOUT = "hot narinfos, requests a second, against nginx with the same bytes as static files"


def run(lab):
    store, hash_parts = lab.small_database
    paths = lab.path_list(hash_parts)
    root = lab.new_directory("narinfos")
    with lab.start_nixbuild(store) as server:
        for part in hash_parts:
            (root / f"{part}.narinfo").write_bytes(load.get(server.port, f"/{part}.narinfo"))
        ratio, ours, peer, notes = many.against_nginx(
            lab, server, root, "paths", lambda _: paths
        )
    return [
        Result(
            "hot narinfo, requests/s, 50 connections",
            ratio, 0.9, True, "×", f"{ours:,.0f}/s", f"nginx {peer:,.0f}/s", notes,
        )
    ]  # fmt: skip
