"""What evaluation and builders can reach under the units as they are shipped."""

import pytest
from support.repository import FLAKE, Clone

SECRET = "a-secret-of-the-server"
STATE = "/var/lib/nixbuild"
HOME = f"{STATE}/home/nix-terminal"

# In place of a program that evaluates: it writes down what it finds, and goes on.
WITNESS = "/usr/local/bin/nix-instantiate"
WITNESS_SCRIPT = f"""#!/bin/sh
if ! [ -e $HOME/seen ]; then
  mkdir $HOME/seen.new
  cd $HOME/seen.new
  ls -A .. > home
  env > environment
  id -u > user
  cat /proc/self/status > status
  find {STATE} -mindepth 1 > state
  find / -type s 2>/dev/null > sockets
  find / '(' -path /dev -o -path /proc -o -path /sys -o -path /nix/store -o -path /usr -o -path $HOME/seen.new ')' -prune \\
    -o -type f -print0 2>/dev/null | xargs -0 grep --files-with-matches --no-messages {SECRET} > secrets
  cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' > processes
  for process in /proc/[0-9]*; do ls $process/root{STATE}/logs $process/cwd/ $process/fd/; done > through-proc 2>&1
  curl --silent --output /dev/null --write-out '%{{http_code}}' http://127.0.0.1:8000/builds > api
  curl --silent --max-time 5 --unix-socket {STATE}/control.sock http://localhost/ > control 2>&1 || echo $? > control
  (umount -l / /tmp; mount -o remount,rw /; unshare --user --map-root-user --mount umount -l /tmp) 2> uncovering
  mv $HOME/seen.new $HOME/seen
fi
exec /usr/bin/nix-instantiate "$@"
"""
OTHER = """
[[repository]]
name = "other"
url = "git://build-server/nix-terminal"
branch = "main"
netrc_file = "/etc/nixbuild/other.netrc"
"""


@pytest.fixture(scope="module")
def seen(server, laptop):
    """A function that returns what evaluation found, by the name of the file in the script above."""
    server.join_tailnet()
    configuration = "/etc/nixbuild/config.toml"
    before = server.machine.path(configuration).read_text()
    server.machine.write(configuration, before + OTHER)
    server.machine.write("/etc/nixbuild/other.netrc", f"machine forge.example login x password {SECRET}\n",
                         owner="nixbuild-build:")  # fmt: skip
    server.run("chmod", "400", "/etc/nixbuild/other.netrc")
    server.run("systemctl", "reload", "nixbuild-api")
    Clone(laptop).push(terminal="echo good > $out")
    laptop.run("bt", "--wait", "other", user="alice")
    places = [
        "/etc/nixbuild/token",
        "/home/alice/.ssh/id_ed25519",
        "/root/.netrc",
        "/srv/git/secret",
        "/var/tmp/secret",
        "/run/secret",
        f"{STATE}/home/other/.netrc",
        f"{STATE}/repos/other/secret",
        f"{STATE}/logs/other/0.log",
    ]
    for place in places:
        server.run("sh", "-c", f"mkdir -p $(dirname {place}) && echo {SECRET} > {place} && chmod 644 {place}")
    server.machine.write(WITNESS, WITNESS_SCRIPT)
    server.run("chmod", "755", WITNESS)
    server.run("rm", "-rf", HOME, f"{STATE}/repos/nix-terminal")
    try:
        Clone(laptop).push(terminal="echo the witness was here > $out")
        laptop.run("bt", "--wait", user="alice")
        yield lambda name: server.machine.path(f"{HOME}/seen/{name}").read_text(errors="replace")
    finally:
        server.run("rm", "-f", WITNESS, *places, "/etc/nixbuild/other.netrc")
        server.machine.write(configuration, before)
        server.run("systemctl", "reload", "nixbuild-api")


def test_the_home_of_a_new_repository_is_empty(server, seen):
    assert set(seen("home").split()) <= {".cache", ".local", "seen.new"}
    assert f"HOME={HOME}\n" in seen("environment")


