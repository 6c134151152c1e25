"""What the file system raises, as errnos: the one table both adapters use."""

from __future__ import annotations

import errno
import logging

from fuse_mount.faults import Damaged, Gone, TooLong, TooSlow
from fuse_mount.protocol import NAMES

log = logging.getLogger("gitdags.mount")

_NUMBERS: tuple[tuple[type[Exception], int], ...] = (
    (FileNotFoundError, errno.ENOENT),
    (Damaged, errno.EIO),
    (Gone, errno.ESTALE),
    (TooLong, errno.ENAMETOOLONG),
    (TooSlow, errno.ETIMEDOUT),
    (NotADirectoryError, errno.ENOTDIR),
    (IsADirectoryError, errno.EISDIR),
    (ValueError, errno.EINVAL),
)


def number_of(error: Exception, opcode: int) -> int:
    """The errno for an exception; one that is not in the table is a bug, logged and EIO."""
    for kind, number in _NUMBERS:
        if isinstance(error, kind):
            return number
    log.error("bug in %s", NAMES.get(opcode, opcode), exc_info=error)
    return errno.EIO
