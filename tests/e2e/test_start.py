"""Starting, listening, stopping, and what is said when that cannot be."""

import http.client
import os
import signal
import socket
import subprocess
import time

import pytest

from support.build import GOOD, repository
from support.http import fetch
from support.network import Network
from support.server import BINARY, Server, ServerProcess, program, program_environment

pytestmark = pytest.mark.distribution


def test_help_and_usage():
    assert program("--version").stdout.startswith("nixbuild ")
    for arguments, path in (([], "nixbuild"), (["--help"], "nixbuild"), (["help"], "nixbuild"),
                            (["serve-cache", "--help"], "nixbuild serve-cache"),
                            (["help", "keys", "show"], "nixbuild keys show"),
                            (["keys", "--help"], "nixbuild keys")):  # fmt: skip
        result = program(*arguments)
        assert result.returncode == 0 and f"\nUsage: {path} [OPTIONS]" in result.stdout
        assert "\nOptions:\n  -h,--help " in result.stdout and result.stderr == ""
    for arguments in (["--version"], ["-V"], ["version"]):
        assert program(*arguments).stdout == program("--version").stdout
    for arguments in (["no-such-command"], ["serve-cache", "--no-such-flag"], ["serve-cache", "--priority", "x"],
                      ["serve-cache", "--compression", "gzip"], ["serve-cache", "--nar-cache-size", "many"],
                      ["serve-cache", "--listen", "nonsense:port"]):  # fmt: skip
        result = program(*arguments)
        assert result.returncode == 2, (arguments, result)
        assert result.stdout == "" and result.stderr != ""


def test_what_is_wrong_with_a_command_line():
    for arguments, said in (
        (["frobnicate", "--now"], "unknown command 'frobnicate'; commands: trigger, status, logs, "),
        (["triger"], "unknown command 'triger'; did you mean 'trigger'? commands: trigger, status, logs, "),
        (["help", "triger"], "unknown command 'triger'; did you mean 'trigger'? "),
        (["triger", "--help"], "unknown command 'triger'; did you mean 'trigger'? "),
        (["--frobnicate"], "unknown option '--frobnicate'; options: --help, --version; see `nixbuild --help`"),
        (["status", "--sever", "x"], "unknown option '--sever'; did you mean '--server'? options: --help, --config, "),
        (["keys"], "`nixbuild keys` needs a command: generate, show; see `nixbuild keys --help`"),
        (["keys", "frobnicate"], "unknown command 'frobnicate'; commands: generate, show; see `nixbuild keys --help`"),
        (["keys", "show", "more"], "unexpected argument 'more'; see `nixbuild keys show --help`"),
        (["status", "--server"], "--server needs a value: --server HOST"),
        (["a\x1b[2J"], "unknown command 'a"),
    ):  # fmt: skip
        result = program(*arguments)
        assert result.returncode == 2 and result.stdout == ""
        assert result.stderr.startswith(f"error: {said}"), result.stderr
        assert "\x1b" not in result.stderr and result.stderr.count("\n") == 1, result.stderr


def test_help_that_cannot_be_written():
    for arguments in (["--help"], ["--version"], ["keys", "--help"]):
        with open("/dev/full", "w") as full:
            result = subprocess.run([BINARY, *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
                                    env=program_environment())  # fmt: skip
        assert result.returncode == 1 and result.stderr.startswith("error: "), result


def test_port_taken(sample, root):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server(sample.store, root / "state", listen=address)
        result = subprocess.run(server.command(), env=program_environment(), capture_output=True, text=True, timeout=30)
    assert result.returncode not in (0, 2)
    assert address in result.stderr and "in use" in result.stderr.lower()


def test_port_taken_by_another_server(sample, root, shared_server):
    """Two servers must not share a port, though each of one server's threads listens by itself."""
    server = Server(sample.store, root / "state", listen=f"127.0.0.1:{shared_server.port}")
    result = subprocess.run(server.command(), env=program_environment(), capture_output=True, text=True, timeout=30)
    assert result.returncode not in (0, 2) and str(shared_server.port) in result.stderr


def test_several_addresses(sample, serve, root):
    socket_path = root / "cache.sock"
    server = serve(sample.store, "--listen", f"unix:{socket_path}", "--listen", "[::1]:0")
    server.wait_for_log(r"listening on http://\[::1\]:\d+")
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(socket_path))
    connection.request("GET", "/nix-cache-info")
    assert connection.getresponse().status == 200
    connection.close()
    assert fetch(server, "/nix-cache-info").status == 200
    server.kill()  # leaves the socket's file behind
    server.start()
    server.stop()


def test_a_machine_without_ipv6(sample, root, builder):
    """Nobody has asked for [::1] by name: both servers listen on what there is of their defaults."""
    repository(builder, GOOD)
    store = sample.store
    cache = [BINARY, "serve-cache", "--state-dir", root / "state", "--store-dir", store.store_dir,
             "--real-store-dir", store.real_store_dir, "--nix-state-dir", store.state_dir]  # fmt: skip
    api = builder.command("serve-api", "--runner", "local")
    with Network() as network:
        network.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
        for command, environment, port, path in (
            (cache, program_environment(), 5000, "/nix-cache-info"),
            (api, builder.environment(), 8000, "/build/status"),
        ):
            server = ServerProcess()
            server.start_process([*network.prefix, *map(str, command)], environment)
            assert server.port == port
            assert network.inside(lambda server=server, path=path: fetch(server, path)).status == 200
            server.wait_for_log(rf"warning listening on \[::1\]:{port} ")
            server.stop()
        # Whoever asks for it by name is told.
        server = ServerProcess()
        with pytest.raises(AssertionError, match=r"listening on \[::1\]:5000 "):
            server.start_process([*network.prefix, *map(str, cache), "--listen", "127.0.0.1:5000", "--listen",
                                  "[::1]:5000"], program_environment())  # fmt: skip


