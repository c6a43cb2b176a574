"""system-update: real servers, real flakes, a second store with signatures on; home-manager and nixos-rebuild are
stand-ins (see support/machine.py)."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from support.fake_api import FakeApi, Reply
from support.server import BINARY


def test_what_is_needed_has_been_built(world_of_each_nix):
    world = world_of_each_nix
    machine = world.machine
    machine.nix("flake", "lock")
    first = {name: machine.locked(name) for name in ("tools", "nixpkgs", "other")}
    world.move_on(2)
    built = world.build()
    world.move_on(3)
    flake_before = (machine.flake / "flake.nix").read_text()

    machine.settings["max-jobs"] = "0"  # whatever is not substituted fails
    result = machine.update("--no-gc")
    assert {name: machine.locked(name) for name in ("tools", "nixpkgs")} == {k: built[k] for k in ("tools", "nixpkgs")}
    # What it does not share with this flake either: the commit's own lock would have had another one.
    assert machine.locked("tools", "editor") == built["editor"]
    assert machine.locked("tools", "nixpkgs") == built["nixpkgs"]
    # The rest is the newest.
    assert machine.locked("other") == world.other.head() != first["other"]
    assert (machine.flake / "flake.nix").read_text() == flake_before
    assert machine.generation() == world.builder.outputs("tools")["packages.x86_64-linux.tool.out"]
    assert "tools: build 2" in result.stderr and "4 inputs changed" in result.stderr
    assert re.search(r"^✓ update: .* \(\d+\.\d s\)$", result.stderr, re.M)
    assert re.search(r"^✓ rebuild \(\d+\.\d s\)$", result.stderr, re.M)

    # Nix is content with the lock, and what it names as each input's origin is what flake.nix says.
    lock = machine.lock_text
    machine.nix("flake", "lock")
    assert machine.lock_text == lock
    originals = {name: node["original"] for name, node in json.loads(lock)["nodes"].items() if "original" in node}
    assert all("rev" not in original for original in originals.values()), originals

    # Done again, nothing is left to do.
    result = machine.update("--no-gc")
    assert machine.lock_text == lock and "0 inputs changed" in result.stderr and "the same as before" in result.stderr

    # The newest has not been built by anyone: here that is a failure, which changes nothing.
    result = machine.update("--upstream", code=1)
    assert "the rebuild failed" in result.stderr and machine.lock_text == lock
    machine.settings["max-jobs"] = "1"
    machine.update("--upstream", "--no-gc")
    assert machine.locked("tools") == world.tools.head() and machine.locked("nixpkgs") == world.nixpkgs.head()


def test_what_changed_between_generations(world):
    machine = world.machine
    world.build()
    first = machine.update("--no-gc").stdout
    assert re.search(r"^added +library +1\.0$", first, re.M) and re.search(r"^added +tool +1\.0$", first, re.M)
    assert re.search(r"^closure 0 B → \d+ B \(\+\d+ B\), 0 → 2 paths$", first, re.M)
    world.move_on(2)
    world.build()
    second = machine.update("--no-gc").stdout
    assert re.search(r"^changed +library +1\.0 → 2\.0$", second, re.M)
    assert re.search(r"^changed +tool +1\.0 → 2\.0$", second, re.M)
    assert re.search(r"^tools +[0-9a-f]{8} +[0-9a-f]{8}$", second, re.M)
    assert "added" not in second and "removed" not in second


def test_gc_deletes_what_is_old(world):
    machine = world.machine
    world.build()
    machine.program("nix-collect-garbage", '#!/bin/sh\necho "nix-collect-garbage $*" >> "$MACHINE_DIR/calls"\n')
    result = machine.update("--keep", "7d")
    assert machine.calls == ["home-manager switch --flake .#root", "nix-collect-garbage "]
    assert re.search(r"^✓ gc \(\d+\.\d s\)$", result.stderr, re.M)
    machine.during_rebuild("exit 1")
    machine.update(code=1)
    assert machine.calls[-1] == "home-manager switch --flake .#root"
    for wrong in ("30", "12h", "0d", "x"):
        assert "--keep" in machine.update("--keep", wrong, code=2).stderr
    assert "--keep-generations" in machine.update("--keep-generations", "0", code=2).stderr


def test_generations_are_kept_by_age_and_by_count(world):
    """Of a home's generations that are all old, the newest stay, and so does the current one, whatever its number."""
    machine = world.machine
    world.build()
    machine.update("--no-gc")
    profiles = machine.home / ".local/state/nix/profiles"
    path = os.readlink(profiles / "home-manager-1-link")
    for number in range(1, 8):
        link = profiles / f"home-manager-{number}-link"
        if not link.is_symlink():
            link.symlink_to(path)
        os.utime(link, (time.time() - 60 * 86400,) * 2, follow_symlinks=False)
    (profiles / "home-manager").unlink()
    (profiles / "home-manager").symlink_to("home-manager-2-link")
    machine.program("home-manager", "#!/bin/sh\n")  # makes no generation
    # These links are not known to Nix as roots.
    machine.program("nix-collect-garbage", "#!/bin/sh\n")
    names = lambda: sorted(int(file.name.split("-")[2]) for file in profiles.glob("home-manager-*-link"))  # noqa: E731
    result = machine.update("--no-update", "--keep-generations", "3", "--dry-run")
    assert f"--profile {profiles}/home-manager --delete-generations 4 3 1" in result.stderr and len(names()) == 7
    machine.update("--no-update", "--keep-generations", "3")
    assert names() == [2, 5, 6, 7]
    machine.update("--no-update", "--keep-generations", "1", "--keep", "90d")
    assert names() == [2, 5, 6, 7]


