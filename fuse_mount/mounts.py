"""What the kernel says is mounted, who uses it, and which of our mounts are dead."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fuse_mount.device import FSTYPE

_PATIENCE = 2.0  # seconds a healthy server needs by far less of


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of /proc/self/mountinfo."""

    path: str
    type: str
    device: str
    """major:minor, which no other mount has while this one is there"""


def mounted() -> list[MountEntry]:
    """Everything mounted, in the order it was."""
    entries = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields = line.split(b" ")
        kind = fields[fields.index(b"-") + 1]
        path = fields[4].replace(b"\\040", b" ").replace(b"\\011", b"\t")
        path = path.replace(b"\\012", b"\n").replace(b"\\134", b"\\")
        entries.append(MountEntry(os.fsdecode(path), kind.decode(), fields[2].decode()))
    return entries


def type_at(path: str) -> str | None:
    """The type of the file system mounted on a path, the topmost; None where none is."""
    return next((entry.type for entry in reversed(mounted()) if entry.path == path), None)


def device_at(path: str) -> str | None:
    """major:minor of the file system mounted on a path, the topmost; None where none is."""
    return next((entry.device for entry in reversed(mounted()) if entry.path == path), None)


def ours() -> list[str]:
    """The mountpoints of gitdags."""
    return [entry.path for entry in mounted() if entry.type == FSTYPE]


def stale() -> list[str]:
    """Our mountpoints whose server is gone or does not answer. Never hangs."""
    return [path for path in ours() if not _answers(path)]


def _answers(path: str) -> bool:
    # A process of its own: one that waits for a dead server cannot be ended, only left behind.
    code = "import os,sys; os.statvfs(sys.argv[1])"
    probe = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return probe.wait(_PATIENCE) == 0
    except subprocess.TimeoutExpired:
        probe.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            probe.wait(0.1)
        return False


def holders(path: str, limit: int = 5) -> list[str]:
    """Who uses a mount: ``python3 (pid 4711, working directory)``; only processes we may look at.

    Reads links of /proc alone, so that a dead mount cannot make it hang.
    """
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        use = _use(process, path)
        if use is not None:
            with contextlib.suppress(OSError):
                name = (process / "comm").read_text().strip()
                found.append(f"{name} (pid {process.name}, {use})")
        if len(found) >= limit:
            break
    return found


def _use(process: Path, path: str) -> str | None:
    def below(link: Path) -> bool:
        try:
            target = os.readlink(link)
        except OSError:
            return False
        return target == path or target.startswith(path.rstrip("/") + "/")

    if below(process / "cwd"):
        return "working directory"
    if below(process / "root"):
        return "root directory"
    try:
        if any(below(link) for link in (process / "fd").iterdir()):
            return "open file"
        if f" {path.rstrip('/')}/" in (process / "maps").read_text(errors="replace"):
            return "mapped file"
    except OSError:
        return None  # another user's, or ended just now
    return None
