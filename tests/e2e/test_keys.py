"""Keys: Nix's own format, made and checked with care."""

import os
import signal
import stat
import subprocess
import time

import pytest

from support import oracle
from support.http import fetch
from support.reload import reload_under_load
from support.server import BINARY, Server, program, program_environment


def nix_key(*arguments, key=None):
    return subprocess.run(
        ["nix", "--extra-experimental-features", "nix-command", "key", *arguments],
        input=key, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def refused(sample, root):
    """refused(options…) starts a server that must not start, and returns what it says."""

    def start(*options, state_dir=None):
        server = Server(sample.store, state_dir or root / "state", *options)
        with pytest.raises(AssertionError) as error:
            server.start()
        return str(error.value)

    return start


def test_generate_and_show(root, system_nix):
    file = root / "key"
    result = program("keys", "generate", "--name", "cache.example.org-1", "--file", file)
    assert result.returncode == 0, result.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    public = nix_key("convert-secret-to-public", key=file.read_text())
    assert program("keys", "show", "--file", file).stdout.strip() == public
    assert public.startswith("cache.example.org-1:")
    again = program("keys", "generate", "--name", "cache.example.org-1", "--file", file)
    assert again.returncode != 0 and str(file) in again.stderr
    assert nix_key("convert-secret-to-public", key=file.read_text()) == public


def test_where_no_key_can_be_written(root):
    (root / "file").write_text("")
    result = program("keys", "generate", "--file", root / "file/below/key")
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr == f"error: cannot create {root}/file/below: Not a directory\n"


def test_a_key_that_cannot_be_shown(root):
    file = root / "key"
    assert program("keys", "generate", "--file", file).returncode == 0
    with open("/dev/full", "w") as full:
        result = subprocess.run([BINARY, "keys", "show", "--file", file], stdin=subprocess.DEVNULL, stdout=full,
                                stderr=subprocess.PIPE, text=True, env=program_environment())  # fmt: skip
    assert result.returncode == 1 and result.stderr.startswith("error: "), result


def test_show_does_not_show_the_secret(root):
    file = root / "key"
    file.write_text(nix_key("generate-secret", "--key-name", "cache-1"))
    file.chmod(0o600)
    result = program("keys", "show", "--file", file)
    assert file.read_text().split(":")[1] not in result.stdout + result.stderr


def test_key_is_made_at_the_first_start(sample, serve, root):
    server = serve(sample.store)
    secret = server.state_dir / "cache-key"
    public = server.state_dir / "cache-key.pub"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert server.public_key == nix_key("convert-secret-to-public", key=secret.read_text())
    assert server.public_key.startswith(os.uname().nodename.split(".")[0])
    key = server.public_key
    server.stop()
    server.start()
    assert server.public_key == key


def test_a_key_that_others_can_read_is_refused(refused, root):
    file = root / "key"
    file.write_text(nix_key("generate-secret", "--key-name", "cache-1"))
    for mode in (0o644, 0o604, 0o602, 0o601, 0o666):
        file.chmod(mode)
        said = refused("--secret-key-file", file)
        assert str(file) in said and "chmod" in said, said


def test_group_bits_are_allowed(sample, serve, root):
    """systemd hands credentials over with them."""
    file = root / "key"
    file.write_text(nix_key("generate-secret", "--key-name", "cache-1"))
    file.chmod(0o440)
    server = serve(sample.store, "--secret-key-file", file)
    assert "cache-1:" in fetch(server, "/nix-cache-info").text


@pytest.mark.parametrize(
    "content",
    ["", "\n", "no colon", ":", "name:", "name:!!!!", "name:" + "A" * 40, ":" + "A" * 86 + "==",
     "name:" + "A" * 200, "\x00" * 64, "name:" + "A" * 86 + "== trailing", "a name:" + "A" * 86 + "=="],
)  # fmt: skip
def test_a_malformed_key_is_refused(refused, root, content):
    file = root / "key"
    file.write_text(content)
    file.chmod(0o600)
    said = refused("--secret-key-file", file)
    assert str(file) in said
    assert "AAAAAAAAAA" not in said, "key material in a message"


def test_a_public_key_given_as_secret_is_refused(refused, root):
    file = root / "key"
    file.write_text(nix_key("convert-secret-to-public", key=nix_key("generate-secret", "--key-name", "cache-1")))
    file.chmod(0o600)
    assert str(file) in refused("--secret-key-file", file)


def test_a_missing_key_is_refused(refused, root):
    said = refused("--secret-key-file", root / "missing")
    assert str(root / "missing") in said
    assert "keys generate" in said, said
    assert str(root) in refused("--secret-key-file", root)


def test_keys_are_read_again_while_they_sign(sample, serve, root):
    file = root / "key"
    file.write_text(nix_key("generate-secret", "--key-name", "k-1"))
    file.chmod(0o600)
    server = serve(sample.store, "--secret-key-file", file)
    assert reload_under_load(server, f"/{oracle.hash_part(sample.lib)}.narinfo", "/nix-cache-info") == {200}


def test_keys_are_read_again_on_sighup(sample, serve, root):
    file = root / "key"
    first, second = (nix_key("generate-secret", "--key-name", name) for name in ("first-1", "second-1"))
    file.write_text(first)
    file.chmod(0o600)
    server = serve(sample.store, "--secret-key-file", file)

    def key_name():
        return oracle.parse_narinfo(fetch(server, f"/{oracle.hash_part(sample.lib)}.narinfo").text)["Sig"][0].split(":")[0]

    def reload(expected):
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while key_name() != expected:
            assert time.monotonic() < deadline, server.log_text()
            time.sleep(0.05)

    assert key_name() == "first-1"
    file.write_text(second)
    reload("second-1")
    file.write_text("spoilt")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log(str(file))
    assert key_name() == "second-1", "the old key stays where the new one cannot be used"
