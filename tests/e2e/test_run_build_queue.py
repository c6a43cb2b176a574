"""run-build beside other builds: the queue, and what is kept of those before."""

import os
import pathlib
import socket
import threading

from support.build import flake, packages, repository


def test_a_repository_is_built_once_at_a_time(builder):
    marker = builder.root / "go"
    repository(builder, {"flake.nix": flake(packages(x=f"until test -e {marker}; do sleep 0.05; done; echo 1 > $out"))})
    first = builder.start()
    builder.wait_for_phase("build", process=first)
    status = builder.status()
    assert status["is_running"] and status["last_start"]
    assert status["last_finish"] is status["last_status"] is status["last_commit"] is None
    builder.wait_for(lambda: builder.status()["progress"]["running"])
    assert builder.status()["progress"]["running"][0]["name"] == "x"
    second = builder.run(code=75)
    assert "is being built already" in second.stderr
    marker.touch()
    assert first.wait(60) == 0
    assert len(builder.builds()) == 1


def test_builds_wait_for_each_other_in_order(builder):
    marker = builder.root / "go"
    slow = {"flake.nix": flake(packages(x=f"until test -e {marker}; do sleep 0.05; done; echo 1 > $out"))}
    quick = {"flake.nix": flake(packages(x="echo 1 > $out"))}
    repository(builder, slow, name="slow")
    processes = [builder.start("slow")]
    builder.wait_for_phase("build", "slow", processes[0])
    for name in ("b", "a"):
        repository(builder, quick, name=name)
        processes.append(builder.start(name))
        builder.wait_for_phase("queued", name, processes[-1])
        builder.wait_for(lambda: builder.builds(name))
    assert [builder.last(name)["state"] for name in ("slow", "b", "a")] == ["running", "queued", "queued"]
    marker.touch()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    slow, b, a = (builder.last(name) for name in ("slow", "b", "a"))
    assert slow["finish"] <= b["start"] and b["finish"] <= a["start"]


def test_more_than_one_at_once_where_wanted(builder):
    marker = builder.root / "go"
    builder.settings = "[build]\nmax_parallel = 2"
    repository(builder, {"flake.nix": flake(packages(x=f"until test -e {marker}; do sleep 0.05; done; echo 1 > $out"))}, name="slow")
    repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))}, name="quick")
    process = builder.start("slow")
    builder.wait_for_phase("build", "slow", process)
    builder.run("quick")
    marker.touch()
    assert process.wait(60) == 0


def test_old_roots_history_and_logs_go(builder):
    source = repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))}, keep=2, keep_history=3)
    outputs = []
    for number in range(1, 5):
        source.commit({"flake.nix": flake(packages(x=f"echo {number} > $out"))}, f"Number {number}") if number > 1 else None
        builder.run()
        outputs.append(builder.outputs()["packages.x86_64-linux.x.out"])
    # A build without outputs pushes out none that has some.
    source.commit({"flake.nix": "{"})
    builder.run(code=1)
    assert sorted(builder.roots()) == [3, 4]
    assert [build["id"] for build in builder.builds()] == [3, 4, 5]
    assert sorted(path.name for path in (builder.state / "logs/demo").iterdir()) == ["3.log", "4.log", "5.log"]
    builder.nix("nix-store", "--gc")
    assert [os.path.exists(output) for output in outputs] == [False, False, True, True]


def test_the_control_socket_of_the_cache_is_told(builder):
    repository(builder, {"flake.nix": flake(packages(x="echo 1 > $out"))})
    builder.state.mkdir()
    told = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(builder.state / "control.sock"))
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            data = b""
            while b"\r\n\r\n" not in data or len(data.split(b"\r\n\r\n", 1)[1]) < 10:
                data += connection.recv(65536)
            told.append(data.decode())
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        builder.run()
        thread.join(10)
    head, body = told[0].split("\r\n\r\n", 1)
    assert head.startswith("POST /warm HTTP/1.1\r\n")
    assert body.split() == [builder.outputs()["packages.x86_64-linux.x.out"]]


def test_usage(builder):
    repository(builder, {"flake.nix": flake("")})
    assert "unknown repository 'unknown'; repositories: demo" in builder.run("unknown", code=2).stderr
    result = builder.run("other", "--repository", f"other={pathlib.Path(builder.root / 'src-demo')}")
    assert "succeeded" in result.stderr
