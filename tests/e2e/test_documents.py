"""What is written down of the command line is what the program says of itself."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest
from support.server import BINARY

pytestmark = pytest.mark.once

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def test_man_pages_say_what_help_says():
    result = subprocess.run([SOURCE / "tools/man-pages", "--check", BINARY],
                            text=True, stdout=subprocess.PIPE)
    assert result.returncode == 0, result.stdout + "run tools/man-pages to bring them up to date"


def help_of(*words):
    return subprocess.run([*words, "--help"], check=True, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE).stdout  # fmt: skip


def test_every_key_of_the_configuration_is_explained(tmp_path):
    """`config show` lists every key there is; --help and the man page tell what each is for."""
    file = tmp_path / "config.toml"
    file.write_text('[[repository]]\nname = "a"\nurl = "/a"\n')
    shown = subprocess.run([BINARY, "config", "show", "--config", file], check=True, text=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout  # fmt: skip
    table, keys = "", []
    for line in shown.splitlines():
        if heading := re.match(r"\[.*\]$", line):
            table = heading[0]
        elif key := re.match(r"(?:# )?([a-z_]+) (?:=|is not set)", line):
            keys.append((table, key[1]))
    assert len(keys) > 40 and ("[[repository]]", "push_lock") in keys and ("", "state_dir") in keys

    table, explained = "", {}
    for line in help_of(BINARY, "config").partition("Keys above every table:\n")[2].splitlines():
        if heading := re.match(r"Keys of (\[+[a-z]+\]+).*:$", line):
            table = heading[1]
        elif key := re.match(r"  ([a-z_]+) = ", line):
            explained.setdefault(table, []).append(key[1])
    assert {(name, key) for name, keys in explained.items() for key in keys} == set(keys)

    for command, table in (("serve-cache", "[cache]"), ("serve-api", "[api]"), ("serve-proxy", "[proxy]")):
        options = help_of(BINARY, command).partition("Options:\n")[2].partition("\n\n")[0]
        flags = {flag.replace("-", "_") for flag in re.findall(r"^  --([a-z-]+)", options, re.MULTILINE)}
        assert flags - {"config", "repository", *explained[""]} == set(explained[table])

    page = (SOURCE / "man/nixbuild-config.1").read_text()
    for table, key in keys:
        assert f"\\fB{key}\\fR \\fI= " in page.partition(f".SS Keys of {table}" if table else ".SS Keys above")[2], key


def commands():
    listed = help_of(BINARY).partition("Subcommands:\n")[2].partition("\n\n")[0]
    return re.findall(r"^  ([a-z][a-z-]*) ", listed, re.MULTILINE)


def other_names():
    """By what other names each command is called, as its help says: name → command."""
    names = {}
    for command in commands():
        if also := re.search(r"^Also called ([a-z, -]+)\.$", help_of(BINARY, command), re.MULTILINE):
            names |= {name: command for name in re.split(r", | and ", also[1])}
    return names


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What `meson install` makes of this build: (the directory, files that are to be in it)."""
    build = BINARY.resolve().parents[2]
    if not (build / "meson-private").is_dir() or shutil.which("meson") is None:
        pytest.skip(f"{BINARY} does not lie in a build directory of Meson's, or there is no meson")
    destination = tmp_path_factory.mktemp("installed")
    subprocess.run(["meson", "install", "--no-rebuild", "--quiet", "-C", build, "--destdir", destination],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    listed = subprocess.run(["meson", "introspect", "--installed", build], check=True, stdout=subprocess.PIPE).stdout
    return destination, [destination / file.lstrip("/") for file in json.loads(listed).values()]


def only(files, suffix):
    found = [file for file in files if str(file).endswith(suffix)]
    assert len(found) == 1, f"{suffix}: {found}"
    return found[0]


def test_everything_is_installed(installed):
    destination, files = installed
    assert files and not [str(file) for file in files if not file.exists()]
    assert only(files, "bin/nixbuild").stat().st_mode & 0o111
    sources = [file.name for folder in ("man", "completions", "systemd") for file in (SOURCE / folder).iterdir()]
    names = {file.name for file in files} | {"nixbuild.bash"}  # installed as `nixbuild`
    if not any(name.endswith(".service") for name in names):
        sources = [name for name in sources if not (SOURCE / "systemd" / name).exists()]
    # sysusers.d and tmpfiles.d say by themselves what a file is. Only AppArmor 4 gets the profile.
    expected = {re.sub(r"\.(sysusers|tmpfiles)\.conf$", ".conf", name.removesuffix(".in"))
                for name in sources if name not in ("meson.build", "nixbuild.apparmor.in")}  # fmt: skip
    assert expected <= names
    only(files, "bash-completion/completions/nixbuild")


def test_every_command_has_its_page(installed):
    pages = only(installed[1], "man1/nixbuild.1").parent
    assert {file.name for file in pages.glob("nixbuild-*.1")} == {f"nixbuild-{name}.1" for name in commands()}


def test_every_page_names_the_version_and_its_day(installed):
    version = subprocess.run([BINARY, "--version"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    first_lines = [file.read_text().partition("\n")[0] for file in installed[1] if file.suffix == ".1"]
    wanted = re.compile(rf'\.TH NIXBUILD\S* 1 "20\d\d-\d\d-\d\d" "{re.escape(version)}" "User Commands"')
    assert first_lines and [line for line in first_lines if not wanted.fullmatch(line)] == []


def test_the_news_begin_with_this_version():
    version = re.search(r"version: '([^']+)'", (SOURCE / "meson.build").read_text())[1]
    headings = re.findall(r"^## (.*)$", (SOURCE / "NEWS.md").read_text(), re.MULTILINE)
    assert headings[0] == version
    assert headings == sorted(headings, key=lambda text: [int(part) for part in text.split(".")], reverse=True)


def test_the_first_page_leads_to_all_others():
    see_also = (SOURCE / "man/nixbuild.1").read_text().partition(".SH SEE ALSO\n")[2].replace("\\-", "-")
    assert set(re.findall(r"^\.BR nixbuild-([a-z-]+) \(1\)", see_also, re.MULTILINE)) == set(commands())


def test_every_exit_code_is_explained():
    codes = re.findall(r"= (\d+)", (SOURCE / "src/common/base/exit_code.hpp").read_text())
    listed = (SOURCE / "man/nixbuild.1").read_text().partition(".SH EXIT STATUS\n")[2].partition(".SH")[0]
    assert re.findall(r"^\.B (\d+)$", listed, re.MULTILINE) == codes and "75" in codes


def test_every_other_name_is_installed(installed):
    files = installed[1]
    program = only(files, "bin/nixbuild")
    names = other_names()
    assert names
    links = {file.name for file in program.parent.iterdir() if file.is_symlink()}
    assert links == set(names)
    pages = only(files, "man1/nixbuild.1").parent
    assert {file.stem for file in pages.iterdir() if file.is_symlink()} == set(names)
    bash = only(files, "bash-completion/completions/nixbuild")
    fish = only(files, "vendor_completions.d/nixbuild.fish")
    for name, command in names.items():
        assert (program.parent / name).resolve() == program
        assert f"\nUsage: nixbuild {command} " in help_of(program.parent / name)
        assert (pages / f"{name}.1").resolve() == pages / f"nixbuild-{command}.1"
        assert (bash.parent / name).resolve() == bash
        assert (fish.parent / f"{name}.fish").resolve() == fish


@pytest.mark.parametrize("file, line", [
    ("nixbuild.bash", r"^complete -F _nixbuild (.*)$"),
    ("_nixbuild", r"^#compdef (.*)$"),
    ("nixbuild.fish", r"^for name in (.*)$"),
])  # fmt: skip
def test_every_name_is_completed(file, line):
    found = re.search(line, (SOURCE / "completions" / file).read_text(), re.MULTILINE)
    assert set(found[1].split()) == {"nixbuild", *other_names()}
