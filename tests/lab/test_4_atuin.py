"""Aliases and history travel between machines by a real Atuin server."""

import pytest
from support.machine import wait_for
from support.repository import Clone

CONFIGURATION = """
auto_sync = false
update_check = false
sync_address = "http://build-server:8888"
[sync]
records = true
[dotfiles]
enabled = true
"""


@pytest.fixture(scope="module")
def account(lab, server, laptop, desktop):
    """Alice's account on the server's Atuin, logged in to from both of her machines."""
    server.join_tailnet()
    environment = {"HOME": "/root", "ATUIN_HOST": "100.64.0.1", "ATUIN_PORT": "8888", "ATUIN_OPEN_REGISTRATION": "true"}
    if server.run("sh", "-c", "command -v atuin-server", code=None).code == 0:
        command = ("atuin-server", "start")
        environment["ATUIN_DB_URI"] = "sqlite:///root/atuin.sqlite"
    else:
        command = ("atuin", "server", "start")
        environment["ATUIN_DB_URI"] = "postgres://atuin:atuin@localhost/atuin"
        server.run("systemctl", "start", "postgresql")
        wait_for(lambda: server.run("pg_isready", code=None).code == 0, "PostgreSQL is ready")
        server.run("psql", "--quiet", "--command=CREATE USER atuin PASSWORD 'atuin'",
                   "--command=CREATE DATABASE atuin OWNER atuin", user="postgres", directory="/")  # fmt: skip
    server.run("systemd-run", "--unit=atuin-server", *(f"--setenv={name}={value}" for name, value in environment.items()),
               *command)  # fmt: skip
    for machine in (laptop, desktop):
        machine.write("/home/alice/.config/atuin/config.toml", CONFIGURATION)
        machine.run("chown", "--recursive", "alice:", "/home/alice/.config")
    wait_for(lambda: laptop.run("curl", "--silent", "--fail", "http://build-server:8888/", code=None).code == 0,
             "Atuin's server answers")  # fmt: skip
    words = ("-u", "alice", "-p", "correct horse")
    laptop.run("atuin", "register", *words, "-e", "alice@example.org", user="alice")
    key = laptop.run("atuin", "key", user="alice").stdout.strip()
    desktop.run("atuin", "login", *words, "-k", key, user="alice")


def test_aliases_set_on_the_laptop_work_on_the_desktop(account, tailnet, server, laptop, desktop):
    Clone(laptop).push(terminal="echo good > $out")
    laptop.run("nixbuild", "aliases", "--sync", user="alice", SHELL="/usr/bin/zsh")
    laptop.run("atuin", "sync", user="alice")
    desktop.run("atuin", "sync", user="alice")
    if desktop.run("sh", "-c", "atuin dotfiles alias --help | grep -q '^  set '", code=None).code == 0:
        listed = desktop.run("atuin", "dotfiles", "alias", "list", user="alice").stdout.splitlines()
        assert "bt=nixbuild trigger" in listed and "rebuild=nixbuild system-update --no-update --no-gc" in listed
        inits = {shell: f"atuin init {shell}" for shell in ("bash", "zsh", "fish")}
    else:
        # The first shell has the machine's copy refreshed, for those after it.
        inits = {shell: f"nixbuild aliases --shell {shell} --from-atuin" for shell in ("bash", "zsh", "fish")}
        wait_for(lambda: "alias bt='nixbuild trigger'" in desktop.run("sh", "-c", inits["bash"], user="alice").stdout,
                 "the aliases are on the desktop")  # fmt: skip
    for shell, start in (("bash", "--rcfile /dev/null"), ("zsh", "--no-rcs"), ("fish", "--no-config")):
        init = f"{inits[shell]} | source /dev/stdin" if shell == "fish" else f'eval "$({inits[shell]})"'
        said = desktop.run(shell, *start.split(), "-i", user="alice", input=f"{init}\nbs --json\n").stdout
        assert '"is_running"' in said, f"{shell}: {said}"


def test_the_history_of_bt_is_on_the_desktop(account, tailnet, laptop, desktop):
    laptop.write("/home/alice/.zshrc", 'eval "$(atuin init zsh)"\n', owner="alice")
    # Atuin writes an end down behind the shell's back; who types waits that long before the next thing.
    written = "atuin history list --format '{command}|{exit}' | grep --quiet --line-regexp 'bt --wait|0'"
    laptop.run("zsh", "-i", user="alice", input=f"bt --wait\nuntil {written}; do sleep 0.1; done\n")
    # At times Atuin makes its record store anew while it syncs, which it does in a shell's session only.
    for machine in (laptop, desktop):
        machine.run("atuin", "sync", user="alice", ATUIN_SESSION="0")
    history = desktop.run("atuin", "history", "list", "--format", "{command}|{exit}|{host}", user="alice",
                          ATUIN_SESSION="0").stdout  # fmt: skip
    assert "bt --wait|0|laptop" in history
