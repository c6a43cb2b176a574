"""A running `nixbuild serve-api` of a Builder's state and repositories."""

import contextlib
import json
import re
import signal
import subprocess
import threading
import time

from support.http import fetch
from support.server import SANITIZER_REPORT


class ApiServer:
    def __init__(self, builder, *options):
        self.builder = builder
        self.options = options
        self.port = 0
        self.process = None
        self.log = []

    def start(self):
        self.process = subprocess.Popen(
            self.builder.command("serve-api", "--listen", f"127.0.0.1:{self.port}", "--runner", "local",
                                 "--cache-url", "http://127.0.0.1:1", *self.options),
            env=self.builder.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        listening = threading.Event()
        threading.Thread(target=self._read_log, args=(self.process, listening), daemon=True).start()
        assert listening.wait(30) and self.port, "\n".join(self.log)
        return self

    def _read_log(self, process, listening):
        for raw in process.stderr:
            self.log.append(raw.decode(errors="replace").rstrip("\n"))
            if match := re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.log[-1]):
                self.port = int(match[1])
                listening.set()
        listening.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

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

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, seconds=30):
        """Ends it in good order; returns how long that took."""
        if self.process is None or self.process.poll() is not None:
            return 0
        begin = time.monotonic()
        self.process.terminate()
        code = self.process.wait(seconds)
        assert code == 0, f"{code}\n" + "\n".join(self.log)
        assert not SANITIZER_REPORT.search("\n".join(self.log)), "\n".join(self.log)
        return time.monotonic() - begin

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
