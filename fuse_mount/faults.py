"""What the file system raises: faults that adapters turn into errnos (`fuse_mount.errnos`)."""

from __future__ import annotations


class Damaged(Exception):
    """An object that should be in the repository is not, or the repository cannot be read."""


class Gone(Exception):
    """The commit under an open folder has been pruned."""


class TooSlow(Exception):
    """A revision expression whose commit was not found in time."""


class TooLong(Exception):
    """A name or a link's target that is longer than a path may have."""
