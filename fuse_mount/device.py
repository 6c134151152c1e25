"""Mounting and unmounting, as root through mount(2), as anyone else through fusermount3.

Owns the /dev/fuse descriptor's birth and the mountpoint's end; never reads a request.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import shutil
import socket
import subprocess
from pathlib import Path

from gitdags.errors import GitdagsError, shown

FSTYPE = "fuse.gitdags"
_DEVICE = "/dev/fuse"
_MS_RDONLY, _MS_NOSUID, _MS_NODEV = 1, 2, 4
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_MAX_READ = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class NoDevice(GitdagsError):
    """The kernel's FUSE device cannot be used."""


class MountFailed(GitdagsError):
    """The kernel or fusermount3 refused to mount."""


class Busy(GitdagsError):
    """Something is still in use below the mountpoint."""


def privileged() -> bool:
    """Whether mount(2) is worth trying: root, though a container's root may still be refused."""
    return os.geteuid() == 0


def check(allow_other: bool = False) -> None:
    """Raises NoDevice or MountFailed where a mount cannot succeed, before anything is done."""
    try:
        os.stat(_DEVICE)
    except OSError:
        raise NoDevice(
            f"{_DEVICE} is missing: the kernel has no FUSE, or this container was not given it",
            hint="modprobe fuse   # in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN",
        ) from None
    if not os.access(_DEVICE, os.R_OK | os.W_OK):  # fusermount3 opens it as its caller, too
        raise NoDevice(
            f"{_DEVICE} may not be opened by this user",
            hint=f"chmod 666 {_DEVICE}   # or: gitdags export REV DIR",
        )
    if privileged():
        try:
            os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            raise NoDevice(
                f"{_DEVICE} cannot be opened: {error.strerror}",
                hint="gitdags export REV DIR   # the same files without a mount",
            ) from None
        return
    if shutil.which("fusermount3") is None:
        raise NoDevice(
            "mounting as an ordinary user needs fusermount3, which is not installed",
            hint="apt-get install fuse3",
        )
    if allow_other and not _user_allow_other():
        raise MountFailed(
            "--allow-other needs `user_allow_other` in /etc/fuse.conf",
            hint="echo user_allow_other | sudo tee -a /etc/fuse.conf",
        )


def _user_allow_other() -> bool:
    try:
        lines = Path("/etc/fuse.conf").read_text().splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def mount(mountpoint: str, *, allow_other: bool) -> int:
    """Mounts and returns the /dev/fuse descriptor to serve. Raises NoDevice or MountFailed."""
    if privileged():
        return _mount_directly(mountpoint, allow_other)
    return _mount_through_helper(mountpoint, allow_other)


def _mount_directly(mountpoint: str, allow_other: bool) -> int:
    device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    options = [
        f"fd={device}", "rootmode=40000", f"user_id={os.getuid()}", f"group_id={os.getgid()}",
        "default_permissions", f"max_read={_MAX_READ}",
    ]  # fmt: skip
    if allow_other:
        options.append("allow_other")
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV
    target = os.fsencode(mountpoint)
    if _libc.mount(b"gitdags", target, FSTYPE.encode(), flags, ",".join(options).encode()):
        number = ctypes.get_errno()
        os.close(device)
        raise MountFailed(
            f"cannot mount on {shown(mountpoint)}: {os.strerror(number)}",
            hint="gitdags doctor" if number != errno.EPERM else "gitdags export REV DIR",
        )
    return device


def _mount_through_helper(mountpoint: str, allow_other: bool) -> int:
    """fusermount3 opens the device and mounts, being setuid root, and passes the descriptor."""
    options = "ro,nosuid,nodev,default_permissions,fsname=gitdags,subtype=gitdags"
    options += f",max_read={_MAX_READ}" + (",allow_other" if allow_other else "")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        helper = subprocess.Popen(
            ["fusermount3", "-o", options, "--", mountpoint],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        message, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        complaint = helper.communicate()[1]
    if not message or not ancillary:
        reason = complaint.strip().removeprefix("fusermount3: ") or "fusermount3 gave no reason"
        raise MountFailed(
            f"cannot mount on {shown(mountpoint)}: {shown(reason, 200)}", hint="gitdags doctor"
        )
    descriptors = array.array("i", ancillary[0][2])
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Takes a mount down; ``lazy``: out of sight at once, ended with its last user. Raises Busy."""
    if privileged():
        flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
        if not _libc.umount2(os.fsencode(mountpoint), flags):
            return
        number = ctypes.get_errno()
        busy, reason = number == errno.EBUSY, os.strerror(number)
    else:
        command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", mountpoint]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise NoDevice("fusermount3 is not installed", hint="apt-get install fuse3") from None
        if done.returncode == 0:
            return
        reason = done.stderr.strip().removeprefix("fusermount3: ")
        busy = "busy" in reason.lower()
    where = shown(mountpoint)
    if busy:
        raise Busy(f"{where} is in use", hint=f"gitdags umount --lazy {where}")
    raise MountFailed(f"cannot unmount {where}: {shown(reason, 200)}", hint="gitdags doctor")
