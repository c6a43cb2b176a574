"""What a server may send on a connection, read by a parser of our own (RFC 9112, nothing lenient)."""

import dataclasses
import re

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [\t\x20-\x7e]*\r\n")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*\r\n")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
CONTENT_RANGE = re.compile(rb"bytes (?:([0-9]+)-([0-9]+)|\*)/([0-9]+)")
ONCE = (b"date", b"content-length", b"transfer-encoding", b"content-type", b"connection", b"etag", b"content-range")
# No server of ours has another reason to answer. 500 is a defect whatever was asked, and so is 503 but where a route
# says so: see Answer.status and the routes' checks.
STATUSES = {200, 206, 304, 400, 401, 403, 404, 405, 408, 413, 414, 416, 417, 422, 429, 431, 503}


class Malformed(Exception):
    """What came is no HTTP."""


class Incomplete(Exception):
    """What came is the beginning of HTTP."""


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    whole: bool = True

    def header(self, name):
        return self.headers.get(name.lower().encode(), b"").decode("latin-1")


def require(condition, what):
    if not condition:
        raise Malformed(what)


def read_head(data, position):
    """(status, headers, end of the head)."""
    match = STATUS_LINE.match(data, position)
    if match is None:
        require(b"\n" not in data[position:], f"not a status line: {data[position:position + 80]!r}")
        raise Incomplete
    status, position, headers = int(match[1]), match.end(), {}
    while not data.startswith(b"\r\n", position):
        field = FIELD.match(data, position)
        if field is None:
            require(data.find(b"\n", position) < 0, f"not a header: {data[position:position + 80]!r}")
            raise Incomplete
        name = field[1].lower()
        require(not (name in ONCE and name in headers), f"{name} is there twice")
        headers[name] = field[2]
        position = field.end()
    return status, headers, position + 2


def read_chunked(data, position):
    body = []
    while True:
        line = CHUNK.match(data, position)
        if line is None:
            require(b"\n" not in data[position:], f"not a chunk's size: {data[position:position + 80]!r}")
            raise Incomplete
        size, position = int(line[1], 16), line.end()
        if len(data) < position + size + 2:
            raise Incomplete
        require(data[position + size : position + size + 2] == b"\r\n", "a chunk does not end where it says")
        body.append(data[position : position + size])
        position += size + 2
        if size == 0:
            return b"".join(body), position


def check_head(status, headers):
    require(status in STATUSES, f"status {status}")
    require(b"date" in headers, "no Date")
    length, encoding = headers.get(b"content-length"), headers.get(b"transfer-encoding")
    require(length is None or length.isdigit(), f"Content-Length: {length!r}")
    require(encoding in (None, b"chunked"), f"Transfer-Encoding: {encoding!r}")
    require(length is None or encoding is None, "two framings")
    require(headers.get(b"connection") in (None, b"close", b"keep-alive"), "an odd Connection")
    if status == 405:
        require(headers.get(b"allow"), "405 without Allow")
    if status == 304:
        require(length is None and encoding is None, "304 with a body")
    span = headers.get(b"content-range")
    require(span is not None if status == 206 else status == 416 or span is None, f"Content-Range at {status}")
    if span is not None:
        match = CONTENT_RANGE.fullmatch(span)
        require(match is not None, f"Content-Range: {span!r}")
        if status == 206 and int(length or 0) > 0:
            first, last, size = map(int, match.groups())
            require(first <= last < size and last - first + 1 == int(length), f"{span!r} for {length!r} bytes")


def read_answer(data, position, is_head, ended):
    """(Answer, where it ends). Incomplete where more should come, if it is not `ended` by the server."""
    status, headers, begin = read_head(data, position)
    while status == 100:
        require(not headers, "100 with headers")
        status, headers, begin = read_head(data, begin)
    check_head(status, headers)
    if is_head or status == 304:
        return Answer(status, headers, b""), begin
    if b"content-length" in headers:
        length = int(headers[b"content-length"])
        if len(data) - begin < length:
            raise Incomplete
        return Answer(status, headers, data[begin : begin + length]), begin + length
    if b"transfer-encoding" in headers:
        body, end = read_chunked(data, begin)
        return Answer(status, headers, body), end
    require(headers.get(b"connection") == b"close", "no framing")
    if not ended:
        raise Incomplete
    return Answer(status, headers, data[begin:]), len(data)


def partial_answer(data, position):
    """What there is of an answer that has not come whole, None where there is not even its head."""
    try:
        status, headers, begin = read_head(data, position)
        while status == 100:
            status, headers, begin = read_head(data, begin)
    except Incomplete:
        return None
    check_head(status, headers)
    return Answer(status, headers, data[begin:], whole=False)


def read_answers(data, methods, ended, may_be_head=True):
    """All answers in `data`, the last perhaps not whole unless `ended`, which says that the server closed in order.

    `methods`: of the requests, as far as they are known. Where they are not, an answer is taken for one to HEAD where
    it makes no sense otherwise, if `may_be_head`.
    """

    def read_from(position, number):
        if position == len(data):
            return []
        known = number < len(methods)
        choices = [methods[number] == "HEAD"] if known else [False, True] if may_be_head else [False]
        problem, is_part = None, False
        for is_head in choices:
            try:
                answer, end = read_answer(data, position, is_head, ended)
                return [answer, *read_from(end, number + 1)]
            except Malformed as error:
                problem = problem or error
            except Incomplete:
                is_part = not ended
                problem = problem or Malformed(f"it ends in the middle of answer {number + 1}")
        if not is_part:
            raise problem
        part = partial_answer(data, position)
        return [part] if part else []

    return read_from(0, 0)
