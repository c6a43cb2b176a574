"""A plain HTTP client: sends what it is told, nothing normalised."""

import http.client
import socket


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body
        self.text = body.decode(errors="replace")

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


def fetch(server, path, method="GET", headers=None, timeout=60):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        return fetch_on(connection, path, method, headers)
    finally:
        connection.close()


def fetch_on(connection, path, method="GET", headers=None):
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    return Answer(response, response.read())


def connect(server, timeout=60):
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout)


def exchange(server, request, timeout=60):
    """Sends raw bytes, returns what comes until the server closes; b'' also for a reset."""
    with connect(server, timeout) as connection:
        received = b""
        try:
            connection.sendall(request)
            while chunk := connection.recv(1 << 16):
                received += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
        return received


def status_of(raw):
    """The status of a raw response, None where there is none."""
    return int(raw.split(b" ", 2)[1]) if raw.startswith(b"HTTP/1.1 ") else None
