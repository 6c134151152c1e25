"""The system calls that Python has no words for: namespaces, mounts, capabilities, prctl.

Each raises OSError. Nothing here decides anything; `confine` says what is done in which order.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = (
    0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip

READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND, RECURSIVE = 1, 2, 4, 8, 32, 4096, 16384
"""Flags of mount(2)."""

CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION = 0x20080522
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 1, 4, 8
_PR_CAPBSET_DROP, _PR_SET_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 24, 36, 38, 47
_RAISE, _CLEAR_ALL = 2, 4


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one argument."""
    _demand(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def die_with_parent(signal: int) -> None:
    """Have the kernel send this process a signal when its parent ends; a process can take it back."""
    prctl(_PR_SET_PDEATHSIG, signal)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent has ended."""
    prctl(_PR_SET_SUBREAPER, 1)


def set_dumpable(value: bool) -> None:
    """Whether other processes of this user may read this one's memory, and it its own /proc files."""
    prctl(_PR_SET_DUMPABLE, int(value))


def no_new_privileges() -> None:
    """From here on no program gives this process more rights than it has: setuid means nothing."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def unshare(flags: int) -> None:
    """Enter new namespaces; with NEW_PIDS only the children do."""
    _demand(_libc.unshare(flags), "unshare")


def enter(namespace: int, flags: int) -> None:
    """Enter, or with NEW_PIDS have the children enter, the namespace of a descriptor."""
    _demand(_libc.setns(namespace, flags), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    words = [os.fsencode(word) for word in (source, target, kind)]
    result = _libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(data))
    _demand(result, f"mount {kind or source} on {target}")


def map_user(inside: int, outside: int) -> None:
    """In a user namespace just entered: be ``inside``, which is ``outside`` in the one before."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {outside} 1"),
        ("gid_map", f"{inside} {outside} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def keep_capabilities(*kept: int) -> None:
    """Give up every capability but ``kept``, for this process and what it executes."""
    _libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    mask = sum(1 << capability for capability in kept)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    # Effective, permitted and inheritable ones, of the first 32 capabilities and of the rest.
    data = struct.pack("=6I", mask, mask, mask, 0, 0, 0)
    _demand(_libc.capset(header, data), "capset")
    for capability in kept:
        raised = _libc.prctl(_PR_CAP_AMBIENT, _RAISE, ctypes.c_ulong(capability), 0, 0)
        _demand(raised, "prctl PR_CAP_AMBIENT_RAISE")


def become(user: int, *kept: int) -> None:
    """From root to an ordinary user and group, with no capability but ``kept``."""
    os.setgroups([])
    os.setresgid(user, user, user)
    prctl(_PR_SET_KEEPCAPS, 1)
    os.setresuid(user, user, user)
    keep_capabilities(*kept)


def call(number: int, *arguments: Any) -> int:
    """syscall(2); the result, or -1 with `error`."""
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    return result


def error(what: str) -> OSError:
    """The error of the call just made."""
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def _demand(result: int, what: str) -> None:
    if result != 0:
        raise error(what)
