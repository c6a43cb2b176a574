"""Nix stores made for the purpose, and what is put into them."""

import hashlib
import os
import pathlib
import random
import sqlite3
import struct
import subprocess

BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"
STORE_DIR = "/nix/store"


class Store:
    """A store below a directory of its own. Its paths are called /nix/store/…; its files lie in
    `real_store_dir`."""

    def __init__(self, root, environment):
        self.root = pathlib.Path(root)
        self.environment = environment
        self.real_store_dir = self.root / "nix/store"
        self.nix_state_dir = self.root / "nix/var/nix"
        self.nix_store("--init")

    def nix_store(self, *arguments, **options):
        """What `nix-store` prints with these arguments, about this store."""
        command = ["nix-store", "--store", self.root, *arguments]
        run = subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, check=True, **options
        )
        return run.stdout.decode().strip()

    def add(self, path):
        return StorePath(self, self.nix_store("--add", path))

    def import_paths(self, paths):
        """Adds ExportedPaths, references first."""
        with subprocess.Popen(
            ["nix-store", "--store", self.root, "--import"],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as command:
            for path in paths:
                path.write_export(command.stdin)
            command.stdin.write(struct.pack("<Q", 0))
            command.stdin.close()
            if command.wait() != 0:
                raise subprocess.CalledProcessError(command.returncode, "nix-store --import")


class StorePath:
    """A path of a store, and the URLs of its NAR."""

    def __init__(self, store, path):
        self.path = path
        self.base_name = path.rpartition("/")[2]
        self.hash_part = self.base_name[:32]
        self.real = store.real_store_dir / self.base_name
        self.nar_hash = store.nix_store("--query", "--hash", path).removeprefix("sha256:")

    @property
    def narinfo(self):
        return f"/{self.hash_part}.narinfo"

    def nar(self, suffix=""):
        return f"/nar/{self.nar_hash}.nar{suffix}?hash={self.hash_part}"


class ExportedPath:
    """A path with a name and references of our choice, in the form that `nix-store --import` reads.
    `content` is a file's bytes or, for a directory, name → bytes."""

    def __init__(self, path, content, references):
        self.path = path
        self.content = content
        self.references = references

    def write_export(self, out):
        out.write(struct.pack("<Q", 1))
        out.write(nar(self.content))
        out.write(struct.pack("<Q", 0x4558494E))
        out.write(_string(self.path))
        out.write(struct.pack("<Q", len(self.references)))
        for reference in sorted(self.references):
            out.write(_string(reference))
        out.write(_string(""))  # no deriver
        out.write(struct.pack("<Q", 0))  # no signature


def _string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data + bytes(-len(data) % 8)


def nar(content):
    """The NAR of a file or of a directory of files."""

    def file_node(data):
        return b"".join(map(_string, ("(", "type", "regular", "contents", data, ")")))

    if isinstance(content, bytes):
        return _string("nix-archive-1") + file_node(content)
    parts = [b"".join(map(_string, ("nix-archive-1", "(", "type", "directory")))]
    for name in sorted(content):
        parts.append(b"".join(map(_string, ("entry", "(", "name", name, "node"))))
        parts.append(file_node(content[name]) + _string(")"))
    parts.append(_string(")"))
    return b"".join(parts)


def random_hash_part(chance):
    return "".join(chance.choices(BASE32, k=32))


# Executables and text, as most of a store is.

TEXT_PROBE = 4096


def _is_wanted(path):
    with open(path, "rb") as file:
        head = file.read(TEXT_PROBE)
    return bool(head) and (head.startswith(b"\x7fELF") or b"\0" not in head)


def machine_files(size):
    """Paths of executables, libraries and text files of this machine, `size` bytes in all, with the
    bytes of each. They come again from the start where the machine has too few."""
    left = size
    while left > 0:
        left_before = left
        for top in ("/usr/bin", "/usr/lib", "/usr/share"):
            for directory, directories, names in os.walk(top):
                directories.sort()
                for name in sorted(names):
                    path = os.path.join(directory, name)
                    try:
                        if os.path.islink(path) or not os.path.isfile(path) or not _is_wanted(path):
                            continue
                        with open(path, "rb") as file:
                            data = file.read(left)
                    except OSError:
                        continue
                    yield path, data
                    left -= len(data)
                    if left == 0:
                        return
        if left == left_before:
            raise RuntimeError("no readable files in /usr/bin, /usr/lib and /usr/share")


def make_file(path, size):
    """One file of executables and text. A `size` bytes long one."""
    with open(path, "wb") as out:
        for _, data in machine_files(size):
            out.write(data)


def make_tree(directory, size):
    """A tree of executables and text, `size` bytes in all."""
    directory = pathlib.Path(directory)
    for number, (path, data) in enumerate(machine_files(size)):
        target = directory / f"{number // 1000:03}" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def make_small_files(directory, count, chance):
    """`count` files of up to 4 KiB, a hundred a directory."""
    directory = pathlib.Path(directory)
    for number in range(count):
        target = directory / f"{number // 100:05}"
        if number % 100 == 0:
            target.mkdir(parents=True)
        (target / f"file-{number:06}").write_bytes(chance.randbytes(chance.randrange(4096)))


def make_closure(count, chance):
    """ExportedPaths of mixed sizes, the last of which reaches all: layers of 25, each path refers to
    up to four of the layer below. References come first."""
    layer_size = 25
    # 50 MB of executables and text, to cut contents from.
    pool = b"".join(data for _, data in machine_files(50_000_000))

    def content():
        share = chance.random()
        if share < 0.6:
            size = chance.randrange(1_000, 50_000)
        elif share < 0.9:
            size = chance.randrange(50_000, 500_000)
        else:
            size = chance.randrange(500_000, 5_000_000)
        start = chance.randrange(len(pool) - size)
        data = pool[start : start + size]
        if chance.random() < 0.3:
            return data
        parts = chance.randrange(1, 20)
        step = size // parts + 1
        return {f"part-{index:02}": data[index * step : (index + 1) * step] for index in range(parts)}

    paths = []
    below = []
    while len(paths) < count - 1:
        layer = []
        for index in range(min(layer_size, count - 1 - len(paths))):
            references = set(chance.sample(below, k=min(len(below), chance.randrange(1, 4))))
            if index < len(below):
                references.add(below[index])
            number = len(paths) + index
            name = f"{random_hash_part(chance)}-bench-{number:03}-1.{number}"
            layer.append(ExportedPath(f"{STORE_DIR}/{name}", content(), references))
        paths += layer
        # Paths that a short last layer does not reach are left to the top.
        reached = {reference for path in layer for reference in path.references}
        below = [path.path for path in layer] + [path for path in below if path not in reached]
    top = f"{STORE_DIR}/{random_hash_part(chance)}-bench-closure"
    paths.append(ExportedPath(top, {"list": "\n".join(below).encode()}, set(below)))
    return paths


def fill_database(store, count, chance):
    """Puts `count` paths into the database of an empty store, in the schema that Nix has made. Their
    files do not exist. Each has a deriver, a signature and four references: two to what came shortly
    before it, as a package and its own libraries do, two to a few that much refers to, such as a libc.
    Returns the hash parts, in no order."""
    database = sqlite3.connect(store.nix_state_dir / "db/db.sqlite")
    database.execute("pragma synchronous = off")
    database.execute("pragma cache_size = -1000000")
    hash_parts = [random_hash_part(chance) for _ in range(count)]

    def rows():
        for number, hash_part in enumerate(hash_parts, 1):
            name = f"package-{number:07}-1.{number % 100}"
            signature = chance.randbytes(48).hex()[:86] + "=="
            yield (
                number,
                f"{STORE_DIR}/{hash_part}-{name}",
                "sha256:" + chance.randbytes(32).hex(),
                1_700_000_000 + number,
                f"{STORE_DIR}/{hash_part[::-1]}-{name}.drv",
                chance.randrange(1_000, 100_000_000),
                None,
                f"cache.example.org-1:{signature}",
                None,
            )

    def references():
        for number in range(2, count + 1):
            near = {chance.randrange(max(1, number - 200), number) for _ in range(2)}
            popular = {chance.randrange(1, min(number, 500)) for _ in range(2) if number > 2}
            for reference in near | popular:
                yield number, reference

    with database:
        database.executemany("insert into ValidPaths values (?,?,?,?,?,?,?,?,?)", rows())
        database.executemany("insert into Refs values (?,?)", references())
    database.execute("pragma wal_checkpoint(truncate)")
    database.close()
    return hash_parts


def nar_sha256(path):
    """The SHA-256 of the NAR of a real path, in hexadecimal, by Nix."""
    digest = hashlib.sha256()
    with subprocess.Popen(["nix-store", "--dump", path], stdout=subprocess.PIPE) as dump:
        while piece := dump.stdout.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def seeded(name):
    """Chance that is the same in every run."""
    return random.Random(f"nixbuild {name}")
