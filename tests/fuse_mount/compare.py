"""What a commit holds according to git, and what a directory holds according to the kernel."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

Contents = dict[bytes, tuple[str, bytes]]
"""path -> (mode as git writes it, bytes or link target); submodules have no bytes"""


def in_git(repository: Path, commit: str) -> Contents:
    """`git ls-tree -rz` with `git cat-file --batch`."""
    git = ["git", "-C", str(repository)]
    listed = subprocess.run([*git, "ls-tree", "-rz", commit], capture_output=True, check=True)
    found: Contents = {}
    wanted = []
    for line in listed.stdout.split(b"\0")[:-1]:
        head, _, path = line.partition(b"\t")
        mode, kind, oid = head.decode().split()
        if kind == "blob":
            wanted.append((path, mode, oid))
        else:
            found[path] = (mode, b"")
    batch = subprocess.run(
        [*git, "cat-file", "--batch"],
        input="".join(f"{oid}\n" for _, _, oid in wanted).encode(),
        capture_output=True,
        check=True,
    ).stdout
    at = 0
    for path, mode, _ in wanted:
        end = batch.index(b"\n", at)
        size = int(batch[at:end].split()[2])
        found[path] = (mode, batch[end + 1 : end + 1 + size])
        at = end + size + 2
    return found


def in_folder(top: Path) -> Contents:
    """Everything below a directory; an empty one counts as a submodule."""
    found: Contents = {}
    root = os.fsencode(top)

    def visit(folder: bytes, prefix: bytes) -> None:
        entries = list(os.scandir(folder))
        if not entries and prefix:
            found[prefix[:-1]] = ("160000", b"")
        for entry in entries:
            path = prefix + entry.name
            if entry.is_symlink():
                found[path] = ("120000", os.readlink(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                visit(entry.path, path + b"/")
            else:
                with open(entry.path, "rb") as file:
                    data = file.read()
                    status = os.fstat(file.fileno())
                assert status.st_size == len(data)
                found[path] = ("100755" if status.st_mode & stat.S_IXUSR else "100644", data)

    visit(root, b"")
    return found
