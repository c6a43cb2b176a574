"""A network of a test's own, with any number of peers in it."""

import ctypes
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

CLONE_NEWNET = 0x40000000

SERVER = "10.80.0.1"
PEERS = [f"10.80.0.{i}" for i in range(2, 12)]
SERVER_V6 = "2001:db8:80::1"
# Two addresses in one network of 64 bits, and one in another.
PEERS_V6 = ["2001:db8:80:1::1", "2001:db8:80:1::ffff", "2001:db8:80:2::1"]


class Network:
    """A network namespace. All addresses are its loopback interface's, which is enough to be several peers."""

    def __init__(self, *addresses):
        if os.geteuid() != 0:
            pytest.skip("only root can make a network namespace")
        own = os.stat("/proc/self/ns/net").st_ino
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.path = f"/proc/{self.holder.pid}/ns/net"
        deadline = time.monotonic() + 10
        try:
            while os.stat(self.path).st_ino == own:
                if self.holder.poll() is not None:
                    pytest.skip("this machine does not let root make a network namespace")
                assert time.monotonic() < deadline
                time.sleep(0.01)
            self.run("ip", "link", "set", "lo", "up")
            for address in addresses:
                self.run("ip", "address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))
        except BaseException:
            self.close()
            raise

    def close(self):
        self.holder.kill()
        self.holder.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def prefix(self):
        """What a command begins with to run in this network."""
        return ["nsenter", f"--net={self.path}", "--"]

    def run(self, *command):
        subprocess.run([*self.prefix, *command], check=True, stdin=subprocess.DEVNULL, timeout=30)

    def inside(self, function):
        """What `function` returns, called by a thread in this network; sockets that it makes stay there."""
        result = []

        def enter_and_call():
            try:
                with open(self.path) as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                result.append((function(), None))
            except BaseException as error:  # goes to the caller
                result.append((None, error))

        thread = threading.Thread(target=enter_and_call)
        thread.start()
        thread.join()
        value, error = result[0]
        if error:
            raise error
        return value

    def connect(self, peer, server, timeout=10):
        """A connection from the address `peer` to (address, port) `server`."""
        return self.inside(lambda: socket.create_connection(server, timeout, source_address=(peer, 0)))


class Target:
    """A server that is attacked at `address`, and a path that it answers."""

    def __init__(self, server, network, address, path):
        self.server = server
        self.network = network
        self.address = address
        self.path = path

    @property
    def pid(self):
        # nsenter and prlimit become what they run.
        return self.server.process.pid

    def memory(self):
        """Bytes that the server holds in memory now."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10

    def connect(self, peer, timeout=10):
        return self.network.connect(peer, self.address, timeout)

    def request(self, path=None, headers=""):
        host = f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]
        return f"GET {path or self.path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode()

    def ask(self, peer, path=None, timeout=10):
        """The status that `peer` gets for one request; None if the connection ends first."""
        try:
            with self.connect(peer, timeout) as connection:
                connection.sendall(self.request(path, "Connection: close\r\n"))
                received = connection.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            return None
        return int(received.split(b" ", 2)[1]) if received else None
