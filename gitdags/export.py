"""A commit's tree as plain files, for hosts without FUSE: written aside, then put in place."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from gitdags.checkout import Checkout
from gitdags.errors import GitdagsError
from gitdags.git import Repository


class CannotExport(GitdagsError):
    """The folder to export to is in use, or cannot be written."""


def write(repo: Repository, tree: str, folder: Path) -> tuple[int, list[bytes]]:
    """Write a tree to ``folder``, absent or empty before.

    (files written, paths left out: names no file system may see, or this one cannot hold).

    Raises CannotExport, TreeTooLarge or MissingObject, and leaves nothing half-written.
    """
    folder = folder.absolute()
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CannotExport(f"{folder} is no folder", hint=f"ls -ld {folder}")
    if folder.exists() and any(folder.iterdir()):
        raise CannotExport(f"{folder} is not empty", hint=f"ls {folder}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _cannot(folder, error) from None
    try:
        checkout = Checkout(repo, aside)
        written = checkout.move(tree) - len(checkout.skipped)
        # Takes the place of an empty folder, of nothing else.
        os.replace(checkout.folder, folder)
    except OSError as error:
        raise _cannot(folder, error) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return written, sorted([*checkout.skipped, *repo.dropped(tree)])


def _cannot(folder: Path, error: OSError) -> CannotExport:
    return CannotExport(f"cannot write {folder}: {error.strerror}", hint=f"df -h {folder.parent}")
