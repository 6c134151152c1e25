"""How much memory a process and its descendants hold, and how much disk a folder: looks, only."""

from __future__ import annotations

import os
import re

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROPORTIONAL = re.compile(rb"^Pss:\s+(\d+) kB", re.M)


def holds_more(pid: int, limit: int) -> bool:
    """Whether a process and its descendants hold more than ``limit`` bytes.

    First by resident pages, which are cheap to read and count shared ones once a process; only
    when those are over the limit by proportional ones, which say what they really hold together.
    """
    family = _family(pid)
    return sum(map(_resident, family)) > limit and sum(_proportional(one) for one in family) > limit


def fills_more(folder: str, limit: int) -> bool:
    """Whether the files below a folder take more than ``limit`` bytes of disk."""
    taken = 0
    stack = [folder]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    taken += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    if taken > limit:
                        return True
        except OSError:
            continue  # gone, or closed to us: it belongs to a file that is still at work
    return False


def _family(pid: int) -> list[int]:
    """A process and its descendants, as far as they are still there."""
    found = [pid]
    for one in found:
        try:
            threads = os.listdir(f"/proc/{one}/task")
            for thread in threads:
                with open(f"/proc/{one}/task/{thread}/children", "rb") as file:
                    found += map(int, file.read().split())
        except OSError:
            continue  # it has ended
    return found


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0  # it has ended


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            found = _PROPORTIONAL.search(file.read())
            return int(found[1]) * 1024 if found else 0
    except OSError:
        return _resident(pid)  # it may not be asked: its own count is the most it can be