def test_real_gc_leaves_the_generation(world):
    machine = world.machine
    world.build()
    machine.update()
    assert (machine.root / "nix/store" / os.path.basename(machine.generation())).exists()


def test_a_dry_run_changes_nothing(world):
    machine = world.machine
    machine.nix("flake", "lock")
    world.move_on(2)
    built = world.build()
    lock = machine.lock_text
    result = machine.update("--dry-run")
    assert machine.lock_text == lock and machine.calls == [] and machine.generation() is None
    assert built["nixpkgs"][:8] in result.stdout
    assert "home-manager switch --flake .#root" in result.stderr and "nix-collect-garbage" in result.stderr
    assert not (machine.home / ".local/state/nixbuild").exists()


def test_only_a_rebuild(world):
    machine = world.machine
    machine.nix("flake", "lock")
    lock = machine.lock_text
    world.move_on(2)
    world.build()
    link = machine.bin / "system-update"
    link.symlink_to(BINARY)
    machine.run(link, "--no-update", "--no-gc")
    assert machine.lock_text == lock and machine.calls == ["home-manager switch --flake .#root"]


def test_killed_while_it_rebuilds(world):
    machine = world.machine
    machine.nix("flake", "lock")
    lock = machine.lock_text
    world.move_on(2)
    built = world.build()
    machine.during_rebuild('touch "$MACHINE_DIR/begun"; sleep 60')

    def begin():
        process = machine.start("--no-gc")
        deadline = time.monotonic() + 60
        while not (machine.root / "begun").exists():
            assert time.monotonic() < deadline and process.poll() is None, process.communicate()
            time.sleep(0.05)
        (machine.root / "begun").unlink()
        assert machine.locked("tools") == built["tools"]
        return process

    process = begin()
    # While one runs, another does not.
    assert "another system-update" in machine.update("--no-gc", code=1).stderr
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert machine.lock_text != lock

    machine.during_rebuild("")
    result = machine.update("--no-update", "--no-gc")
    assert "again what it was before" in result.stderr and machine.lock_text == lock
    assert "cut off" not in machine.update("--no-update", "--no-gc").stderr

    # Ctrl-C: the lock comes back at once.
    machine.during_rebuild('touch "$MACHINE_DIR/begun"; sleep 60')
    process = begin()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT and machine.lock_text == lock

    # Somebody else's change after a kill is not undone.
    process = begin()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    machine.during_rebuild("")
    (machine.flake / "flake.lock").write_text(lock + "\n")
    result = machine.update("--no-update", "--no-gc")
    assert "changed since" in result.stderr and machine.lock_text.startswith(lock)


