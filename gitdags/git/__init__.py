"""Git, read only: open, refs, resolve, trees, blobs, log, diff of trees.

This package is the only importer of pygit2, and no pygit2 object leaves it: object ids are 40
hex digits, paths and names are bytes, times are aware datetimes in UTC. A `Repository` belongs
to one thread.
"""

from gitdags.git.repository import (
    OURS,
    CorruptObject,
    EmptyRepository,
    MissingObject,
    NoSuchRepository,
    Repository,
    ShallowHistory,
    TreeTooLarge,
    UnsupportedRepository,
    discover,
    display,
    limit_memory,
)
from gitdags.git.revision import BadRevision, parse_instant, resolve, split_range
from gitdags.model import is_sha

__all__ = [
    "OURS",
    "BadRevision",
    "CorruptObject",
    "EmptyRepository",
    "MissingObject",
    "NoSuchRepository",
    "Repository",
    "ShallowHistory",
    "TreeTooLarge",
    "UnsupportedRepository",
    "discover",
    "display",
    "is_sha",
    "limit_memory",
    "parse_instant",
    "resolve",
    "split_range",
]
