"""Mounting from the outside: what is checked first, going to the background, taking it down."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from fuse_mount import clerk, device, mounts
from fuse_mount.repositories import MountedRepository
from fuse_mount.supervisor import Plan, Supervisor
from gitdags.errors import GitdagsError, shown
from gitdags.git import Repository

__all__ = ["BadMountpoint", "NotMounted", "choose", "located", "mount", "stale_mounts", "unmount"]

_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_EXPORT = "gitdags export REV DIR   # the same files without a mount"


class BadMountpoint(GitdagsError):
    """The directory cannot be mounted on."""


class NotMounted(GitdagsError):
    """There is no mount of gitdags at the path."""


def choose(backend: str) -> Literal["kernel", "libfuse"]:
    """The adapter that ``auto`` means here. Raises device.NoDevice where neither works."""
    if backend in ("kernel", "libfuse"):
        return backend  # type: ignore[return-value]  # just tested
    if (
        sys.platform == "linux"
        and sys.byteorder == "little"
        and platform.architecture()[0] == "64bit"
    ):
        return "kernel"
    try:
        from fuse_mount import libfuse

        libfuse.library()
    except GitdagsError as error:
        raise device.NoDevice(
            f"neither the kernel's own protocol nor libfuse works here: {error.message}",
            hint=_EXPORT,
        ) from None
    return "libfuse"


def located(mountpoint: str) -> str:
    """A mountpoint as /proc names it: absolute, links followed, what is mounted not touched.

    Looking at the mountpoint would wait for its server, which may be what is wrong.
    """
    path = Path(mountpoint).absolute()
    if path.name in ("", ".."):
        return os.path.realpath(path)
    place = str(Path(os.path.realpath(path.parent)) / path.name)
    if mounts.type_at(place) is None and os.path.islink(place):
        return os.path.realpath(place)  # mount(2) follows it, so /proc will name its target
    return place


def check(plan: Plan) -> None:
    """Raises BadMountpoint, NoDevice or MountFailed for what cannot be mounted, touching nothing."""
    where = shown(plan.mountpoint)
    kind = mounts.type_at(plan.mountpoint)
    if kind == device.FSTYPE and plan.mountpoint in mounts.stale():
        raise BadMountpoint(
            f"{where} is a mount whose server has died",
            hint=f"gitdags umount --lazy {shlex.quote(plan.mountpoint)}",
        )
    if kind is not None:
        place = shlex.quote(plan.mountpoint)
        hint = f"gitdags umount {place}" if kind == device.FSTYPE else f"umount {place}"
        raise BadMountpoint(f"{where} is mounted already ({kind})", hint=hint)
    try:
        entries = os.listdir(plan.mountpoint)
    except OSError as error:
        place = shlex.quote(plan.mountpoint)
        hint = f"mkdir -p {place}" if error.errno == errno.ENOENT else f"ls -ld {place}"
        raise BadMountpoint(f"{where}: {error.strerror}", hint=hint) from None
    if entries:
        raise BadMountpoint(f"{where} is not empty", hint=f"ls -A {shlex.quote(plan.mountpoint)}")
    if not device.privileged() and not os.access(plan.mountpoint, os.W_OK):
        raise BadMountpoint(f"{where} is not yours to mount on", hint=f"ls -ld {where}")
    device.check(plan.allow_other)
    if plan.backend == "libfuse":
        from fuse_mount import libfuse

        libfuse.library()


def mount(
    plan: Plan,
    repositories: clerk.Repositories,
    *,
    moves: clerk.Moves | None = None,
    foreground: bool = False,
    log_file: Path | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Mounts; returns once files can be read, or with ``foreground`` when it is unmounted.

    ``repositories`` and ``moves`` are called in a process of their own, again and again. ``note``
    gets what is amiss but no reason to give up. Raises GitdagsError.
    """
    check(plan)
    if foreground:
        logging.basicConfig(format=_FORMAT, level=logging.INFO)
        Supervisor(plan, repositories, moves).run(lambda known: _warn(known, note))
        return
    _check_log(log_file)
    receive, send = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(send)
        with os.fdopen(receive, "rb") as pipe:
            message = pipe.readline()  # not to the end: server and clerk inherit the other side
        _outcome(json.loads(message) if message else None, plan, log_file, note)
        return
    os.close(receive)
    _background(plan, repositories, moves, log_file, send)


