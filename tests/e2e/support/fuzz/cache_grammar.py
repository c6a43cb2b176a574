"""All that serve-cache serves, as requests with what their answers must be."""

import json
import sqlite3

from support import oracle
from support.fuzz.requests import Request, answers, decorate, ranged, without_body
from support.http import fetch

SUFFIXES = {"": "none", ".zst": "zstd", ".xz": "xz"}
ABSENT = "0" * 32


class CacheGrammar:
    """Learns from a server that nobody disturbs yet what it serves, and holds that against the store."""

    def __init__(self, server, sample):
        self.sample = sample
        self.paths = {}  # hash part → (NAR hash, {suffix: body})
        for path in sample.all:
            part = oracle.hash_part(path)
            fields = oracle.parse_narinfo(fetch(server, f"/{part}.narinfo").text)
            assert fields["StorePath"] == path
            digest = fields["NarHash"].removeprefix("sha256:")
            nar = oracle.nar(sample.store.real(path))
            bodies = {suffix: fetch(server, f"/nar/{digest}.nar{suffix}?hash={part}").body for suffix in SUFFIXES}
            for suffix, compression in SUFFIXES.items():
                assert oracle.decompress(bodies[suffix], compression) == nar
            self.paths[part] = (digest, bodies)
        self.info = fetch(server, "/nix-cache-info").body
        self.listings = {part: fetch(server, f"/{part}.ls").body for part in self.paths}
        self.log = sample.drvs["lib"].rsplit("/", 1)[1]
        self.log_text = fetch(server, f"/log/{self.log}").body
        assert b"marmalade" in self.log_text
        self.realisations = self.learn_realisations(server)

    def learn_realisations(self, server):
        with sqlite3.connect(f"file:{self.sample.store.state_dir}/db/db.sqlite?mode=ro", uri=True) as database:
            rows = database.execute("SELECT drvPath, outputName FROM Realisations").fetchall()
        return {f"/realisations/{drv}!{name}.doi": fetch(server, f"/realisations/{drv}!{name}.doi").body for drv, name in rows}

    def make(self, generator):
        kind = generator.choice(
            [self.page, self.page, self.narinfo, self.narinfo, self.narinfo, self.nar, self.nar, self.nar_range,
             self.nar_range, self.condition, self.listing, self.build_log, self.realisation, self.absent,
             self.other_method, self.with_body]
        )  # fmt: skip
        request = kind(generator)
        if request.method == "GET" and not any(name == "Range" for name, _ in request.headers) and generator.random() < 0.1:
            request.method, request.check = "HEAD", without_body(request.check)
        return decorate(request, generator)

    def page(self, generator):
        def healthy(body):
            assert json.loads(body)["status"] == "healthy", body

        def holds(text):
            def check(body):
                assert text in body

            return check

        target, body = generator.choice(
            [("/nix-cache-info", self.info), ("/", holds(b"<html")), ("/health", healthy), ("/version", None),
             ("/metrics", holds(b"# TYPE "))]
        )  # fmt: skip
        return Request("GET", target, answers(200, body))

    def random_path(self, generator):
        part = generator.choice(list(self.paths))
        return part, *self.paths[part]

    def narinfo(self, generator):
        part, digest, _ = self.random_path(generator)

        def about_it(body):
            fields = oracle.parse_narinfo(body.decode())
            assert fields["NarHash"] == f"sha256:{digest}" and fields["StorePath"].rsplit("/", 1)[1][:32] == part

        def json_about_it(body):
            json.loads(body)

        if generator.random() < 0.2:
            return Request("GET", f"/{part}.narinfo?json", answers(200, json_about_it))
        return Request("GET", f"/{part}.narinfo", answers(200, about_it))

    def nar_url(self, generator):
        part, digest, bodies = self.random_path(generator)
        suffix = generator.choice(list(SUFFIXES))
        name = generator.choice(
            [f"{digest}.nar{suffix}?hash={part}", f"{digest}.nar{suffix}", f"{part}-{digest}.nar{suffix}",
             f"{part}.nar{suffix}"]
        )  # fmt: skip
        return f"/nar/{name}", bodies[suffix]

    def resumable_url(self, generator):
        part, digest, bodies = self.random_path(generator)
        suffix = generator.choice(list(SUFFIXES))
        return f"/nar/{oracle.nar_name(digest, suffix)}?hash={part}", bodies[suffix]

    def nar(self, generator):
        if generator.random() < 0.5:
            target, body = self.resumable_url(generator)
            return Request("GET", target, answers(200, body, Accept_Ranges="bytes"))
        target, body = self.nar_url(generator)
        return Request("GET", target, answers(200, body))

    def nar_range(self, generator):
        return ranged(*self.resumable_url(generator), generator)

    def condition(self, generator):
        part, digest, _ = self.random_path(generator)
        tag = generator.choice([f'"{digest}"', f'W/"{digest}"', f'"a", "{digest}"', "*"])
        return Request("GET", f"/nar/{digest}.nar?hash={part}", answers(304, b""), [("If-None-Match", tag)])

    def listing(self, generator):
        part = generator.choice(list(self.listings))
        return Request("GET", f"/{part}.ls", answers(200, self.listings[part]))

    def build_log(self, generator):
        def check(answer):
            # More logs than are decompressed at once.
            if answer.status != 503:
                answers(200, self.log_text)(answer)

        return Request("GET", f"/log/{self.log}", check)

    def realisation(self, generator):
        target = generator.choice(list(self.realisations))
        return Request("GET", target, answers(200, self.realisations[target]))

    def absent(self, generator):
        part, digest, _ = self.random_path(generator)
        target = generator.choice(
            [f"/{ABSENT}.narinfo", f"/{ABSENT}.ls", f"/nar/{ABSENT}.nar", f"/nar/{'0' * 52}.nar.zst?hash={part}",
             f"/nar/{digest}.nar.gz", "/log/x.drv", f"/log/{ABSENT}-x.drv", "/no/such/route", "/%2e%2e%2fetc/passwd",
             f"/realisations/sha256:{'0' * 64}!out.doi", f"/build-trace-v2/{ABSENT}-x.drv/out.doi", "/nar/",
             "/" + "a" * 3000, f"/{part}.narinfo.narinfo"]
        )  # fmt: skip

        def check(answer):
            assert answer.status in (400, 404), answer.status

        return Request("GET", target, check)

    def other_method(self, generator):
        target = generator.choice(["/nix-cache-info", f"/{generator.choice(list(self.paths))}.narinfo", "/health"])
        method = generator.choice(["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
        return Request(method, target, answers(405, Allow="GET, HEAD"), body=b"")

    def with_body(self, generator):
        """A body that a route does not take: refused, and the connection with it."""
        body = generator.choice([b"x", b"{}", b"y" * 70_000])
        return Request(
            "GET", "/nix-cache-info", answers(413), [("Connection", "close")], body, chunked=generator.random() < 0.5
        )  # fmt: skip