def test_missing_tailscale_is_a_warning(sample, serve):
    server = serve(sample.store, "--listen", "tailscale:0", "--tailscale-interface", "no-such-interface0")
    assert fetch(server, "/nix-cache-info").status == 200
    server.wait_for_log("no-such-interface0")


def test_socket_activation(sample, root):
    """systemd's protocol: descriptor 3 listens already."""
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        server = Server(sample.store, root / "state")
        server.port = inherited.getsockname()[1]
        command = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh", *server.command()]

        def pass_descriptor():
            os.dup2(inherited.fileno(), 3)
            os.set_inheritable(3, True)

        process = subprocess.Popen(
            command, env=program_environment(), preexec_fn=pass_descriptor, pass_fds=(3,), stderr=subprocess.PIPE
        )
        try:
            assert fetch(server, "/nix-cache-info").status == 200
        finally:
            process.terminate()
            _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log


def test_readiness_is_reported(sample, root):
    """systemd's notification: READY once it serves, STOPPING when it ends."""
    path = root / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(20)
        server = Server(sample.store, root / "state")
        environment = {**program_environment(), "NOTIFY_SOCKET": str(path)}
        process = subprocess.Popen(server.command(), env=environment, stderr=subprocess.PIPE)
        try:
            if b"READY=1" not in notify.recv(4096):
                pytest.fail("the first notification is not READY=1")
        except TimeoutError:
            pytest.skip("built without systemd")
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert b"STOPPING=1" in notify.recv(4096)


def test_state_directory_that_cannot_be_used(sample, root, nobody, serve):
    (root / "file").write_text("")
    server = Server(sample.store, root / "file/state")
    result = subprocess.run(server.command(), env=program_environment(), capture_output=True, text=True, timeout=30)
    assert result.returncode not in (0, 2) and str(root / "file") in result.stderr


def test_configuration_file_and_environment(sample, root, serve):
    file = root / "config.toml"
    file.write_text(f'[cache]\npriority = 7\nlisten = ["127.0.0.1:0"]\n')
    command = Server(sample.store, root / "state").command()[2:]
    at = command.index("--listen")
    del command[at : at + 2]
    process = subprocess.Popen(
        [str(BINARY), "serve-cache", *command, "--config", file],
        env={**program_environment(), "NIXBUILD_CACHE_COMPRESSION": "xz"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        port = next(line for line in process.stderr if "listening on" in line).rsplit(":", 1)[1]
        connection = http.client.HTTPConnection("127.0.0.1", int(port))
        connection.request("GET", "/nix-cache-info")
        assert "Priority: 7" in connection.getresponse().read().decode()
        file.write_text('[cache]\npriority = "seven"\n')
        process.send_signal(signal.SIGHUP)
        assert any(f"{file}:2: cache.priority" in line for line in process.stderr)
        file.write_text('[cache]\npriority = 8\n')
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while True:
            connection.request("GET", "/nix-cache-info")
            if "Priority: 8" in connection.getresponse().read().decode():
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        connection.close()
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def test_tailscale_interface_comes_and_goes(sample, root):
    """Addresses in Tailscale's ranges on its interface are listened on as long as they are there, and no others."""
    namespace = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here")
    server = Server(sample.store, root / "state", "--listen", "tailscale:5000")
    server.command_prefix = namespace
    server.start()

    def inside(*command):
        return subprocess.run(
            ["nsenter", "--target", str(server.process.pid), "--net", "--", *command], capture_output=True, text=True
        )

    def reachable(address):
        url = f"http://{address}:5000/nix-cache-info"
        return "StoreDir" in inside("curl", "-sS", "--max-time", "5", "--globoff", url).stdout

    try:
        if inside("ip", "link", "add", "tailscale0", "type", "bridge").returncode:
            pytest.skip("no interface can be made in a namespace here")
        inside("ip", "link", "set", "tailscale0", "up")
        inside("ip", "address", "add", "192.168.7.7/24", "dev", "tailscale0")
        for _ in range(2):
            inside("ip", "address", "add", "100.101.102.103/32", "dev", "tailscale0")
            server.wait_for_log(r"listening on http://100\.101\.102\.103:5000")
            assert reachable("100.101.102.103") and not reachable("192.168.7.7") and not reachable("127.0.0.1")
            inside("ip", "address", "del", "100.101.102.103/32", "dev", "tailscale0")
            server.wait_for_log(r"no longer listening on http://100\.101\.102\.103:5000")
            assert not reachable("100.101.102.103")
            server.log.clear()
        inside("ip", "-6", "address", "add", "fd7a:115c:a1e0::7/128", "dev", "tailscale0", "nodad")
        server.wait_for_log(r"listening on http://\[fd7a:115c:a1e0::7\]:5000")
        assert reachable("[fd7a:115c:a1e0::7]")
        server.stop()
    finally:
        server.kill()
