"""What is done to right requests to make wrong ones."""

import re

# What parsers of HTTP have stumbled over.
WORDS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b"%00", b"%2e%2e/", b"../", b"//", b"?", b"#", b"\xff", b"\x80",
    b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/0.9", b"GET ", b"HEAD ", b"POST ", b"OPTIONS * ", b"CONNECT a:1 ", b"PRI * ",
    b"0", b"-1", b"+1", b"0x10", b"1e3", b"18446744073709551615", b"18446744073709551616", b"9" * 40, b"ffffffffffffffff",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 6\r\n", b"Content-Length: 5, 5\r\n",
    b"Content-Length: 1000000000000\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding:\x0bchunked\r\n",
    b"Host: a\r\n", b"Host: evil.example.com\r\n", b"Host:\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", b"Expect: 100-continue\r\n", b"Expect: 200-ok\r\n",
    b"Range: bytes=0-0,-1\r\n", b"Range: bytes=5-2\r\n", b"Range: bytes=\r\n", b"Range: bytes=0-\r\n",
    b"Range: bytes=18446744073709551615-18446744073709551615\r\n", b"Range: bytes=-0\r\n", b"If-Range: \"x\"\r\n",
    b"If-None-Match: *\r\n", b"If-None-Match: \"\r\n", b"If-None-Match: W/\"a\", \"b\r\n", b" folded: line\r\n",
    b"Origin: null\r\n", b"Sec-Fetch-Site: cross-site\r\n", b"Last-Event-ID: 1:99999999999\r\n", b"Last-Event-ID: x\r\n",
    b"Authorization: Bearer\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n", b"ffffffffffffffff\r\n", b"1;" + b"x" * 200 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\xef\xbb\xbf",
]  # fmt: skip


def flip_bytes(data, generator):
    data = bytearray(data)
    for _ in range(generator.choice([1, 1, 2, 5, 20])):
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    return bytes(data)


def set_bytes(data, generator):
    data = bytearray(data)
    for _ in range(generator.choice([1, 1, 2, 5])):
        data[generator.randrange(len(data))] = generator.randrange(256)
    return bytes(data)


def truncate(data, generator):
    return data[: generator.randrange(len(data))]


def remove(data, generator):
    begin = generator.randrange(len(data))
    return data[:begin] + data[begin + generator.choice([1, 2, 4, 10, 100]) :]


def insert_word(data, generator):
    position = generator.randrange(len(data) + 1)
    return data[:position] + generator.choice(WORDS) + data[position:]


def insert_line(data, generator):
    """A header line that contradicts, repeats, or is none, among the others."""
    ends = [match.end() for match in re.finditer(rb"\r\n", data)]
    if not ends:
        return insert_word(data, generator)
    position = generator.choice(ends)
    word = generator.choice([word for word in WORDS if word.endswith(b"\r\n")])
    return data[:position] + word + data[position:]


def repeat_line(data, generator):
    lines = data.split(b"\r\n")
    at = generator.randrange(len(lines))
    lines[at:at] = [lines[at]] * generator.choice([1, 1, 2, 200])
    return b"\r\n".join(lines)


def other_line_ends(data, generator):
    return data.replace(b"\r\n", generator.choice([b"\n", b"\r", b"\r\r\n", b"\n\r"]), generator.choice([1, 2, -1]))


def other_number(data, generator):
    numbers = list(re.finditer(rb"[0-9]+", data))
    if not numbers:
        return flip_bytes(data, generator)
    match = generator.choice(numbers)
    number = generator.choice(
        [b"-1", b"0", b"00", b"", b"1", b"2147483648", b"4294967296", b"9223372036854775807", b"9223372036854775808",
         b"18446744073709551615", b"18446744073709551616", b"9" * 30, b"%d" % (int(match[0][:18]) + 1)]
    )  # fmt: skip
    return data[: match.start()] + number + data[match.end() :]


def oversize(data, generator):
    """Grows one place far beyond any bound: target, method, header, chunk's size."""
    position = generator.randrange(len(data) + 1)
    size = generator.choice([5_000, 8_190, 16_380, 16_384, 20_480, 20_500, 70_000, 300_000])
    return data[:position] + generator.choice([b"a", b"%41", b"/", b"X: y\r\n", b"0", b" "]) * size + data[position:]


def swap(data, generator):
    first, second = sorted(generator.randrange(len(data) + 1) for _ in range(2))
    return data[second:] + data[first:second] + data[:first]


MUTATIONS = [
    flip_bytes, set_bytes, truncate, remove, insert_word, insert_word, insert_line, insert_line, repeat_line,
    other_line_ends, other_number, other_number, oversize, swap,
]  # fmt: skip


def mutate(data, generator):
    for _ in range(generator.choice([1, 1, 1, 2, 3, 6])):
        if data:
            data = generator.choice(MUTATIONS)(data, generator)
    return data
