"""Checks that the includes in src/ keep to the layers of docs/architecture.md.

    layers.py [SOURCE_DIRECTORY]

The page has one fenced block marked `layers`, with one line for each folder of src: the folder, then
what it may include besides itself: a folder, all of its folders (`common`), or a single header. A
folder may only name those above it, so there are no cycles. Prints what is wrong and exits 1, or
prints the number of files.
"""

import pathlib
import re
import sys

BLOCK = re.compile(r"^```layers\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


class Layers:
    def __init__(self, page):
        blocks = BLOCK.findall(page)
        if len(blocks) != 1:
            raise SystemExit(f"docs/architecture.md has {len(blocks)} blocks marked ```layers (expected 1)")
        self.allowed = {}
        for line in blocks[0].splitlines():
            if not line.strip():
                continue
            folder, *below = line.split()
            for name in below:
                if not any(within(name, known) or within(known, name) for known in self.allowed):
                    raise SystemExit(f"docs/architecture.md: {folder} may only include folders above it, not {name}")
            self.allowed[folder] = below

    def folder(self, path):
        """The folder with a line of its own that `path` is in, or None."""
        return next((str(parent) for parent in path.parents if str(parent) in self.allowed), None)

    def refuses(self, file, included):
        folder = self.folder(file)
        return not any(within(str(included), name) for name in [folder, *self.allowed[folder]])


def within(path, folder):
    return path == folder or path.startswith(folder + "/")


def check(source):
    layers = Layers((source / "docs/architecture.md").read_text())
    src = source / "src"
    problems = []
    files = sorted(file for file in src.rglob("*") if file.suffix in (".hpp", ".cpp"))
    for file in files:
        path = file.relative_to(src)
        if layers.folder(path) is None:
            problems.append(f"src/{path}: docs/architecture.md has no layer for its folder")
            continue
        text = file.read_text()
        for match in INCLUDE.finditer(text):
            included = pathlib.PurePath(match[1])
            known = layers.folder(included) is not None
            if ".." in included.parts or (known and layers.refuses(path, included)):
                line = text.count("\n", 0, match.start(1)) + 1
                problems.append(f"src/{path}:{line}: {layers.folder(path)} may not include {included}")
    return files, problems


def main():
    source = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    files, problems = check(source if source.is_dir() else source.parents[2])
    if problems:
        print("\n".join(problems))
        raise SystemExit(1)
    print(len(files))


if __name__ == "__main__":
    main()
