"""A plain checkout that DAG files lie in: its HEAD, read without Git, and whether files were changed."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gitdags.model import is_sha

log = logging.getLogger("gitdags.listener")

_SECONDS = 20.0  # that `git status` may take in a large repository


@dataclass(frozen=True, slots=True)
class WorkingTree:
    """The checkout that a file lies in, and the commit it stands at."""

    top: Path
    commit: str

    def if_dirty(self, then: Callable[[], None]) -> None:
        """Look for changes that no commit has, in the background; call ``then`` if there are any."""
        threading.Thread(
            target=self._look, args=(then,), name="gitdags-status", daemon=True
        ).start()

    def _look(self, then: Callable[[], None]) -> None:
        words = ["git", "--no-optional-locks", "-C", str(self.top), "status", "--porcelain"]
        try:
            done = subprocess.run(
                words, capture_output=True, timeout=_SECONDS, check=True, env=_environment()
            )
        except (OSError, subprocess.SubprocessError) as error:
            log.debug("gitdags: %s: %s", self.top, error)
            return
        if done.stdout.strip():
            then()


def find(path: str) -> WorkingTree | None:
    """The checkout that a path lies in, by a few reads; None where there is none, or no commit yet."""
    for folder in Path(path).parents:
        git_dir = folder / ".git"
        try:
            if git_dir.is_file():  # a linked worktree, or a submodule
                text = git_dir.read_text().removeprefix("gitdir:").strip()
                git_dir = folder / text
            elif not git_dir.is_dir():
                continue
            commit = _head(git_dir)
        except OSError:
            return None
        return WorkingTree(folder, commit) if commit else None
    return None


def _head(git_dir: Path) -> str | None:
    """What HEAD leads to: gitrepository-layout(5), loose refs before packed ones."""
    common = git_dir
    if (git_dir / "commondir").exists():
        common = git_dir / (git_dir / "commondir").read_text().strip()
    text = (git_dir / "HEAD").read_text().strip()
    for _ in range(5):  # as deep as git follows symbolic refs
        if not text.startswith("ref:"):
            return text if is_sha(text) else None
        name = text.removeprefix("ref:").strip()
        loose = common / name
        if loose.is_file():
            text = loose.read_text().strip()
            continue
        packed = common / "packed-refs"
        lines = packed.read_text().splitlines() if packed.is_file() else []
        return next((line[:40] for line in lines if line[41:] == name), None)
    return None


def _environment() -> dict[str, str]:
    """Without the variables that lead git to another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
