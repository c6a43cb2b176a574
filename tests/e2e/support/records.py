"""Build records, signed by hand: with openssl, so that nothing of the program takes part."""

import base64
import json
import subprocess
import tempfile

PREFIX = b"nixbuild-record-1\n"
PKCS8_OF_ED25519 = bytes.fromhex("302e020100300506032b657004220420")


def canonical(record):
    return json.dumps(record, separators=(",", ":"))


def sign(secret_key, text, prefix=PREFIX):
    """`secret_key` is Nix's NAME:BASE64 of seed and public half."""
    name, _, encoded = secret_key.strip().partition(":")
    seed = base64.b64decode(encoded)[:32]
    with tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as message:
        key.write(PKCS8_OF_ED25519 + seed)
        key.flush()
        message.write(prefix + text.encode())
        message.flush()
        done = subprocess.run(
            ["openssl", "pkeyutl", "-sign", "-inkey", key.name, "-keyform", "DER", "-rawin", "-in", message.name],
            check=True, capture_output=True,
        )  # fmt: skip
    return f"{name}:{base64.b64encode(done.stdout).decode()}"


def signed(secret_key, record):
    """The answer of GET /builds/ID/record, for a record as a dictionary or as text."""
    text = record if isinstance(record, str) else canonical(record)
    return {"record": text, "signatures": [sign(secret_key, text)]}