# Servers that are not there.


def test_without_the_server_upstream_is_followed(world):
    machine = world.machine
    machine.nix("flake", "lock")
    world.move_on(2)
    world.build()
    world.move_on(3)
    machine.server = "127.0.0.1:1"
    result = machine.update("--no-gc")
    assert "from upstream instead" in result.stderr and "127.0.0.1:1" in result.stderr
    assert machine.locked("tools") == world.tools.head()


def test_a_server_that_refuses_is_no_reason_to_build_everything(world):
    machine = world.machine
    machine.nix("flake", "lock")
    lock = machine.lock_text
    machine.server = world.cache.url
    result = machine.update(code=4)
    assert machine.lock_text == lock and machine.calls == [] and "404" in result.stderr


def test_silent_caches_are_left_out(world):
    machine = world.machine
    world.build()
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as gone:
        hanging = f"http://127.0.0.1:{silent.getsockname()[1]}"
        dead = f"http://127.0.0.1:{gone.getsockname()[1]}"
        gone.close()
        machine.substituters = [hanging, *machine.substituters, dead]
        machine.settings["max-jobs"] = "0"
        result = machine.update("--no-gc")
    assert f"! {hanging} does not answer" in result.stderr and f"! {dead} does not answer" in result.stderr
    assert machine.calls == [f"home-manager switch --flake .#root --option substituters {world.cache.url}"]


def test_caches_that_answer_stay_whatever_they_say(world):
    machine = world.machine
    world.build()
    protected = FakeApi()
    protected.answers["GET /nix-cache-info"] = Reply("who are you?", status=401)
    try:
        with_password = world.cache.url.replace("http://", "http://me:secret@")
        machine.substituters = [f"http://{protected.address}", with_password, *machine.substituters]
        result = machine.update("--dry-run")
        assert "does not answer" not in result.stderr
        assert "--option substituters" not in result.stderr
    finally:
        protected.stop()


def test_an_input_that_is_gone_holds_back_no_other(world):
    machine = world.machine
    machine.nix("flake", "lock")
    other = machine.locked("other")
    world.move_on(2)
    built = world.build()
    world.other.path.rename(world.other.path.with_name("moved"))
    result = machine.update("--no-gc")
    assert "! other: stays as it is" in result.stderr
    assert machine.locked("tools") == built["tools"] and machine.locked("other") == other


def test_the_last_successful_build_is_followed(world):
    machine = world.machine
    good = world.tools.head()
    text = (world.tools.path / "flake.nix").read_text()
    world.tools.commit({"flake.nix": text.replace("echo ${library} > $out", "exit 1")})
    world.api.post("/build/trigger")
    assert world.api.wait_until_done("tools")["last_status"] == "failed"
    result = machine.update("--no-gc")
    assert "tools: build 1" in result.stderr and machine.locked("tools") == good


