"""Temporary folders of our own: named by their process, so that a later one can sweep what was left.

A process that is killed cannot clean up. The next one to make a folder removes those of processes
that are gone.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

_NAME = re.compile(r"gitdags-(\d+)-.+")


def make(purpose: str) -> Path:
    """A new folder of this process, its real path; the caller removes it. Sweeps first."""
    sweep()
    made = tempfile.mkdtemp(prefix=f"gitdags-{os.getpid()}-{purpose}-")
    return Path(made).resolve()  # DAG code may ask for the real path of where it is


def sweep() -> None:
    """Remove the folders of this user's processes that have ended."""
    for folder in Path(tempfile.gettempdir()).glob("gitdags-*"):
        found = _NAME.fullmatch(folder.name)
        try:
            if found and folder.lstat().st_uid == os.getuid() and not _alive(int(found[1])):
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            continue  # swept by somebody else just now


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
