"""A build API that says what a test wants it to, misbehaviour included. Standard library only."""

import http.server
import json
import socket
import threading
import time
import urllib.parse

START = "2025-01-15T14:30:00Z"
FINISH = "2025-01-15T14:32:13Z"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
STREAM = "/build/logs/nix-terminal/stream"
TRIGGERED = {
    "status": "triggered", "message": "Build triggered", "repository": "nix-terminal", "build_id": 12,
}  # fmt: skip


def progress(**fields):
    return {
        "targets": 0, "evaluated": 0, "built": 0, "to_build": 0, "failed": 0, "copied": 0, "to_copy": 0,
        "bytes_copied": 0, "bytes_to_copy": 0, "running": [], **fields,
    }  # fmt: skip


def status(**fields):
    """The status of a build that runs."""
    return {
        "is_running": True, "last_start": START, "last_finish": None, "last_status": None,
        "last_commit": None, "repository": "nix-terminal", "build_id": 12, "phase": "build",
        "progress": progress(), "error": None, "outputs": [], **fields,
    }  # fmt: skip


def ended(result="success", **fields):
    return status(
        is_running=False, last_finish=FINISH, last_status=result, last_commit=COMMIT, phase="done",
        error=None if result == "success" else "2 targets failed", **fields,
    )  # fmt: skip


def build(number=12, **fields):
    return {
        "id": number, "repository": "nix-terminal", "branch": "main", "state": "success", "triggered_by": "ann@laptop",
        "triggered_from": "100.64.0.2", "queued_at": START, "start": START, "finish": FINISH,
        "commit": COMMIT, "commit_subject": "Add a thing", "commit_author": "Ann <ann@example.org>",
        "error": None, "has_lock": True, "phases": [], "targets": [], "derivations": [], **fields,
    }  # fmt: skip


def event(kind, data, number=None):
    if not isinstance(data, str):
        data = json.dumps(data)
    lines = [f"event: {kind}", *(f"data: {line}" for line in data.split("\n"))]
    if number is not None:
        lines.insert(1, f"id: {number}")
    return "\n".join(lines) + "\n\n"


class Raw:
    """Bytes to send as they are, before the connection is closed."""

    def __init__(self, data):
        self.data = data.encode() if isinstance(data, str) else data


class Reply:
    def __init__(self, body, code=200, content_type="application/json", **headers):
        if not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        self.body = body.encode() if isinstance(body, str) else body
        self.code = code
        self.content_type = content_type
        self.headers = headers


class Stream:
    """An event stream: text is sent, numbers are seconds to wait, callables are called."""

    def __init__(self, *parts, **headers):
        self.parts = parts
        self.headers = headers


class FakeApi:
    """Answers `METHOD /path` with answers["METHOD /path"]: JSON, Reply, Raw, Stream, or a list of these
    that is used up one a request, its last one again and again."""

    def __init__(self, port=0):
        self.answers = {}
        self.requests = []  # of (method, path, query, headers)
        self.port = port
        self._server = None
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                fake._answer(self)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            connections = []

            def get_request(self):
                connection, peer = super().get_request()
                self.connections.append(connection)
                return connection, peer

            def handle_error(self, *_):
                pass  # clients that went away are part of the tests

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """Closes the socket and every connection."""
        self._server.shutdown()
        self._server.server_close()
        self.cut()

    def cut(self):
        """Closes every connection."""
        for connection in self._server.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def requests_of(self, path):
        return [request for request in self.requests if request[1] == path]

    def _answer(self, handler):
        path, _, query = handler.path.partition("?")
        self.requests.append(
            (handler.command, path, dict(urllib.parse.parse_qsl(query)), dict(handler.headers))
        )
        if length := int(handler.headers.get("Content-Length") or 0):
            handler.rfile.read(length)
        answer = self.answers.get(f"{handler.command} {path}", Reply({"detail": "no such path"}, 404))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer()
        if isinstance(answer, Raw):
            handler.wfile.write(answer.data)
            handler.close_connection = True
            return
        if isinstance(answer, Stream):
            self._stream(handler, answer)
            return
        if not isinstance(answer, Reply):
            answer = Reply(answer)
        handler.send_response(answer.code)
        handler.send_header("Content-Type", answer.content_type)
        handler.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(answer.body)

    def _stream(self, handler, stream):
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        for name, value in stream.headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Connection", "close")
        handler.end_headers()
        for part in stream.parts:
            if isinstance(part, str):
                handler.wfile.write(part.encode())
                handler.wfile.flush()
            elif callable(part):
                part()
            else:
                time.sleep(part)