def test_inputs_that_are_not_the_server_s(world):
    """Another branch, a commit that flake.nix names, another origin: said, and left alone."""
    machine = world.machine
    world.builder.repositories["tools"]["branch"] = "main"
    world.api.stop()
    world.api.start()
    machine.server = f"127.0.0.1:{world.api.port}"
    world.build()
    world.tools.git("branch", "wild")
    text = world.machine_flake()
    (machine.flake / "flake.nix").write_text(text.replace("src-tools\"", "src-tools?ref=wild\""))
    result = machine.update("--no-gc")
    assert "this flake wants 'wild', the server builds 'main'" in result.stderr

    rev = world.tools.head()
    world.move_on(2)
    world.build()
    (machine.flake / "flake.nix").write_text(text.replace("src-tools\"", f"src-tools?ref=main&rev={rev}\""))
    result = machine.update("--no-gc")
    assert "tools: flake.nix names its commit" in result.stderr and machine.locked("tools") == rev

    (machine.flake / "flake.nix").write_text(text.replace("src-nixpkgs\"", "src-nixpkgs?ref=main\""))
    result = machine.update("--no-gc")
    assert "nixpkgs: has another origin" in result.stderr


# Finding what is to be rebuilt.


def test_no_configuration_of_this_machine(world):
    machine = world.machine
    flake = machine.flake / "flake.nix"
    flake.write_text("{ outputs = { self }: { homeConfigurations.somebody = 1; }; }")
    result = machine.update(code=2)
    assert "homeConfigurations.somebody" in result.stderr and "--flake" in result.stderr
    flake.write_text("{ outputs = { self }: { }; }")
    assert "no configuration of root@" in machine.update(code=2).stderr
    flake.write_text("{ outputs = ")
    assert "does not evaluate" in machine.update(code=1).stderr
    assert "flake.nix was expected" in machine.update("--flake", "/nonexistent", code=2).stderr
    assert "flake.nix was expected" in machine.update("--flake", "github:a/b", code=2).stderr
    assert machine.calls == []


def test_the_flake_that_is_named(world):
    machine = world.machine
    flake = machine.flake / "flake.nix"
    odd = "ann@host.example"
    extra = f"homeConfigurations.{json.dumps(odd)}.activationPackage = tools.packages.x86_64-linux.library;"
    flake.write_text(world.machine_flake(extra))
    elsewhere = machine.root
    machine.update("--flake", f"{machine.flake}#{odd}", "--no-gc", directory=elsewhere)
    assert machine.calls == [f"home-manager switch --flake .#{odd}"]
    assert machine.generation().endswith("-library-1.0")
    assert "homeConfigurations" in machine.update("--flake", ".#nope", code=2).stderr
    machine.update("--flake", "flake", "--no-gc", "--impure", directory=elsewhere)
    assert machine.calls[-1] == "home-manager switch --flake .#root --impure"


def test_the_home_s_own_directory(world):
    machine = world.machine
    config = machine.home / ".config"
    config.mkdir()
    (config / "home-manager").symlink_to(machine.flake)
    machine.update("--no-gc", directory="/")
    assert machine.calls == ["home-manager switch --flake .#root"] and machine.lock_text


def test_the_home_flake_that_is_configured(world):
    machine = world.machine
    config = machine.root / "config.toml"
    config.write_text(f'[update]\nhome_flake = "{machine.flake}"\n')
    machine.update("--no-gc", directory="/", NIXBUILD_CONFIG=str(config))
    assert machine.calls == ["home-manager switch --flake .#root"]
    # What stands where the person is comes first.
    (machine.root / "other").mkdir()
    (machine.root / "other/flake.nix").write_text(world.machine_flake().replace(".tool;", ".library;"))
    machine.update("--no-gc", directory=machine.root / "other", NIXBUILD_CONFIG=str(config))
    assert machine.generation().endswith("-library-1.0")
    missing = machine.update("--home-flake", "/no/flake", directory="/", code=2)
    assert "is found in . and /no/flake" in missing.stderr


def test_programs_that_are_missing(world):
    machine = world.machine
    (machine.bin / "home-manager").unlink()
    result = machine.update(code=1)
    assert f"nix run home-manager -- switch --flake {machine.flake}#root" in result.stderr
    assert machine.lock_text is None
    for name in ("unshare", "sh", "mount"):
        (machine.bin / name).symlink_to(shutil.which(name))
    assert "no 'nix' in PATH" in machine.update(code=1, PATH=str(machine.bin)).stderr


