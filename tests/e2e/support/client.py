"""The program as a client: run to its end, running on, and on a terminal."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from support.server import BINARY, SANITIZER_REPORT, program_environment


def environment(**more):
    unwanted = ("NO_COLOR", "http_proxy", "all_proxy", "NIXBUILD_SERVER")
    base = {name: value for name, value in program_environment().items() if name not in unwanted}
    return {**base, "TERM": "xterm", "USER": "ann", **more}


class Ended:
    def __init__(self, code, out, err):
        assert not SANITIZER_REPORT.search(err), err
        self.code, self.out, self.err = code, out, err


def client(api, *words, name=None, server=None, timeout=60, **more):
    """Runs one client command to its end."""
    command = [str(BINARY)] if name is None else [str(name)]
    if server is None and api is not None:
        server = api.address
    done = subprocess.run(
        command + [str(word) for word in words],
        env=environment(**({"NIXBUILD_SERVER": server} if server else {}), **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def heed_ctrl_c():
    """In the child: what a shell starts in the background, and so these tests perhaps, ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """A client command that goes on."""

    def __init__(self, api, *words, **more):
        self.process = subprocess.Popen(
            [str(BINARY), *words],
            env=environment(NIXBUILD_SERVER=api.address, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_ctrl_c,
        )
        self.out = ""
        self.err = ""

    def wait_for(self, text, seconds=20):
        """Reads both outputs until one of them has `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.out and text not in self.err:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.out!r}, {self.err!r}"
            streams = [self.process.stdout, self.process.stderr]
            for stream in select.select(streams, [], [], left)[0]:
                data = os.read(stream.fileno(), 65536).decode()
                assert data, f"ended without {text!r}: {self.out!r}, {self.err!r}"
                if stream is self.process.stdout:
                    self.out += data
                else:
                    self.err += data

    def end(self, seconds=20):
        out, err = self.process.communicate(timeout=seconds)
        return Ended(self.process.returncode, self.out + out, self.err + err)


class Terminal:
    """A client command on a terminal of 80 columns."""

    def __init__(self, api, *words, columns=80, **more):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [str(BINARY), *words],
            env=environment(NIXBUILD_SERVER=api.address, **more),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=self._take_terminal,
        )
        os.close(slave)
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    @staticmethod
    def _take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        heed_ctrl_c()

    def read(self, seconds):
        """False at the end."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.text += self._decoder.decode(data)
        return bool(data)

    def wait_for(self, text, seconds=20):
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"no {text!r} in {self.text!r}"
            assert self.read(0.1) or text in self.text, f"ended without {text!r}: {self.text!r}"

    def press(self, keys):
        os.write(self.master, keys.encode())

    def end(self, seconds=20):
        deadline = time.monotonic() + seconds
        while self.read(0.1):
            assert time.monotonic() < deadline, self.text
        os.close(self.master)
        code = self.process.wait(seconds)
        assert not SANITIZER_REPORT.search(self.text), self.text
        return code

    def screen(self):
        """What stands on the terminal: enough of a terminal for what the program sends."""
        lines, row, column = [""], 0, 0
        for piece in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[^\x1b]", self.text):
            if piece == "\n":
                row += 1
            elif piece == "\r":
                column = 0
            elif piece.endswith("A") and piece.startswith("\x1b"):
                row -= int(piece[2:-1])
            elif piece == "\x1b[J":
                lines[row] = lines[row][:column]
                del lines[row + 1 :]
            elif not piece.startswith("\x1b"):
                lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + 1 :]
                column += 1
            while len(lines) <= row:
                lines.append("")
        return [line.rstrip() for line in lines]
