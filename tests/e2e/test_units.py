"""What is installed for systemd, sysusers, tmpfiles and polkit, held against systemd's own tools."""

import json
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest
from support.nix import SOURCE
from support.server import BINARY, program_environment

pytestmark = pytest.mark.once

SERVICES = ["nixbuild-api.service", "nixbuild-cache.service", "nixbuild-build@demo.service", "nixbuild-key.service",
            "nixbuild-peer.service", "nixbuild-proxy.service"]
SOCKETS = ["nixbuild-api.socket", "nixbuild-cache.socket", "nixbuild-proxy.socket"]
# What `systemd-analyze security` may say at most, of 10: "OK" ends at 5, and most services stand at 9.
EXPOSURE = {
    "nixbuild-api.service": 2.5, "nixbuild-cache.service": 2.5, "nixbuild-build@demo.service": 2.5,
    "nixbuild-key.service": 2.5, "nixbuild-peer.service": 2.5, "nixbuild-proxy.service": 2.5,
}  # fmt: skip


def needs(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")


def run(*command, **options):
    return subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A root directory with what `meson install` puts there, beside the units of this machine's systemd."""
    build = pathlib.Path(BINARY).parents[2]
    if not (build / "meson-info").is_dir():
        pytest.skip(f"{build} is no build directory")
    needs("meson", "systemd-analyze")
    root = tmp_path_factory.mktemp("root")
    result = run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", root)
    assert result.returncode == 0, result.stdout + result.stderr
    if not list(root.glob("**/nixbuild-api.service")):
        pytest.skip("built without systemd")
    for directory in ("usr/lib/systemd/system", "lib/systemd/system"):
        if (pathlib.Path("/") / directory).is_dir():
            shutil.copytree(pathlib.Path("/") / directory, root / directory, symlinks=True, dirs_exist_ok=True)
    # The programs of the system that units name.
    for name in ("bin/kill",):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pathlib.Path("/") / name, root / name)
    return root


def the(root, name):
    found = [path for path in root.glob(f"**/{name}") if path.is_file()]
    assert len(found) == 1, found
    return found[0]


def test_units_verify(installed):
    result = run("systemd-analyze", "verify", "--man=no", f"--root={installed}", *SERVICES, *SOCKETS)
    ours = [line for line in result.stderr.splitlines() if "nixbuild" in line]
    assert ours == []
    assert result.returncode == 0, result.stderr


def test_the_drop_in_for_a_token_verifies(installed):
    drop_ins = re.findall(r"```ini\n(.*?)```", (SOURCE / "docs/operations.md").read_text(), re.DOTALL)
    [drop_in] = [text for text in drop_ins if "NIXBUILD_API_TOKEN_FILE" in text]
    directory = installed / "etc/systemd/system/nixbuild-api.service.d"
    directory.mkdir(parents=True)
    try:
        for text, good in ((drop_in, True), (drop_in.replace("LoadCredential", "LoadCredentials"), False)):
            (directory / "override.conf").write_text(text)
            result = run("systemd-analyze", "verify", "--man=no", f"--root={installed}", "nixbuild-api.service")
            assert (not [line for line in result.stderr.splitlines() if "nixbuild" in line]) == good, result.stderr
    finally:
        shutil.rmtree(directory)


def test_a_unit_with_a_fault_does_not_verify(installed):
    """That the test above can fail."""
    unit = the(installed, "nixbuild-api.service")
    broken = unit.with_name("nixbuild-broken.service")
    broken.write_text(unit.read_text().replace("ProtectHome=true", "ProtectHome=perhaps\nProtectHouse=true"))
    result = run("systemd-analyze", "verify", "--man=no", f"--root={installed}", broken.name)
    broken.unlink()
    assert "Failed to parse" in result.stderr and "ProtectHouse" in result.stderr