def test_a_dry_run_without_home_manager_shows_the_inputs(world):
    machine = world.machine
    machine.nix("flake", "lock")
    world.move_on(2)
    built = world.build()
    (machine.bin / "home-manager").unlink()
    result = machine.update("--dry-run")
    assert built["nixpkgs"][:8] in result.stdout and "'home-manager'" in result.stderr


def test_a_flake_of_another_user_is_explained(world):
    machine = world.machine
    subprocess.run(["git", "init", "-q", machine.flake], check=True)
    subprocess.run(["git", "-C", machine.flake, "add", "-A"], check=True)
    subprocess.run(["chown", "-R", "nobody", machine.flake], check=True)
    failed = machine.update(code=1)
    assert "repository of nobody" in failed.stderr and "safe.directory" in failed.stderr and machine.calls == []


def nixos(world):
    """Makes the machine a NixOS with both configurations."""
    machine = world.machine
    extra = (f'nixosConfigurations."{socket.gethostname()}".config.system.build.toplevel = '
             'nixpkgs.mk "nixos-1.0" "echo > $out";')  # fmt: skip
    (machine.flake / "flake.nix").write_text(world.machine_flake(extra))
    (machine.root / "etc-of-nixos").mkdir()
    (machine.root / "etc-of-nixos/NIXOS").touch()
    machine.mounts = f"mount -t overlay overlay -o lowerdir={machine.root}/etc-of-nixos:/etc /etc"
    if subprocess.run(machine.command("true"), env=machine.environment(), capture_output=True).returncode != 0:
        pytest.skip("no overlay file systems here")
    return machine


def test_nixos_and_home(world):
    machine = nixos(world)
    host = socket.gethostname()
    result = machine.update("--no-gc")
    assert machine.calls == [f"nixos-rebuild switch --flake .#{host}", "home-manager switch --flake .#root"]
    assert result.stdout.count("closure ") == 2
    system = pathlib.Path(world.builder.store) / "var/nix/profiles/system"
    assert (machine.root / "nix" / system.relative_to(world.builder.store)).is_symlink()


def test_a_unit_that_fails_keeps_the_lock_of_the_system_in_force(world):
    machine = nixos(world)
    machine.nix("flake", "lock")
    lock = machine.lock_text
    world.move_on(2)
    world.build()
    # As switch-to-configuration does it: the profile is the new system's, one of whose units has failed.
    text = (machine.bin / "nixos-rebuild").read_text()
    (machine.bin / "real").mkdir()
    machine.program("real/nixos-rebuild", text)
    machine.program("nixos-rebuild", '#!/bin/sh\n"${0%/*}/real/nixos-rebuild" "$@" && exit 4\n')
    result = machine.update(code=1)
    assert "exit code 4: the new system is in force" in result.stderr and "systemctl --failed" in result.stderr
    assert machine.lock_text != lock and machine.locked("tools") == world.tools.head()
    assert "nix-collect-garbage" not in result.stderr
    assert (machine.home / ".local/state/nixbuild/followed-builds.json").exists()


def test_of_two_none_is_switched_where_one_does_not_build(world):
    machine = nixos(world)
    text = (machine.flake / "flake.nix").read_text()
    (machine.flake / "flake.nix").write_text(text.replace("tools.packages.x86_64-linux.tool;", 'nixpkgs.mk "bad" "exit 1";'))
    result = machine.update(code=1)
    assert machine.calls == [] and machine.lock_text is None and "as they were" in result.stderr
    # Once one has been switched, its lock has to stay.
    (machine.flake / "flake.nix").write_text(text)
    machine.during_rebuild('case $0 in *home-manager) exit 3 ;; esac')
    result = machine.update(code=1)
    assert "has been switched before" in result.stderr and machine.lock_text is not None
