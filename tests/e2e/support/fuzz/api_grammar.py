"""All that serve-api serves, as requests with what their answers must be.

Of four repositories: `broken` cannot be fetched, `demo` has been built once, `hangs` is being built all the time, and
`again` is built as often as somebody asks for it.
"""

import json

from support.build import HANGS, flake, packages, repository
from support.fuzz.requests import Request, answers, decorate, ranged, without_body
from support.http import fetch

STATUS_FIELDS = ["is_running", "last_start", "last_finish", "last_status", "last_commit"]


def add_repositories(builder):
    builder.settings = "[build]\nmax_parallel = 4\n"
    builder.add("broken", builder.root / "nothing-here")
    text = flake(packages(x="for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; echo done > $out"), 'a.url = "path:./a"; a.flake = false;')
    repository(builder, {"flake.nix": text, "a/file": "a"})
    repository(builder, HANGS, name="hangs")
    repository(builder, {"flake.nix": flake(packages(x="echo again > $out"))}, name="again")


class ApiGrammar:
    def __init__(self, server):
        self.builds = {}
        for name in ("demo", "hangs"):
            self.builds[name] = server.post(f"/build/trigger/{name}")["build_id"]
        self.number = self.builds["demo"]
        assert server.wait_until_done()["last_status"] == "success"
        server.builder.wait_for_phase("build", "hangs")
        self.log = fetch(server, f"/builds/{self.number}/log").body
        self.lock = fetch(server, f"/builds/{self.number}/flake.lock")
        self.lines = json.loads(fetch(server, "/build/logs/demo?lines=10000").body)["logs"]
        self.build = fetch(server, f"/builds/{self.number}").body
        self.openapi = fetch(server, "/openapi.json").body

    def make(self, generator):
        kind = generator.choice(
            [self.status, self.status, self.logs, self.stream, self.live_stream, self.history, self.history, self.one_build,
             self.build_log, self.build_log, self.page, self.absent, self.bad_parameter, self.other_method, self.trigger,
             self.trigger, self.cancel, self.refused, self.too_long]
        )  # fmt: skip
        request = kind(generator)
        if (
            request.method == "GET" and not request.endless and generator.random() < 0.1
            and not any(name == "Range" for name, _ in request.headers)
        ):  # fmt: skip
            request.method, request.check = "HEAD", without_body(request.check)
        return decorate(request, generator)

    def status(self, generator):
        name = generator.choice(["", "/demo", "/broken", "/hangs", "/again"])

        def check(body):
            status = json.loads(body)
            assert list(status)[:5] == STATUS_FIELDS, body
            assert status["repository"] == (name[1:] or "broken"), body
            if name == "/hangs":
                assert status["is_running"], body

        return Request("GET", f"/build/status{name}", answers(200, check))

    def logs(self, generator):
        count = generator.choice([1, 2, 100, 10000])

        def check(body):
            assert json.loads(body) == {"logs": self.lines[-count:]}, body

        if generator.random() < 0.3:
            return Request("GET", generator.choice(["/build/logs", "/build/logs/hangs?lines=5"]), answers(200, json.loads))
        return Request("GET", f"/build/logs/demo?lines={count}", answers(200, check))

    def stream(self, generator):
        """Of a build that has ended: all of it at once."""
        def check(body):
            assert body.startswith(b"event: status\ndata: {") and b"\nevent: end\ndata: {" in body and body.endswith(b"\n\n"), body

        target = f"/build/logs/demo/stream?build={self.number}"
        headers = []
        if generator.random() < 0.3:
            target += generator.choice(["&lines=3", "&lines=0", "&events=status", "&events=%20"])
        elif generator.random() < 0.3:
            offset = generator.choice([0, 5, len(self.log), len(self.log) + 1, (1 << 63) - 1, (1 << 64) - 1])
            headers.append(("Last-Event-ID", f"{self.number}:{offset}"))
        return Request("GET", target, answers(200, check, Content_Type="text/event-stream"), headers)

    def live_stream(self, generator):
        target = "/build/logs/hangs/stream" + generator.choice(["", "?lines=10", f"?build={self.builds['hangs']}"])
        return Request("GET", target, answers(200, Content_Type="text/event-stream"), endless=True)

    def history(self, generator):
        query = generator.choice(["", "?limit=1", "?limit=3&repository=demo", "?before=2", f"?before={(1 << 63) - 1}",
                                  "?repository=nothing", "?repository=%00%ff", "?limit=2&&a=b&limit"])  # fmt: skip

        def check(body):
            numbers = [build["id"] for build in json.loads(body)["builds"]]
            assert numbers == sorted(numbers, reverse=True), body

        return Request("GET", f"/builds{query}", answers(200, check))

    def one_build(self, generator):
        if generator.random() < 0.3 and self.lock.status == 200:
            return Request("GET", f"/builds/{self.number}/flake.lock", answers(200, self.lock.body))
        return Request("GET", f"/builds/{self.number}", answers(200, self.build))

    def build_log(self, generator):
        target = f"/builds/{self.number}/log"
        if generator.random() < 0.5:
            return ranged(target, self.log, generator)
        return Request("GET", target, answers(200, self.log))

    def page(self, generator):
        def has(*fields):
            def check(body):
                assert set(fields) <= set(json.loads(body)), body

            return check

        target, body = generator.choice(
            [("/repositories", has("repositories")), ("/info", has("hostname", "cache_url")), ("/metrics", None),
             ("/health", has("status", "cache_running")), ("/openapi.json", self.openapi)]
        )  # fmt: skip
        return Request("GET", target, answers(200, body))

    def absent(self, generator):
        method, target = generator.choice(
            [("GET", "/build/status/nothing"), ("GET", "/builds/999999999"), ("GET", "/builds/999999999/log"),
             ("GET", "/build/logs/nothing/stream"), ("GET", "/no/such"), ("POST", "/build/trigger/nothing"),
             ("POST", "/build/cancel/..%2f"), ("GET", f"/build/logs/demo/stream?build={self.builds['hangs']}"),
             ("GET", "/build/status/%ff%00"), ("GET", "/")]
        )  # fmt: skip

        def check(answer):
            assert answer.status in (400, 404), answer.status

        return Request(method, target, check, body=b"" if method == "POST" else None)

    def bad_parameter(self, generator):
        number = generator.choice(["0", "-1", "10001", "x", "", "1e2", "9" * 30, "%31%20", "1%00"])
        target = generator.choice(
            [f"/build/logs?lines={number}", f"/builds?limit={number}", f"/build/logs/demo/stream?lines={number or 'x'}x"]
        )
        return Request("GET", target, answers(422))

    def other_method(self, generator):
        target, allow = generator.choice(
            [("/build/trigger", "POST"), ("/build/cancel/demo", "POST"), ("/build/status", "GET, HEAD"), ("/info", "GET, HEAD")]
        )
        method = generator.choice(["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
        return Request(method, target, answers(405, Allow=allow), body=b"")

    def random_body(self, generator):
        return generator.choice(
            [b"", b"{}", b'{"repository": "demo"}', b"null", b"[" * 1000, b'{"a": "' + b"\xff" * 100 + b'"}', b"z" * 60_000]
        )

    def trigger(self, generator):
        target = generator.choice(["/build/trigger", "/build/trigger/hangs", "/build/trigger/hangs", "/build/trigger/again"])

        def check(body):
            reply = json.loads(body)
            assert reply["status"] == "already_running" or (reply["status"] == "triggered" and "hangs" not in target), body

        def check_answer(answer):
            if answer.status == 429:  # so many triggers are too many
                assert int(answer.header("Retry-After")) > 0
            else:
                answers(200, check)(answer)

        user = [("X-Nixbuild-User", generator.choice(["ann@laptop", "\xff\t\x01", "u" * 500]))] if generator.random() < 0.3 else []
        user = [(name, value.replace("\x01", "")) for name, value in user]
        return Request("POST", target, check_answer, user, self.random_body(generator), generator.random() < 0.4)

    def cancel(self, generator):
        target = generator.choice(["/build/cancel", "/build/cancel/demo", "/build/cancel/again"])

        def check(body):
            assert json.loads(body)["status"] in ("cancelled", "not_running"), body

        return Request("POST", target, answers(200, check), [], self.random_body(generator), generator.random() < 0.4)

    def refused(self, generator):
        """What a page of another site could send."""
        headers = generator.choice(
            [[("Origin", "http://evil.example.com")], [("Origin", "null")], [("Sec-Fetch-Site", "cross-site")],
             [("Host", "evil.example.com")], [("Host", "evil.example.com:8000")]]
        )  # fmt: skip
        # The server ends the connection of a request for another host, rather than read its body.
        body = None if headers[0][0] == "Host" else self.random_body(generator)
        return Request("POST", "/build/trigger/again", answers(403), headers, body)

    def too_long(self, generator):
        return Request(
            "POST", "/build/cancel/demo", answers(413), [("Connection", "close")], b"x" * generator.choice([65_537, 200_000]),
            generator.random() < 0.5,
        )  # fmt: skip
