"""Clients that make load: wrk for many small answers, plain sockets for large ones."""

import hashlib
import http.client
import json
import os
import pathlib
import resource
import socket
import subprocess
import threading
import time

SCRIPT = pathlib.Path(__file__).resolve().parent / "wrk.lua"
BUFFER = bytearray(1 << 20)


class WrongAnswer(RuntimeError):
    """A server answered something that makes its speed meaningless."""


class Load:
    """What one run of wrk saw. `rate` in requests a second, `p99` in seconds."""

    def __init__(self, numbers):
        self.requests = numbers["requests"]
        self.rate = numbers["requests"] / (numbers["duration"] / 1e6)
        self.p99 = numbers["p99"] / 1e6


def wrk(port, seconds, what, argument):
    """Two threads with 50 keep-alive connections in all, asking for `what` of wrk.lua. Throws
    WrongAnswer unless all answers are 2xx, or, where `what` is "absent", all 4xx."""
    command = [
        "wrk", "-t2", "-c50", f"-d{seconds}s", "-s", SCRIPT,
        f"http://127.0.0.1:{port}", "--", what, str(argument),
    ]  # fmt: skip
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    numbers = json.loads(run.stdout.rpartition("RESULT ")[2])
    wanted = numbers["requests"] if what == "absent" else 0
    if numbers["socket_errors"] or numbers["status_errors"] != wanted or not numbers["requests"]:
        raise WrongAnswer(f"wrk asking port {port} for {what}: {numbers}")
    if numbers["exhausted"]:
        raise WrongAnswer(f"wrk asking port {port}: {argument} has too few paths for {seconds} s")
    return Load(numbers)


def _request(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def status(port, path):
    """The status of an answer."""
    return _request(port, path)[0]


def get(port, path, method="GET"):
    """The body of an answer. Throws WrongAnswer unless it is 200."""
    code, body = _request(port, path, method)
    if code != 200:
        raise WrongAnswer(f"{method} {path}: {code} {body[:200]!r}")
    return body


def post(port, path):
    """The same of a POST without a body."""
    return get(port, path, "POST")


def sha256_of(port, path, through=()):
    """The SHA-256 of a body, in hexadecimal, after the command `through` where one is given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", path)
    response = connection.getresponse()
    if response.status != 200:
        raise WrongAnswer(f"GET {path}: {response.status}")
    digest = hashlib.sha256()
    if through:
        with subprocess.Popen(through, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
            feeder = threading.Thread(target=_copy, args=(response, command.stdin))
            feeder.start()
            while piece := command.stdout.read(1 << 20):
                digest.update(piece)
            feeder.join()
    else:
        while piece := response.read(1 << 20):
            digest.update(piece)
    connection.close()
    return digest.hexdigest()


def _copy(source, target):
    with target:
        while piece := source.read(1 << 20):
            target.write(piece)


class Transfer:
    """One large download: `seconds` from connecting to the end, `first_byte` to the first byte of the
    body, `size` of what came, in bytes; `processor` the seconds of processor time that its maker took,
    where they are known."""

    def __init__(self, seconds, first_byte, size, processor=None):
        self.processor = processor
        self.seconds = seconds
        self.first_byte = first_byte
        self.size = size


def download(port, path):
    """Reads a body to its end and forgets it. Throws WrongAnswer when it is not 200 or not whole."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=600) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                raise WrongAnswer(f"GET {path}: connection closed within the head")
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise WrongAnswer(f"GET {path}: {head.decode(errors='replace')}")
        size = len(body)
        end = body[-5:]
        if not size:
            piece = connection.recv(4096)
            size += len(piece)
            end = piece[-5:]
        first_byte = time.perf_counter() - began
        while count := connection.recv_into(BUFFER):
            size += count
            end = (end + bytes(BUFFER[max(0, count - 5) : count]))[-5:]
    seconds = time.perf_counter() - began
    headers = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if "content-length" in headers:
        whole = size == int(headers["content-length"])
    else:
        whole = end == b"0\r\n\r\n"
    if not whole:
        raise WrongAnswer(f"GET {path}: cut off after {size} bytes")
    return Transfer(seconds, first_byte, size)


def drain_command(command):
    """Runs a command and reads its standard output to the end. Returns a Transfer."""
    used_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    read_end, write_end = os.pipe()
    with subprocess.Popen(command, stdout=write_end) as process:
        os.close(write_end)
        size = 0
        first_byte = None
        while count := os.readv(read_end, [BUFFER]):
            if first_byte is None:
                first_byte = time.perf_counter() - began
            size += count
        os.close(read_end)
        if process.wait() != 0:
            raise WrongAnswer(f"{command} failed")
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime - used_before.ru_utime - used_before.ru_stime
    return Transfer(seconds, first_byte, size, processor)
