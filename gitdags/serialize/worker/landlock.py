"""Landlock: which files a process and its descendants may reach, whom they may signal and connect to.

Linux 5.13 and later; what a kernel knows is told by its ABI version. Rules can only be added to,
never taken back. https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from . import kernel

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # on every architecture
_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_FIRST = (1 << 13) - 1  # what the first version knows
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

TCP, SCOPES = 4, 6
"""The versions from which on TCP is governed, and signals and abstract sockets are."""
TRUNCATES = 3
"""The version from which on truncate(2) is governed."""


def version() -> int:
    """The kernel's ABI version; 0 where Landlock is absent or switched off."""
    return max(0, kernel.call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))


def restrict(readable: Iterable[str], writable: Iterable[str], known: int) -> None:
    """Reading and executing below ``readable``, everything below ``writable``, nothing elsewhere.

    Paths that are absent are left out. ``known`` is the version to use, at most the kernel's; from
    TCP on no TCP port may be bound or connected to, from SCOPES on only own descendants may be
    signalled. Needs no_new_privs. Raises OSError.
    """
    files = _FIRST
    files |= (1 << 13 if known >= 2 else 0) | (_TRUNCATE if known >= TRUNCATES else 0)
    files |= _IOCTL_DEV if known >= 5 else 0
    attributes = struct.pack("=QQQ", files, 3 if known >= TCP else 0, 3 if known >= SCOPES else 0)
    size = 24 if known >= SCOPES else 16 if known >= TCP else 8
    rules = kernel.call(_CREATE, attributes[:size], ctypes.c_size_t(size), ctypes.c_uint32(0))
    if rules < 0:
        raise kernel.error("landlock_create_ruleset")
    try:
        for paths, rights in ((readable, _READ), (writable, files)):
            for path in paths:
                _allow(rules, path, rights & files)
        if kernel.call(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0)):
            raise kernel.error("landlock_restrict_self")
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        rule = struct.pack("=Qi", rights, beneath)
        kind = ctypes.c_int(_PATH_BENEATH)
        if kernel.call(_ADD_RULE, ctypes.c_int(rules), kind, rule, ctypes.c_uint32(0)):
            raise kernel.error(f"landlock_add_rule {path}")
    finally:
        os.close(beneath)
