"""Boundaries 1 and 2: the credentials of a repository reach git and Nix's fetcher, and nothing else."""

import base64
import http.server
import os
import pathlib
import subprocess
import threading

import pytest
from support.build import MK, Repository, flake, isolation_is_possible, packages

USER, PASSWORD = "ann", "sesame-open-sesame"


class Forge:
    """Git repositories over HTTP, for those who know the password."""

    def __init__(self, directory):
        self.directory = directory
        self.refused = 0
        forge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                if self.headers.get("Authorization") != wanted:
                    forge.refused += 1
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="forge"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                result = subprocess.run(
                    ["git", "-c", "safe.directory=*", "http-backend"], input=body, capture_output=True,
                    env={
                        "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(forge.directory), "GIT_HTTP_EXPORT_ALL": "1",
                        "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                        "CONTENT_TYPE": self.headers.get("Content-Type", ""), "REMOTE_USER": USER,
                        "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                        "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    },
                )  # fmt: skip
                head, _, content = result.stdout.partition(b"\r\n\r\n")
                lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
                self.send_response(int(lines.pop("Status", "200").split()[0]))
                for name, value in lines.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, name, files):
        source = Repository(self.directory / f"{name}-src", files)
        subprocess.run(["git", "clone", "--quiet", "--bare", source.path, self.directory / name], check=True, capture_output=True)
        return source


@pytest.fixture
def forge(builder):
    builder.local_inputs = []
    forge = Forge(builder.root / "forge")
    yield forge
    forge.server.shutdown()


@pytest.fixture
def netrc(builder):
    file = builder.root / "secrets/netrc"
    file.parent.mkdir()
    file.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    file.chmod(0o600)
    return file


def told(builder):
    """Files of the state and the store in which the password is."""
    found = []
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    for directory in (builder.store, builder.state):
        for path, _, names in os.walk(directory):
            for name in names:
                file = pathlib.Path(path, name)
                if file.is_file() and not file.is_symlink() and any(text in file.read_bytes() for text in (PASSWORD.encode(), encoded)):
                    found.append(file)
    return found


GOOD = {"flake.nix": flake(packages(x="echo 1 > $out"))}


def test_a_private_repository_is_built(builder, forge, netrc):
    forge.add("a.git", GOOD)
    builder.add("demo", f"{forge.url}/a.git")
    builder.run(code=1)
    assert forge.refused > 0
    builder.add("demo", f"{forge.url}/a.git", netrc_file=str(netrc))
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "1\n"
    assert not told(builder)


def test_private_inputs_are_fetched_and_evaluated(builder, forge, netrc):
    forge.add("b.git", {"flake.nix": '{ outputs = _: { text = "from the input"; }; }'})
    forge.add("a.git", {"flake.nix": flake('packages.x86_64-linux.x = mk "x" "echo ${inputs.b.text} > $out";', f'b.url = "git+{forge.url}/b.git?ref=main";')})
    builder.add("demo", f"{forge.url}/a.git", netrc_file=str(netrc))
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "from the input\n"
    assert not told(builder)


def test_a_private_submodule_is_built(builder, forge, netrc):
    forge.add("part.git", {"value": "from the submodule"})
    source = Repository(builder.root / "work", {"flake.nix": flake('packages.x86_64-linux.x = mk "x" "cp ${./part}/value $out";')})
    source.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(forge.directory / "part.git"), "part")
    source.git("config", "-f", ".gitmodules", "submodule.part.url", "../part.git")
    source.commit({})
    subprocess.run(["git", "clone", "--quiet", "--bare", source.path, forge.directory / "a.git"], check=True, capture_output=True)
    builder.add("demo", f"{forge.url}/a.git", netrc_file=str(netrc))
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "from the submodule"
    assert not told(builder)


@pytest.mark.skipif(not isolation_is_possible(), reason="the kernel allows no user namespaces here")
@pytest.mark.parametrize("path", ["{home}/.netrc", "/run", "/", "/proc/self/cwd", "{secrets}", "{secrets}/netrc"])
def test_the_credentials_are_no_input(builder, forge, netrc, path):
    path = path.format(home=builder.state / "home/demo", secrets=netrc.parent)
    text = flake('packages.x86_64-linux.x = mk "x" "cat ${inputs.s}/* ${inputs.s} > $out; true";', f's = {{ url = "path:{path}"; flake = false; }};')
    forge.add("a.git", {"flake.nix": text})
    # Allowed or not: Nix sees no such file, and cannot copy a directory in which one is.
    for allowed in ([], ["/"], [str(netrc.parent)]):
        builder.add("demo", f"{forge.url}/a.git", netrc_file=str(netrc), local_inputs=allowed)
        builder.run(code=None)
        assert not told(builder)


@pytest.mark.parametrize("isolation", ["required", "none"])
def test_nobody_is_told_where_they_are(builder, forge, netrc, isolation):
    """An input of an input is copied before it can be checked; while one fails, others are still fetched."""
    if isolation == "required" and not isolation_is_possible():
        pytest.skip("the kernel allows no user namespaces here")
    place = "/run" if isolation == "required" else builder.root / "tmp"
    forge.add("b.git", {"flake.nix": f'{{ inputs.s = {{ url = "path:{place}"; flake = false; }}; outputs = _: {{ }}; }}'})
    forge.add("a.git", {"flake.nix": flake(packages(x="echo 1 > $out"), f'b.url = "git+{forge.url}/b.git?ref=main";')})
    builder.settings = f'[build]\nisolation = "{isolation}"\n'
    builder.add("demo", f"{forge.url}/a.git", netrc_file=str(netrc))
    builder.run(code=1)
    if isolation == "required":
        assert "[credentials]/not-to-be-copied" in builder.log()
    assert "credentials-" not in builder.log() + builder.last()["error"]
    assert not told(builder)


