"""Nix's formats, written a second time from the manual alone, to hold the program against."""

import base64
import ctypes
import hashlib
import os
import stat
import subprocess

import nacl.signing

BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"


def base32(data):
    """Nix's base-32: digits of five bits, the last first, e o t u left out."""
    length = (len(data) * 8 + 4) // 5
    number = int.from_bytes(data, "little")
    return "".join(BASE32[number >> 5 * position & 31] for position in reversed(range(length)))


def hash_part(store_path):
    return os.path.basename(store_path)[:32]


def string(data):
    return len(data).to_bytes(8, "little") + data + b"\0" * (-len(data) % 8)


def nar_chunks(path, chunk_size=1 << 20):
    """The NAR of a file, directory or symbolic link, in pieces."""
    yield string(b"nix-archive-1")
    yield from _node(os.fsencode(path), chunk_size)


def _node(path, chunk_size):
    status = os.lstat(path)
    yield string(b"(") + string(b"type")
    if stat.S_ISLNK(status.st_mode):
        yield string(b"symlink") + string(b"target") + string(os.readlink(path))
    elif stat.S_ISDIR(status.st_mode):
        yield string(b"directory")
        for name in sorted(os.listdir(path)):
            yield string(b"entry") + string(b"(") + string(b"name") + string(name)
            yield string(b"node")
            yield from _node(path + b"/" + name, chunk_size)
            yield string(b")")
    else:
        yield string(b"regular")
        if status.st_mode & stat.S_IXUSR:
            yield string(b"executable") + string(b"")
        yield string(b"contents") + status.st_size.to_bytes(8, "little")
        with open(path, "rb") as file:
            while chunk := file.read(chunk_size):
                yield chunk
        yield b"\0" * (-status.st_size % 8)
    yield string(b")")


def nar(path):
    return b"".join(nar_chunks(path))


def nar_hash(path):
    """(sha256 digest, size) of the NAR of `path`."""
    digest, size = hashlib.sha256(), 0
    for chunk in nar_chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return digest.digest(), size


def parse_narinfo(text):
    """The fields of a narinfo; References as a list, Sig as a list of all lines."""
    fields = {"Sig": []}
    for line in text.splitlines():
        name, separator, value = line.partition(": ")
        assert separator or line.endswith(":"), f"not a narinfo line: {line!r}"
        name = name.rstrip(":")
        if name == "Sig":
            fields["Sig"].append(value)
        else:
            assert name not in fields, f"{name} is there twice"
            fields[name] = value
    fields["References"] = fields.get("References", "").split()
    return fields


def fingerprint(store_dir, fields):
    references = ",".join(sorted(f"{store_dir}/{name}" for name in fields["References"]))
    return ";".join(
        ["1", fields["StorePath"], fields["NarHash"], fields["NarSize"], references]
    ).encode()


def verifies(public_key, signature, message):
    """Whether `signature` (NAME:BASE64) over `message` is that of `public_key` (NAME:BASE64)."""
    key_name, _, key = public_key.partition(":")
    signature_name, _, value = signature.partition(":")
    if key_name != signature_name:
        return False
    try:
        nacl.signing.VerifyKey(base64.b64decode(key)).verify(message, base64.b64decode(value))
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def decompress(data, compression):
    command = {"none": None, "zstd": ["zstd", "-dc"], "xz": ["xz", "-dc"], "bzip2": ["bzip2", "-dc"]}
    if command[compression] is None:
        return data
    return subprocess.run(command[compression], input=data, stdout=subprocess.PIPE, check=True).stdout


def nar_name(nar_hash, suffix):
    """The file's name in the URL of a NAR compressed at the default level by the libraries of this system."""
    if suffix == ".zst":
        recipe = f"-z3v{ctypes.CDLL('libzstd.so.1').ZSTD_versionNumber()}"
    elif suffix == ".xz":
        recipe = f"-x6v{ctypes.CDLL('liblzma.so.5').lzma_version_number()}"
    else:
        recipe = ""
    return f"{nar_hash}{recipe}.nar{suffix}"
