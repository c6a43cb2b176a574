"""What a release is made of: the texts that name it, the source tarball, the recording in the README."""

import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree

import pytest
from support.server import BINARY

pytestmark = pytest.mark.once

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def check(source, build_root):
    return subprocess.run([source / "tools/release", "--check"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "NIXBUILD_BUILD_ROOT": str(build_root)})  # fmt: skip


@pytest.fixture
def checkout(tmp_path):
    """A clone of this repository, to be changed."""
    if not (SOURCE / ".git").exists():
        pytest.skip("the source is not a git checkout")
    environment = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    subprocess.run(["git", "clone", "--quiet", SOURCE, tmp_path / "source"], check=True, env={**os.environ, **environment})
    return tmp_path / "source"


def test_the_tarball_has_all_files_and_can_be_configured(checkout, tmp_path):
    done = check(checkout, tmp_path / "build")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "configures" in done.stdout


@pytest.mark.parametrize("file, old, new, reason", [
    ("NEWS.md", r"^## .*$", "## 0.0.1", "NEWS.md begins with '0.0.1'"),
    ("meson.build", r"release_date = '.*'", "release_date = '2026-02-30'", "release_date '2026-02-30' is not YYYY-MM-DD"),
    ("packaging/debian/control", r"^ libsodium-dev,\n", "", "< libsodium-dev"),
])  # fmt: skip
def test_a_fault_is_found(checkout, tmp_path, file, old, new, reason):
    path = checkout / file
    text, count = re.subn(old, new, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text)
    done = check(checkout, tmp_path / "build")
    assert done.returncode == 2 and reason in done.stdout + done.stderr, done.stdout + done.stderr


def texts_of(svg):
    root = xml.etree.ElementTree.parse(svg).getroot()
    lines = {f"#{group.get('id')}" for group in root.iter(f"{SVG}g")}
    assert {use.get("href") for use in root.iter(f"{SVG}use")} <= lines
    return root.find(f"{SVG}title").text, root.find(f"{SVG}desc").text


def test_the_recording(system_nix, tmp_path):
    """tools/recording works with the program as it is, and the README shows what it made."""
    made = tmp_path / "trigger.svg"
    done = subprocess.run([SOURCE / "tools/recording", made], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "NIXBUILD_BINARY": str(BINARY)}, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    title, last = texts_of(made)
    assert title == "nixbuild trigger --follow" and "✓ Build #1 succeeded" in last
    assert texts_of(SOURCE / "docs/trigger.svg")[0] == title
    assert "](docs/trigger.svg)" in (SOURCE / "README.md").read_text()