@pytest.mark.skipif(not isolation_is_possible(), reason="the kernel allows no user namespaces here")
def test_evaluation_and_builders_do_not_see_them(builder, forge, netrc):
    read = "cat /run/credentials-*/* /run/credentials-*/.netrc /proc/*/root/run/credentials-*/.netrc ~/.netrc > $out; true"
    forge.add("a.git", {"flake.nix": flake(packages(x=read))})
    builder.add("demo", f"{forge.url}/a.git", netrc_file=str(netrc))
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == ""
    forge.add("b.git", {"default.nix": f'let{MK} in {{ x = mk "x" "echo ${{toString (builtins.attrNames (builtins.readDir /run))}} > $out"; }}'})
    builder.add("demo", f"{forge.url}/b.git", netrc_file=str(netrc))
    builder.run(code=1)
    assert not told(builder)


def test_no_command_line_has_the_password(builder, forge, netrc):
    """`ps` shows command lines to everybody."""
    seen = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = entry.read_bytes()
                except OSError:
                    continue
                if PASSWORD.encode() in line:
                    seen.append(line)

    watcher = threading.Thread(target=watch)
    watcher.start()
    forge.add("a.git", GOOD)
    builder.add("demo", f"{forge.url}/a.git", netrc_file=str(netrc))
    builder.run()
    stop.set()
    watcher.join()
    assert not seen


def test_a_url_with_a_password_is_refused_without_showing_it(builder):
    builder.add("demo", f"https://{USER}:{PASSWORD}@example.invalid/x.git")
    result = builder.run(code=2)
    assert "netrc_file" in result.stderr
    assert PASSWORD not in result.stdout + result.stderr


def test_the_ssh_key_is_shown_to_ssh(builder):
    source = Repository(builder.root / "srv/a.git", GOOD)
    key = builder.root / "secrets/key"
    key.parent.mkdir()
    key.write_text("the-private-key")
    key.chmod(0o600)
    programs = builder.root / "programs"
    programs.mkdir()
    ssh = programs / "ssh"
    # The last argument is the command for the other side.
    ssh.write_text('#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" = -i ] && key=$2; shift; done\n'
                   'grep -q the-private-key "$key" || { echo "no key" >&2; exit 1; }\n'
                   f'exec git -c safe.directory=* upload-pack {source.path}\n')  # fmt: skip
    ssh.chmod(0o755)
    builder.path = programs
    builder.local_inputs = [source.path]
    builder.add("demo", "ssh://git@forge.invalid/a.git", ssh_key_file=str(key))
    builder.run()
    assert builder.content("packages.x86_64-linux.x") == "1\n"


def append_to(files):
    """A script that has git run a command which reads the netrc, whenever it uses one of these configurations."""
    config = '[core]\\n\\tfsmonitor = \\"cat /run/credentials-*/.netrc > $HOME/stolen; false\\"\\n[url \\"http://127.0.0.1:1/\\"]\\n\\tinsteadOf = http://\\n'
    return f'for f in {files}; do printf "{config}" >> $f; done; echo 1 > $out; true'


@pytest.mark.skipif(not isolation_is_possible(), reason="the kernel allows no user namespaces here")
@pytest.mark.parametrize("files", ["{clone}/.git/config", "{home}/.cache/nix/gitv*/*/config {home}/.fetching/*"], ids=["clone", "cache"])
def test_builders_have_no_say_in_what_fetches_with_them(builder, forge, netrc, files):
    """git runs what its configuration names; a builder without a sandbox must not write that for the next build."""
    files = files.format(clone=builder.state / "repos/demo", home=builder.state / "home/demo")
    b = forge.add("b.git", {"flake.nix": '{ outputs = _: { text = "1"; }; }'})
    a = forge.add("a.git", {"flake.nix": flake(packages(x=append_to(files)), f'b.url = "git+{forge.url}/b.git?ref=main";')})
    builder.add("demo", f"{forge.url}/a.git", netrc_file=str(netrc))
    builder.run()
    for name, source in (("a", a), ("b", b)):
        source.commit({"other": ""})
        source.git("push", "--quiet", str(forge.directory / f"{name}.git"), "main")
    builder.run()
    assert "127.0.0.1:1/" not in builder.log()
    assert not told(builder)


@pytest.mark.parametrize("text", ["substituters = http://evil\n", "access-tokens\n", "plugin-files = /x\n"])
def test_a_file_of_tokens_sets_nothing_else(builder, text):
    file = builder.root / "tokens"
    file.write_text("access-tokens = github.com=abc\n" + text)
    Repository(builder.root / "src-demo", GOOD)
    builder.add("demo", builder.root / "src-demo", access_tokens_file=str(file))
    builder.run(code=1)
    assert "access_tokens_file" in builder.last()["error"]


def test_systemd_hands_credentials_over(builder, forge, netrc):
    forge.add("a.git", GOOD)
    directory = builder.root / "credentials"
    directory.mkdir()
    netrc.rename(directory / "netrc_file")
    builder.add("demo", f"{forge.url}/a.git")
    builder.run(CREDENTIALS_DIRECTORY=str(directory))
    assert builder.content("packages.x86_64-linux.x") == "1\n"
