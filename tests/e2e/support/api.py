"""A running `nixbuild serve-api` of a Builder's state and repositories."""

import contextlib
import json
import subprocess
import time

from support.http import fetch
from support.server import ServerProcess


class ApiServer(ServerProcess):
    def __init__(self, builder, *options, runner="local", **more):
        super().__init__()
        self.builder = builder
        self.options = ["--runner", runner, "--cache-url", "http://127.0.0.1:1", *options]
        self.environment = more
        self.prefix = []

    def start(self):
        command = self.builder.command("serve-api", "--listen", f"127.0.0.1:{self.port or 0}", *self.options)
        return self.start_process([*self.prefix, *command], {**self.builder.environment(), **self.environment})

    def get(self, path, status=200, **headers):
        answer = fetch(self, path, headers=headers)
        assert answer.status == status, answer
        return json.loads(answer.text)

    def post(self, path, status=200, **headers):
        answer = fetch(self, path, "POST", {"Content-Length": "0", **headers})
        assert answer.status == status, answer
        return json.loads(answer.text)

    def wait_until_done(self, repository="demo", seconds=60):
        deadline = time.monotonic() + seconds
        while (status := self.get(f"/build/status/{repository}"))["is_running"]:
            assert time.monotonic() < deadline, status
            time.sleep(0.05)
        return status

    def client(self, *arguments, code=0, timeout=60):
        result = subprocess.run(
            self.builder.command(*arguments), env={**self.builder.environment(), "NIXBUILD_SERVER": self.url},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout,
        )  # fmt: skip
        assert result.returncode == code, f"{result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    @contextlib.contextmanager
    def stream(self, path, **headers):
        """The events of a stream as (name, id, data), as they come."""
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        assert response.status == 200 and response.getheader("Content-Type") == "text/event-stream"

        def events():
            fields = {}
            for raw in response:
                line = raw.decode().rstrip("\n")
                if line.startswith(":"):
                    continue
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    yield fields.get("event"), fields.get("id"), fields.get("data")
                    fields = {}

        try:
            yield events()
        finally:
            connection.close()