@pytest.mark.parametrize("unit", ["nixbuild-api", "nixbuild-cache", "nixbuild-build@", "nixbuild-peer", "nixbuild-proxy"])
def test_memory_is_bounded(installed, unit):
    text = the(installed, f"{unit}.service").read_text()
    assert re.search(r"^MemoryMax=[0-9]+[G%]$", text, re.M)
    # One program of a build that is ended for its memory does not end the build.
    assert ("OOMPolicy=continue" in text) == (unit == "nixbuild-build@")


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure(installed, unit):
    result = run("systemd-analyze", "security", "--offline=yes", "--no-pager", f"--root={installed}", unit)
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", result.stdout)
    assert match, result.stdout + result.stderr
    assert float(match[1]) < EXPOSURE[unit], result.stdout


@pytest.mark.parametrize("unit", ["nixbuild-api", "nixbuild-cache", "nixbuild-build@", "nixbuild-key", "nixbuild-peer", "nixbuild-proxy"])
def test_what_units_start_is_a_command_of_ours(installed, unit):
    text = the(installed, f"{unit}.service").read_text()
    words = re.search(r"^ExecStart=(.*)$", text, re.M)[1].replace("%i", "demo").split()
    assert (installed / words[0].lstrip("/")).is_file()
    result = run(BINARY, *words[1:], "--help", env=program_environment())
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("unit", ["nixbuild-api", "nixbuild-cache", "nixbuild-build@", "nixbuild-peer", "nixbuild-proxy"])
def test_no_number_of_failures_is_the_last(installed, unit):
    assert re.search(r"^StartLimitIntervalSec=0$", the(installed, f"{unit}.service").read_text(), re.M)


def test_only_the_cache_gets_the_key(installed):
    texts = {path.name: path.read_text() for path in installed.glob("**/nixbuild-*.service")}
    assert [name for name, text in texts.items() if "LoadCredential" in text] == ["nixbuild-cache.service"]
    for name in ("nixbuild-api.service", "nixbuild-build@.service", "nixbuild-cache.service", "nixbuild-peer.service"):
        assert re.search(r"^InaccessiblePaths=.*-/etc/nixbuild/cache-key", texts[name], re.M), name
    users = {name: match[1] for name, text in texts.items() if (match := re.search(r"^User=(.*)$", text, re.M))}
    assert sorted(users.values()) == ["nixbuild-api", "nixbuild-build", "nixbuild-cache", "nixbuild-cache"]
    # What a client's cache passes on has been signed; it has no key.
    assert "--only-signed-by record_keys" in texts["nixbuild-peer.service"]
    assert "-/var/lib/nixbuild" in texts["nixbuild-peer.service"]
    # The sockets hold loopback only.
    listening = "".join(path.read_text() for path in installed.glob("**/nixbuild-*.socket"))
    addresses = re.findall(r"^ListenStream=(.*):\d+$", listening, re.M)
    assert addresses and set(addresses) == {"127.0.0.1", "[::1]"}


@pytest.fixture
def with_users(installed):
    needs("systemd-sysusers", "systemd-tmpfiles")
    configurations = sorted(installed.glob("**/sysusers.d/nixbuild*.conf"))
    (installed / "etc").mkdir(exist_ok=True)
    result = run("systemd-sysusers", f"--root={installed}", *configurations)
    assert result.returncode == 0, result.stderr
    return installed


def accounts(root, name):
    rows = [line.split(":") for line in (root / "etc" / name).read_text().splitlines()]
    return {row[0]: row for row in rows}


def test_users(with_users):
    users, groups = accounts(with_users, "passwd"), accounts(with_users, "group")
    assert {"nixbuild-cache", "nixbuild-api", "nixbuild-build"} <= set(users)
    assert sorted(groups["nixbuild"][3].split(",")) == ["nixbuild-api", "nixbuild-build", "nixbuild-cache"]
    # Debian's daemon talks to these only, and the API has nothing to say to it.
    assert sorted(groups["nix-users"][3].split(",")) == ["nixbuild-build", "nixbuild-cache"]
    assert len({users[name][2] for name in users}) == len(users)
    assert all("nologin" in users[name][6] for name in users if name.startswith("nixbuild"))