def _check_log(log_file: Path | None) -> None:
    """Raises MountFailed where messages could not be written once nobody looks on."""
    if log_file is None:
        return
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab"):
            return
    except OSError as error:
        raise device.MountFailed(
            f"cannot write {shown(str(log_file))}: {error.strerror}",
            hint=f"ls -ld {shlex.quote(str(log_file.parent))}",
        ) from None


def _outcome(
    said: dict[str, object] | None, plan: Plan, log_file: Path | None, note: Callable[[str], None]
) -> None:
    if said is None:
        raise device.MountFailed(
            f"mounting on {shown(plan.mountpoint)} ended without a word", hint=f"tail {log_file}"
        )
    if "message" in said:
        raise device.MountFailed(str(said["message"]), hint=str(said["hint"]))
    for line in said["notes"]:  # type: ignore[attr-defined]  # a list of text, as _background wrote it
        note(line)


def _background(
    plan: Plan,
    repositories: clerk.Repositories,
    moves: clerk.Moves | None,
    log_file: Path | None,
    pipe: int,
) -> None:
    """The daemon's whole life, in the forked process; never returns."""
    told = False

    def tell(message: dict[str, object]) -> None:
        nonlocal told
        if not told:
            told = True
            os.write(pipe, json.dumps(message).encode() + b"\n")
            os.close(pipe)

    def ready(known: Sequence[MountedRepository]) -> None:
        notes: list[str] = []
        _warn(known, notes.append)
        tell({"notes": notes})

    code = 70
    try:
        os.setsid()
        os.chdir("/")
        _redirect(log_file)
        Supervisor(plan, repositories, moves).run(ready)
        code = 0
    except GitdagsError as error:
        tell({"message": error.message, "hint": error.hint})
        logging.getLogger("gitdags.mount").error("%s", error.message)
        code = error.exit_code
    except BaseException as error:
        logging.getLogger("gitdags.mount").error("bug", exc_info=True)
        tell({"message": f"a bug: {error!r}", "hint": f"tail {log_file}"})
    finally:
        logging.shutdown()
        os._exit(code)


def _redirect(log_file: Path | None) -> None:
    """Lets go of the terminal: standard input and output go nowhere, messages to the log."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    target = nowhere
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.dup2(target, 2)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    logging.basicConfig(format=_FORMAT, level=logging.INFO, force=True)


def _warn(known: Sequence[MountedRepository], note: Callable[[str], None]) -> None:
    if not known:
        note("no repository is registered yet; each appears once `gitdags init PATH` has run")
    for each in known:
        try:
            Repository(each.path)
        except GitdagsError as error:
            note(f"{each.name} is shown but cannot be read: {error.message}")


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Takes a mount of gitdags down. Raises NotMounted, or device.Busy naming who holds it."""
    where = shown(mountpoint)
    if mounts.type_at(mountpoint) != device.FSTYPE:
        raise NotMounted(f"gitdags has mounted nothing on {where}", hint="findmnt -t fuse.gitdags")
    try:
        device.unmount(mountpoint, lazy=lazy)
    except device.Busy as busy:
        users = ", ".join(mounts.holders(mountpoint)) or "a process you may not look at"
        raise device.Busy(f"{where} is in use by {users}", hint=busy.hint) from None


def stale_mounts() -> list[str]:
    """Mountpoints of gitdags whose server is gone or does not answer, for `gitdags doctor`."""
    return mounts.stale()