def test_its_user_has_no_privilege(server, seen):
    assert seen("user") == server.run("id", "--user", "nixbuild-build").stdout
    assert "CapEff:\t0000000000000000\n" in seen("status") and "NoNewPrivs:\t1\n" in seen("status")
    assert "Seccomp:\t2\n" in seen("status")


def test_of_the_state_only_its_own_is_there(seen):
    own = tuple(f"{STATE}/{part}/nix-terminal" for part in ("repos", "home", "gcroots"))
    paths = seen("state").splitlines()
    assert f"{STATE}/repos/nix-terminal/flake.nix" in paths
    strangers = [path for path in paths if not path.startswith(own) and path not in (
        f"{STATE}/repos", f"{STATE}/home", f"{STATE}/gcroots")]  # fmt: skip
    assert strangers == []


def test_no_secret_is_in_sight(seen):
    assert seen("secrets") == ""
    assert SECRET not in seen("environment") + seen("processes")


def test_other_processes_show_nothing(server, seen):
    assert "nix-instantiate" in seen("processes")
    for stranger in ("serve-api", "serve-cache", "CREDENTIALS_DIRECTORY", ".log", "history.sqlite", "cache-key"):
        assert stranger not in seen("processes") + seen("through-proc"), stranger


def test_no_socket_is_there_but_nixs_own(seen):
    sockets = seen("sockets").splitlines()
    assert [path for path in sockets if not path.startswith(("/nix/var/nix/", "/run/systemd/"))] == []
    assert seen("control").strip() == "7"


def test_nothing_is_uncovered(seen):
    assert seen("uncovering").count("\n") >= 3


@pytest.mark.parametrize("path", [
    "/etc", "/home/alice", f"{STATE}/home/other", f"{STATE}/repos/other", "/proc/self/root/home/alice",
    "../../../../../home/alice",
])  # fmt: skip
def test_a_path_outside_of_the_clone_is_no_input(server, seen, laptop, path):
    url = f'inputs.outside = {{ url = "path:{path}"; flake = false; }};\n  outputs'
    script = "find ${outside}/ -type f -exec cat {} + > $out"
    flake = FLAKE.replace("outputs", url, 1).replace("{ self }", "{ self, outside }")
    Clone(laptop).commit(flake.replace("@PACKAGES@", f"terminal = mk \"terminal\" ''{script}'';"))
    refused = laptop.run("bt", "--wait", user="alice", code=1)
    assert "local_inputs" in refused.stderr, str(refused)
    server.run("grep", "--recursive", "--quiet", SECRET, "/nix/store", f"{STATE}/logs/nix-terminal", code=1)


API = "curl --silent --output /dev/null --write-out %{http_code}"


def test_evaluation_may_not_ask_the_api(seen):
    assert seen("api") == "403"


def test_a_builder_may_not_ask_the_api(server, seen, laptop):
    Clone(laptop).push(terminal=f"{API} -X POST http://127.0.0.1:8000/build/trigger/other > $out; id -un >> $out")
    before = len(server.builds())
    laptop.run("bt", "--wait", user="alice")
    [output] = server.status()["outputs"]
    answer = server.run("cat", output).stdout
    assert answer.startswith("403nixbld"), answer
    assert len(server.builds()) == before + 1


@pytest.mark.parametrize("user, answer", [
    ("nixbld1", "403"), ("nixbuild-build", "403"), ("alice", "200"), ("root", "200"), ("nixbuild-cache", "200"),
])  # fmt: skip
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "100.64.0.1", "build-server"])
def test_who_may_ask_the_api(server, seen, user, answer, host):
    for method in ("GET", "POST"):
        path = "builds" if method == "GET" else "build/cancel"
        command = [*API.split(), "--globoff", "-X", method, f"http://{host}:8000/{path}"]
        got = server.run("runuser", "-u", user, "--", *command).stdout
        assert got == answer, method
    assert server.run("runuser", "-u", user, "--", *API.split(), "http://127.0.0.1:5000/nix-cache-info").stdout == "200"