def test_directories(with_users):
    if os.geteuid() != 0:
        pytest.skip("only root can give directories away")
    configuration = next(with_users.glob("**/tmpfiles.d/nixbuild.conf"))
    result = run("systemd-tmpfiles", f"--root={with_users}", "--create", configuration)
    assert result.returncode == 0, result.stderr
    users, groups = accounts(with_users, "passwd"), accounts(with_users, "group")
    names = {int(row[2]): name for name, row in users.items()} | {0: "root"}
    group_names = {int(row[2]): name for name, row in groups.items()} | {0: "root"}

    def described(path):
        status = os.stat(with_users / path)
        return names[status.st_uid], group_names[status.st_gid], oct(stat.S_IMODE(status.st_mode))

    assert described("etc/nixbuild") == ("root", "root", "0o755")
    # The group writes, and what is made there is the group's; nobody else reads.
    assert described("var/lib/nixbuild") == ("nixbuild-build", "nixbuild", "0o2770")
    assert described("var/lib/nixbuild/home") == ("nixbuild-build", "nixbuild", "0o700")
    assert described("var/lib/nixbuild/nar-cache") == ("nixbuild-cache", "nixbuild", "0o750")


def test_the_polkit_rule_lies_where_polkit_looks(installed):
    # Version 122, for one, looks into no others.
    looked_into = ["etc/polkit-1/rules.d", "usr/share/polkit-1/rules.d"]
    place = the(installed, "50-nixbuild.rules").parent.relative_to(installed)
    if not str(place).startswith(("usr", "etc")):
        pytest.skip(f"not installed into the system, but into {place}")
    assert str(place) in looked_into


# polkit's interface to its rules, as polkit(8) describes it.
POLKIT = """
var rules = [];
var polkit = { Result: { NOT_HANDLED: "not handled", YES: "yes", NO: "no" },
               addRule: function (rule) { rules.push(rule); } };
%s
var answers = %s.map(function (asked) {
  var action = { id: asked[0], lookup: function (name) { return asked[2][name]; } };
  return rules[0](action, { user: asked[1] });
});
print(JSON.stringify([rules.length, answers]));
"""


def test_the_polkit_rule(installed, tmp_path):
    needs("duk")
    units, api, demo = "org.freedesktop.systemd1.manage-units", "nixbuild-api", "nixbuild-build@demo.service"
    asked = [
        ([units, api, {"unit": demo, "verb": "start"}], "yes"),
        ([units, api, {"unit": demo, "verb": "stop"}], "yes"),
        ([units, api, {"unit": "nixbuild-build@a.b-c_9.service", "verb": "start"}], "yes"),
        ([units, api, {"unit": demo, "verb": "restart"}], "not handled"),
        ([units, api, {"unit": demo, "verb": "set-property"}], "not handled"),
        ([units, api, {"unit": demo}], "not handled"),
        ([units, api, {"verb": "start"}], "not handled"),
        ([units, api, {"unit": "nixbuild-api.service", "verb": "stop"}], "not handled"),
        ([units, api, {"unit": "ssh.service", "verb": "start"}], "not handled"),
        ([units, api, {"unit": f"x{demo}", "verb": "start"}], "not handled"),
        ([units, api, {"unit": f"{demo}\nssh.service", "verb": "start"}], "not handled"),
        ([units, api, {"unit": "nixbuild-build@-x.service", "verb": "start"}], "not handled"),
        ([units, api, {"unit": "nixbuild-build@.service", "verb": "start"}], "not handled"),
        ([units, api, {"unit": f"nixbuild-build@{'x' * 64}.service", "verb": "start"}], "not handled"),
        ([units, "ann", {"unit": demo, "verb": "start"}], "not handled"),
        ([units, "nixbuild-build", {"unit": demo, "verb": "start"}], "not handled"),
        (["org.freedesktop.systemd1.manage-unit-files", api, {"unit": demo, "verb": "start"}], "not handled"),
        (["org.freedesktop.systemd1.reload-daemon", api, {}], "not handled"),
    ]
    script = tmp_path / "rule.js"
    script.write_text(POLKIT % (the(installed, "50-nixbuild.rules").read_text(), json.dumps([row for row, _ in asked])))
    result = run("duk", script)
    assert result.returncode == 0, result.stderr + result.stdout
    assert json.loads(result.stdout) == [1, [answer for _, answer in asked]]
