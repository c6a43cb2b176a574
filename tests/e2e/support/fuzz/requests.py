"""Requests as the fuzzer makes them: whole and right, with what the answer to each must be."""

import dataclasses
import typing


@dataclasses.dataclass
class Request:
    method: str
    target: str
    check: typing.Callable  # of the Answer; raises AssertionError
    headers: list = dataclasses.field(default_factory=list)
    body: bytes | None = None
    chunked: bool = False
    version: str = "1.1"
    endless: bool = False  # the answer ends when the client goes

    @property
    def is_last(self):
        """No other can follow on its connection."""
        return self.endless or self.version == "1.0" or ("Connection", "close") in self.headers

    def render(self, generator):
        """The bytes, as one of the many ways to write the same request."""
        headers = [*self.headers]
        if self.body is not None:
            headers.append(("Transfer-Encoding", "chunked") if self.chunked else ("Content-Length", len(self.body)))
        generator.shuffle(headers)
        lines = [f"{self.method} {self.target} HTTP/{self.version}"]
        for name, value in headers:
            name = generator.choice([name, name, name.lower(), name.upper()])
            lines.append(f"{name}:{generator.choice([' ', ' ', '', '  ', chr(9)])}{value}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        if self.body is None:
            return head
        return head + (chunks(self.body, generator) if self.chunked else self.body)


def chunks(body, generator):
    out = []
    while body:
        size = generator.choice([1, 2, 7, 100, 4096, len(body)])
        extension = generator.choice([b"", b"", b"", b";a=b", b';q="x y"'])
        piece, body = body[:size], body[size:]
        out.append(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece))
    trailer = generator.choice([b"", b"", b"X-Trailer: t\r\n"])
    return b"".join(out) + b"0\r\n" + trailer + b"\r\n"


def answers(status, body=None, **headers):
    """A check: this status, these headers, and a body that is `body` or that `body` takes well."""

    def check(answer):
        assert answer.status == status, f"{answer.status} instead of {status}: {answer.body[:300]!r}"
        for name, value in headers.items():
            assert answer.header(name.replace("_", "-")) == value, f"{name}: {answer.header(name)!r}, not {value!r}"
        if body is None or not answer.whole:
            return
        if callable(body):
            body(answer.body)
        else:
            assert answer.body == body, f"{len(answer.body)} bytes, not the {len(body)} that it should be"

    return check


def without_body(check_status):
    """The check for HEAD: of the head alone."""

    def check(answer):
        assert answer.body == b""
        answer.whole = False
        check_status(answer)

    return check


# Headers that change nothing.
HARMLESS = [
    ("User-Agent", "curl/8.5.0 Nix/2.26.3"), ("Accept", "*/*"), ("Accept-Encoding", "zstd, br, gzip, deflate, bzip2, xz"),
    ("X-Empty", ""), ("X-Latin", "caf\xe9"), ("X-Long", "y" * 3000), ("Connection", "keep-alive"), ("Cookie", "a=b; c=d"),
    ("Upgrade", "h2c"), ("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"), ("Cache-Control", "no-cache"),
    ("Priority", "u=3"), ("TE", "trailers"), ("Via", "1.1 proxy"), ("X-Forwarded-For", "10.0.0.1"),
]  # fmt: skip


def decorate(request, generator):
    """The same request with what any client may add: Host, harmless headers, the end of the connection."""
    request.version = "1.0" if generator.random() < 0.04 else "1.1"
    if not any(name == "Host" for name, _ in request.headers):
        request.headers.insert(0, ("Host", generator.choice(["127.0.0.1", "localhost:5000", "build-server", "[::1]:8000"])))
    for name, value in generator.sample(HARMLESS, generator.choice([0, 1, 1, 3])):
        if not (name == "Connection" and request.version == "1.0"):
            request.headers.append((name, value))
    if ("Connection", "keep-alive") not in request.headers and generator.random() < 0.1:
        request.headers.append(("Connection", "close"))
    if request.body is not None and request.version == "1.1" and generator.random() < 0.2:
        request.headers.append(("Expect", "100-continue"))
    if request.version == "1.0":
        request.chunked = False
    return request


def span_of(text, size):
    """(first, last) that a right `bytes=…` names of `size` bytes, None where it names none."""
    first, _, last = text.removeprefix("bytes=").partition("-")
    if first == "":
        begin, end = size - min(int(last), size), size - 1
    else:
        begin, end = int(first), min(int(last) if last else size - 1, size - 1)
    return (begin, end) if begin <= end and begin < size else None


def random_range(size, generator):
    first = generator.choice([0, 0, 1, size // 2, max(size - 1, 0), generator.randrange(size + 1)])
    last = first + generator.choice([0, 1, 100, 65536, 1 << 40])
    return generator.choice([f"bytes={first}-", f"bytes={first}-{last}", f"bytes=-{generator.randrange(1, size + 2)}"])


def ranged(target, body, generator):
    """A request for a part of what the target has."""
    text = random_range(len(body), generator)
    span = span_of(text, len(body))
    if span is None:
        # Whoever resumes at the very end has all there is.
        check = past_the_end(text == f"bytes={len(body)}-" or text.startswith(f"bytes={len(body)}-"))
    else:
        part = body[span[0] : span[1] + 1]
        check = answers(206, part, Content_Range=f"bytes {span[0]}-{span[1]}/{len(body)}")
    return Request("GET", target, check, [("Range", text)])


def past_the_end(at_the_end):
    def check(answer):
        assert answer.status == 416 or (at_the_end and answer.status == 206 and answer.body == b""), answer.status

    return check
