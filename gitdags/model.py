"""The frozen values that cross every boundary. No behaviour beyond what their fields imply."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""

MODE_TREE, MODE_SUBMODULE, MODE_LINK, MODE_FILE, MODE_EXECUTABLE = (
    0o040000, 0o160000, 0o120000, 0o100644, 0o100755,
)  # fmt: skip


class Entry(NamedTuple):
    """One entry of a tree: the canonical Git mode and the object's id (40 hex digits)."""

    mode: int
    oid: str

    @property
    def is_tree(self) -> bool:
        """Whether it is a directory of this repository (a submodule is not)."""
        return self.mode == MODE_TREE

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.mode in (MODE_FILE, MODE_EXECUTABLE)


class Change(NamedTuple):
    """A path that differs between two trees; a side is None where the path is absent."""

    path: bytes
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True, slots=True)
class Ref:
    """A name in the repository and the commit it leads to."""

    name: str
    """full name, ``refs/heads/main``"""
    commit: str

    @property
    def kind(self) -> Literal["branch", "tag", "remote", "other"]:
        """What sort of ref it is, by its full name."""
        for prefix, kind in _KINDS:
            if self.name.startswith(prefix):
                return kind
        return "other"

    @property
    def short(self) -> str:
        """The name a person types."""
        for prefix, _ in _KINDS:
            if self.name.startswith(prefix):
                return self.name[len(prefix) :]
        return self.name


_KINDS: tuple[tuple[str, Literal["branch", "tag", "remote"]], ...] = (
    ("refs/heads/", "branch"),
    ("refs/tags/", "tag"),
    ("refs/remotes/", "remote"),
)


@dataclass(frozen=True, slots=True)
class Move:
    """A recorded change of a ref: from ``at`` on it led to ``new``."""

    at: datetime
    new: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A revision that a person typed, and the commit it means now."""

    rev: str
    commit: str
    source: Literal[
        "object", "ref", "abbreviation", "expression", "deployment", "reflog", "commit date"
    ]
    ref: str | None = None
    """full name of the ref the revision starts from, where it starts from one"""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit; times are aware, in UTC."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: str
    author_email: str
    authored_at: datetime
    committed_at: datetime
    message: str

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.strip().split("\n", 1)[0]
