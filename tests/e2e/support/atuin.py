"""Real Atuin, where it is installed: on this machine or in the newer Nix's root directory."""

import os
import shutil
import subprocess

from support.nix import NEWER_NIX


def atuin_command(root):
    """A prefix that runs `atuin` with `root` in sight at the same path, or why there is none."""
    if shutil.which("atuin"):
        return ["atuin"], None
    prefix = [str(NEWER_NIX), "--run", "--bind", str(root), "atuin"]
    done = subprocess.run([*prefix, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "HOME": str(root)})  # fmt: skip
    return (prefix, None) if done.returncode == 0 else (None, f"no Atuin: {done.stderr.strip() or done.returncode}")


# A stand-in with the few commands that `aliases` uses, as Atuin 18.6 answers them. Its account is a
# directory that machines share by `sync`: a file an alias, one a key.
STAND_IN = r"""#!/usr/bin/env python3
import json, os, pathlib, sys
home = pathlib.Path(os.environ["HOME"])
file = home / "atuin-stand-in.json"
state = json.loads(file.read_text()) if file.exists() else {"aliases": {}, "kv": {}}
words = [word for word in sys.argv[1:] if word != "--"]
with open(home / "atuin-calls", "a") as calls:
    calls.write(" ".join(words[:3]) + "\n")
flags = set((home / "atuin-is").read_text().split()) if (home / "atuin-is").exists() else set()
if words[:2] == ["dotfiles", "alias"]:
    if "old" in flags:
        sys.exit("error: unrecognized subcommand 'dotfiles'")
    if "disabled" in flags:
        print("Dotfiles are not enabled. Add\n\n[dotfiles]\nenabled = true", file=sys.stderr)
        sys.exit(0)
    if words[2] == "set" and "deaf" not in flags:
        state["aliases"][words[3]] = words[4]
    elif words[2] == "delete":
        state["aliases"].pop(words[3], None)
    elif words[2] == "list":
        print("".join(f"{name}={command}\n" for name, command in sorted(state["aliases"].items())), end="")
elif words[:2] == ["kv", "set"]:
    state["kv"][words[words.index("--key") + 1]] = words[-1]
elif words[:2] == ["kv", "get"]:
    print(state["kv"].get(words[-1], ""))
elif words[0] == "sync" and "logged-out" in flags:
    sys.exit('Error: a request to the sync server failed: "Tried to load session; not logged in"\n\nLocation:\n    x.rs')
elif words[0] == "sync" and "unreachable" in flags:
    sys.exit('Error: a request to the sync server failed: "error sending request for url (http://x/)"\n\nLocation:\n    x')
file.write_text(json.dumps(state))
"""
