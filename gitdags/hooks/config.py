"""The repository's own git configuration: what an installation changes in it, and undoing that.

If nobody else has changed the file in between it is put back byte for byte; else only what was added
is taken out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitdags import program
from gitdags.git import OURS
from gitdags.program import GitFailed

HIDDEN = (("transfer.hideRefs", OURS.rstrip("/")), ("log.excludeDecoration", OURS))
"""So that neither those who fetch from the repository nor `git log` see refs of gitdags' own."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was changed in a configuration; goes into the record of the installation."""

    added: tuple[tuple[str, str], ...]
    """(key, value)"""
    hooks_path: str | None
    """ours, where core.hooksPath was set to it"""
    former: str | None
    """what core.hooksPath was in this file"""
    after: str
    """SHA-256 of the file with our changes"""

    @classmethod
    def of(cls, saved: Any) -> Change:
        """The change that was written down as JSON."""
        pairs = tuple((str(key), str(value)) for key, value in saved["added"])
        return cls(pairs, saved["hooks_path"], saved["former"], saved["after"])


def effective_hooks_path(path: Path) -> str | None:
    """core.hooksPath as it holds in the repository, whoever set it."""
    code, value = program.asks(path, "config", "--type=path", "--get", "core.hooksPath")
    return os.fsdecode(value.removesuffix(b"\n")) if code == 0 else None


def change(common: Path, backup: Path, hooks_path: str | None) -> Change:
    """Hide our refs, lead git to ``hooks_path`` if that is given; the file as it was goes to ``backup``.

    Raises GitFailed.
    """
    file = common / "config"
    shutil.copy2(file, backup)
    os.chmod(backup, 0o600)  # URLs in it may hold passwords
    added = tuple(pair for pair in HIDDEN if pair[1] not in values(common, pair[0]))
    former = next(iter(values(common, "core.hooksPath")), None)
    for key, value in added:
        program.run(common, "config", "--file", str(file), "--add", key, value)
    if hooks_path is not None:
        program.run(common, "config", "--file", str(file), "core.hooksPath", hooks_path)
    return Change(added, hooks_path, former, _digest(file))


def restore(common: Path, backup: Path, made: Change) -> bool:
    """Undo a change; whether the file is as it was, byte for byte. Raises GitFailed, OSError."""
    file = common / "config"
    if backup.exists() and _digest(file) == made.after:
        with _lock(file) as lock:
            shutil.copyfile(backup, lock)
            shutil.copymode(file, lock)
            os.replace(lock, file)
        return True
    for key, value in made.added:
        if value in values(common, key):
            words = ("config", "--file", str(file), "--fixed-value", "--unset", key, value)
            program.run(common, *words)
    if made.hooks_path is not None and made.hooks_path in values(common, "core.hooksPath"):
        if made.former is None:
            program.run(common, "config", "--file", str(file), "--unset", "core.hooksPath")
        else:
            program.run(common, "config", "--file", str(file), "core.hooksPath", made.former)
    return False


def values(common: Path, key: str) -> list[str]:
    """Every value of a key in the repository's own configuration."""
    words = ("config", "--file", str(common / "config"), "--null", "--get-all", key)
    code, found = program.asks(common, *words)
    return [os.fsdecode(value) for value in found.split(b"\0")[:-1]] if code == 0 else []


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


class _lock(contextlib.AbstractContextManager[Path]):
    """git's own lock on a file: ``FILE.lock``, made by nobody else."""

    def __init__(self, file: Path) -> None:
        self.path = file.with_name(file.name + ".lock")

    def __enter__(self) -> Path:
        for attempt in range(50):
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                time.sleep(0.02 * (attempt < 49))
            else:
                return self.path
        raise GitFailed(f"{self.path} is there: another git changes it", hint=f"ls -l {self.path}")

    def __exit__(self, *error: object) -> None:
        self.path.unlink(missing_ok=True)
