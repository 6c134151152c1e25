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

    id: str
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
        number, where = fields[0].decode(), os.fsdecode(path)
        entries.append(MountEntry(number, where, kind.decode(), fields[2].decode()))
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

    Reads /proc alone, so that a dead mount cannot make it hang.
    """
    mount = next((entry.id for entry in reversed(mounted()) if entry.path == path), "")
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        use = _use(process, path, mount)
        if use is not None:
            with contextlib.suppress(OSError):
                name = (process / "comm").read_text().strip()
                found.append(f"{name} (pid {process.name}, {use})")
        if len(found) >= limit:
            break
    return found


def _use(process: Path, path: str, mount: str) -> str | None:
    """How a process uses a mount; by the mount's id, as a path may be what the mount covers."""
    try:
        if _mount_of(process / "cwd") == mount:
            return "working directory"
        if _mount_of(process / "root") == mount:
            return "root directory"
        if any(_mount_in(each) == mount for each in (process / "fdinfo").iterdir()):
            return "open file"
        if f" {path.rstrip('/')}/" in (process / "maps").read_text(errors="replace"):
            return "mapped file"
    except OSError:
        return None  # another user's, or ended just now
    return None


def _mount_of(link: Path) -> str:
    """The id of the mount that a link of /proc leads into. O_PATH asks no server."""
    descriptor = os.open(link, os.O_PATH | os.O_CLOEXEC)
    try:
        return _mount_in(Path(f"/proc/self/fdinfo/{descriptor}"))
    finally:
        os.close(descriptor)


def _mount_in(info: Path) -> str:
    for line in info.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "mnt_id":
            return value.strip()
    return ""
