"""A browser is hostile: what a page of a stranger makes it send is refused by every server."""

import pytest
from support.network import PEERS, SERVER, SERVER_V6

OURS = [
    "localhost", "localhost:5000", "LOCALHOST", "localhost.", "a.localhost:1", "localhost:", "127.0.0.1", "127.0.0.1:8000",
    "127.5.5.5", "[::1]", "[::1]:5000", SERVER, f"{SERVER}:5000", PEERS[0], f"[{SERVER_V6}]:5000", "build-server",
    "Build-Server:8000", "build-server.tail1234.ts.net", "builds.example.org", "builds.example.org.:443", "198.51.100.7",
]  # fmt: skip
STRANGERS = [
    "evil.example.com", "evil.example.com:5000", "localhost.evil.com", "127.0.0.1.evil.com", "[::1].evil.com",
    "[::1]evil.com", "[::1]:80.evil.com", "[::1", "::1", "[]", "[localhost]", "router", "a", "printer.local", "x.local:80",
    "evil.tail1234.ts.net", "build-server.evil.tail1234.ts.net", "build-server.ts.net", "build-server.evil.com",
    "builds.example.org.evil.com", "evil-builds.example.org", "0.0.0.0", "[::]", "198.51.100.8", "[2001:db8:80::99]",
    "127.1", "2130706433", "0x7f000001", "localhost:80:80", "localhost:port", "localhost..", ".localhost",
]  # fmt: skip


def status_for(target, headers):
    def ask():
        with target.connect(PEERS[0]) as connection:
            connection.sendall(f"GET {target.path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode())
            received = b""
            while chunk := connection.recv(1 << 16):
                received += chunk
        return received

    received = target.network.inside(ask)
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in received
    return int(received.split(b" ", 2)[1]), received


@pytest.fixture
def target(attack):
    return attack("--allowed-host", "builds.example.org", "--allowed-host", "198.51.100.7")


def test_only_requests_for_names_of_the_server_are_answered(target):
    for host in OURS:
        assert status_for(target, f"Host: {host}\r\n")[0] == 200, host
    for host in STRANGERS:
        status, received = status_for(target, f"Host: {host}\r\n")
        assert status == 403 and b"allowed_host" in received, host
    target.server.wait_for_log(rf"refused a request from {PEERS[0]}:\d+ for the host 'evil.example.com'; .*allowed_host")
    assert sum("refused a request" in line for line in target.server.log) == 1


def test_a_header_that_decides_comes_once(target):
    host = "Host: localhost\r\n"
    for twice in ("Host: localhost\r\n", "Origin: http://localhost\r\nOrigin: http://evil.example.com\r\n",
                  "Origin: null\r\norigin: null\r\n",
                  "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n"):  # fmt: skip
        assert status_for(target, host + twice)[0] == 400, twice
    assert status_for(target, host + "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n")[0] == 200


def test_a_smuggled_name_in_the_target_is_refused(target):
    status, _ = status_for(target, "Host: localhost\r\nHost : evil\r\n")
    assert status == 400
