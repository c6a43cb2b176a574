"""A store with one path of every kind, made by real Nix."""

import os
import random
import subprocess

from support import oracle

EXPRESSION = r"""
{ directory }:
let
  make = name: attributes: script: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-e" "-c" script ];
    PATH = "/usr/bin:/bin";
  } // attributes);
in rec {
  text = builtins.toFile "text.txt" "a text without references\n";
  note = builtins.toFile "note.txt" "a text that refers to ${text}\n";
  lib = make "lib-1.0" { } ''
    echo building lib, with a word to find in the log: marmalade
    mkdir -p $out/lib
    echo library > $out/lib/library
    echo $out > $out/lib/self
  '';
  tool = make "tool-1.0" { inherit lib note; } ''
    mkdir -p $out/bin
    printf '#!/bin/sh\necho %s\n' $lib > $out/bin/tool
    chmod +x $out/bin/tool
    ln -s $lib/lib/library $out/library
    ln -s $note $out/note
  '';
  app = make "app-1.0" { inherit lib tool; outputs = [ "out" "dev" ]; } ''
    mkdir $out $dev
    echo $lib $tool $out > $out/references
    echo $out > $dev/out
  '';
  fixedFlat = make "fixed-flat" {
    outputHashMode = "flat";
    outputHashAlgo = "sha256";
    outputHash = builtins.hashString "sha256" "fixed\n";
  } "echo fixed > $out";
  fixedTree = make "fixed-tree" {
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
    outputHash = "@TREE_HASH@";
  } "mkdir $out; echo fixed > $out/file; chmod 644 $out/file";
  addressed = make "addressed-1.0" {
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
    inherit lib;
  } "mkdir $out; echo addressed by its content, beside $lib > $out/file";
  unbuilt = make "unbuilt" { } "echo never built > $out";
  blob = builtins.path { path = directory + "/blob"; name = "blob"; };
  executable = builtins.path { path = directory + "/executable"; name = "executable"; };
  many = make "many" {
    parts = builtins.genList (n: builtins.toFile "part-${toString n}" "part ${toString n}\n") 60;
  } "echo $parts > $out";
}
"""

BLOB_SIZE = 3 << 19


def make_inputs(directory):
    """The files that store paths are made from."""
    directory.mkdir()
    generator = random.Random(1)
    # Half of it cannot be compressed, half can.
    noise = generator.randbytes(BLOB_SIZE // 2)
    words = b" ".join(generator.choice([b"nix", b"store", b"cache", b"path"]) for _ in range(BLOB_SIZE // 8))
    (directory / "blob").write_bytes(noise + words[: BLOB_SIZE // 2])
    (directory / "executable").write_text("#!/bin/sh\necho executable\n")
    (directory / "executable").chmod(0o755)
    make_tree(directory / "tree")
    make_odd_names(directory / "odd-names")


def make_tree(tree):
    (tree / "sub/empty-directory").mkdir(parents=True)
    for size in (0, 1, 7, 8, 9, 4095, 4096, 4097, 65536, 200_001):
        (tree / f"size-{size}").write_bytes(random.Random(size).randbytes(size))
    (tree / "sub/executable").write_text("#!/bin/sh\n")
    (tree / "sub/executable").chmod(0o755)
    (tree / "link-to-file").symlink_to("size-1")
    (tree / "link-out").symlink_to("/nowhere/at all")
    (tree / "sub/link-up").symlink_to("..")
    for name in ("a b", "ümläut", "日本", "emoji 🦊", "quote\"'\\", "new\nline", "A", "-rf", "%2e%2e", ".hidden", "~x"):
        (tree / name).write_text(name)


def make_odd_names(tree):
    """Names that are no UTF-8."""
    tree.mkdir()
    for name in (b"latin-\xe9", b"\xff\xfe", b"plain"):
        with open(os.path.join(os.fsencode(tree), name), "wb") as file:
            file.write(name)


class Sample:
    """Store paths by name: sample.lib, sample.app, …; `all` is every one of them."""

    def __init__(self, store, directory):
        self.store = store
        inputs = directory / "inputs"
        make_inputs(inputs)
        fixed = directory / "fixed"
        fixed.mkdir()
        (fixed / "file").write_text("fixed\n")
        tree_hash = subprocess.run(
            ["nix-hash", "--type", "sha256", "--base32", fixed],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        expression = directory / "sample.nix"
        expression.write_text(EXPRESSION.replace("@TREE_HASH@", tree_hash))

        self.paths = {}
        self.drvs = {}
        arguments = [expression, "--argstr", "directory", str(inputs)]
        derivations = ["lib", "tool", "app", "app.dev", "fixedFlat", "fixedTree", "addressed", "many"]
        attributes = [option for name in derivations for option in ("-A", name)]
        built = store.run("nix-build", "--no-out-link", *arguments, *attributes).splitlines()
        for store_path in built:
            name = os.path.basename(store_path)[33:]
            self.paths[{"app-1.0-dev": "app_dev"}.get(name, name.removesuffix("-1.0").replace("-", "_"))] = store_path
        for name in ("text", "note", "blob", "executable"):
            value = store.run(
                "nix-instantiate", "--eval", "--read-write-mode", "--json", *arguments, "-A", name
            )
            self.paths[name] = value.strip('"')
        for name in ("tree", "odd-names"):
            self.paths[name.replace("-", "_")] = store.add(inputs / name)
        for name in ("lib", "app", "addressed", "unbuilt"):
            self.drvs[name] = store.run("nix-instantiate", *arguments, "-A", name)

    def __getattr__(self, name):
        try:
            return self.paths[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def all(self):
        return list(self.paths.values())

    def check_copies(self, client, store_paths):
        for path in store_paths:
            assert oracle.nar_hash(client.real(path)) == oracle.nar_hash(self.store.real(path)), path
