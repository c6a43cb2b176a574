"""Commands typed on a machine where a server is installed: they mean that server's key and state."""

import os
import subprocess

import pytest

from support.server import BINARY, program, program_environment


@pytest.fixture
def installed(root):
    """installed(arguments…, user) runs nixbuild on a machine where a server is installed: it has
    /etc/nixbuild/cache-key and /var/lib/nixbuild, in a mount namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can show another /etc and run as another user")
    etc, var, binary = root / "etc/nixbuild", root / "var/nixbuild", root / "nixbuild"
    etc.mkdir(parents=True)
    var.mkdir(parents=True)
    binary.write_bytes(BINARY.read_bytes())
    binary.chmod(0o755)
    made = program("keys", "generate", "--name", "installed-1", "--file", etc / "cache-key")
    assert made.returncode == 0, made.stderr
    script = 'mount --bind "$1/etc" /etc && mount --bind "$1/var" /var/lib && shift && exec "$@"'

    def run(*arguments, user=0):
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", str(root), "setpriv", "--reuid", str(user), "--clear-groups",
             str(binary), *map(str, arguments)],
            env={**program_environment(), "HOME": str(root)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip

    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    run.key, run.public_key = etc / "cache-key", made.stdout
    return run


@pytest.mark.parametrize("user", [0, 65534])
def test_the_key_of_an_installed_server_is_shown_to_everybody(installed, user):
    shown = installed("keys", "show", user=user)
    assert (shown.returncode, shown.stdout) == (0, installed.public_key), shown.stderr
    assert shown.stderr.startswith("SHA256:") and shown.stderr.endswith(" installed-1\n")
    elsewhere = installed("keys", "show", "--state-dir", "/tmp/no-such-directory")
    assert elsewhere.returncode == 2 and "/tmp/no-such-directory/cache-key" in elsewhere.stderr


def test_the_key_of_an_installed_server_is_not_made_again(installed):
    before = installed.key.read_text()
    again = installed("keys", "generate")
    assert again.returncode == 2 and "/etc/nixbuild/cache-key: the file exists already" in again.stderr
    assert installed.key.read_text() == before


def test_a_key_whose_public_half_is_not_there_is_root_s(installed):
    installed.key.with_suffix(".pub").unlink()
    shown = installed("keys", "show", user=65534)
    assert shown.returncode == 2 and "/etc/nixbuild/cache-key" in shown.stderr and not shown.stdout
    installed.key.with_suffix(".pub").write_text("spoilt\n")
    shown = installed("keys", "show", user=65534)
    assert shown.returncode == 2 and "/etc/nixbuild/cache-key.pub" in shown.stderr and not shown.stdout
    assert installed("keys", "show").stdout == installed.public_key


def test_a_build_by_hand_is_the_installed_server_s(installed, root):
    failed = installed("run-build", "demo", "--repository", "demo=/no/such/repository")
    assert failed.returncode == 1, failed.stderr
    assert (root / "var/nixbuild/status/demo.json").exists()
    assert not (root / ".local").exists()
    refused = installed("run-build", "demo", "--repository", "demo=/no/such/repository", user=65534)
    assert refused.returncode == 2 and "/var/lib/nixbuild: this user may not write there" in refused.stderr
