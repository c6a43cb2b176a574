"""The configuration: what is wrong with it is said before a server finds out."""

import subprocess

import pytest

from support.server import BINARY, program, program_environment


@pytest.fixture
def config(root):
    """config(text) writes a configuration file and returns its path."""

    def write(text):
        file = root / "config.toml"
        file.write_text(text)
        return file

    return write


@pytest.mark.parametrize("text, place, command", [
    ('[cache]\nlisten = ["0.0.0.0"]\n', "2: cache.listen: '0.0.0.0'", "serve-cache"),
    ('[cache]\ncompression = "xz"\n\ncompression_level = 19\n', "4: cache.compression_level: 19: xz", "serve-cache"),
    ('[cache]\nstore_dir = "relative"\n', "2: cache.store_dir: ", "serve-cache"),
    ('[api]\nlisten = ["nowhere:1"]\n', "2: api.listen: 'nowhere:1'", "serve-api"),
    ('[api]\ncache_url = "gopher://x"\n', "2: api.cache_url: 'gopher://x'", "serve-api"),
    ('[proxy]\nupstream = ["http://"]\n', "2: proxy.upstream: 'http://'", "serve-proxy"),
    ('[client]\nserver = "http://"\n', "2: client.server: 'http://'", "status"),
    ('[aliases]\nextra = ["nope"]\n', "2: aliases.extra: \"nope\": expected NAME=COMMAND", "aliases"),
    ('[aliases]\nwithout = ["zzz"]\n', "2: aliases.without: \"zzz\": ", "aliases"),
])  # fmt: skip
def test_check_finds_what_a_command_would_refuse(config, root, text, place, command):
    file = config(text)
    for arguments in (["config", "check"], [command]):
        result = program(*arguments, "--config", file, environment={"NIXBUILD_STATE_DIR": str(root / "state")})
        assert result.returncode == 2, result
        assert result.stderr.startswith(f"error: {file}:{place}"), result.stderr


def test_check_finds_everything(config):
    """Every error, in the order of the lines; a syntax error is the only one that hides others."""
    file = config("""
[client]
sever = "build-server"
[cache]
priority = "high"
compression = "gzip"
[zzz]
[[repository]]
name = "one"
url = "ext::sh"
[[repository]]
name = "two"
[api]
listen = ["nowhere:1"]
""")
    result = program("config", "check", "--config", file, environment={"NIXBUILD_CACHE_THREADS": "many"})
    assert result.returncode == 2 and result.stdout == ""
    lines = result.stderr.splitlines()
    starts = [
        f"error: {file}:3: client.sever: unknown key; did you mean 'server'?",
        f"error: {file}:5: cache.priority: ",
        f"error: {file}:6: cache.compression: ",
        f"error: {file}:7: [zzz]: unknown table",
        f"error: {file}:10: repository.url: ",
        f"error: {file}:14: api.listen: ",
        "error: NIXBUILD_CACHE_THREADS: ",
    ]
    for line, start in zip(lines, starts):
        assert line.startswith(start), line
    assert lines[len(starts):] == ["error: repository 'one': url is missing", "error: repository 'two': url is missing"]


def test_what_is_wrong_with_a_flag_names_the_flag(config):
    file = config('[cache]\ncompression = "xz"\n')
    for arguments, start in (
        (["serve-cache", "--compression-level", "19"], "--compression-level: 19: xz supports levels 0 to 9"),
        (["serve-cache", "--listen", "nonsense:port"], "--listen: 'nonsense:port'"),
        (["status", "--server", "http://"], "--server: 'http://'"),
        (["aliases", "--without", "zzz"], '--without: "zzz": '),
    ):
        result = program(*arguments, "--config", file)
        assert result.returncode == 2 and result.stderr.startswith(f"error: {start}"), result.stderr


def test_show_prints_a_file_that_can_be_read(config):
    file = config("""
[[repository]]
name = "odd"
url = '/srv/we"ird\\x'
""")
    shown = program("config", "show", "--config", file)
    assert shown.returncode == 0, shown.stderr
    again = program("config", "show", "--config", config(shown.stdout))
    assert again.returncode == 0, again.stderr
    values = [[line.partition("  # ")[0] for line in text.splitlines()] for text in (shown.stdout, again.stdout)]
    assert values[0] == values[1]
    assert 'url = "/srv/we\\"ird\\\\x"' in values[0]


def test_a_password_in_a_url_is_refused_and_not_shown(config):
    file = config('[[repository]]\nname = "secret"\nurl = "https://u:hunter2@h/x?token=abc"\n')
    for verb in ("show", "check"):
        shown = program("config", verb, "--config", file)
        assert shown.returncode == 2 and "netrc_file" in shown.stderr
        assert "hunter2" not in shown.stdout + shown.stderr and "abc" not in shown.stdout + shown.stderr


def test_a_configuration_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        result = subprocess.run([BINARY, "config", "show"], stdin=subprocess.DEVNULL, stdout=full,
                                stderr=subprocess.PIPE, text=True, env=program_environment())  # fmt: skip
    assert result.returncode == 1 and result.stderr.startswith("error: "), result
