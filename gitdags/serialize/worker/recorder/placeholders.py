"""What stands for a value that is missing, in each attempt to run a file.

First a text that says what it stands for. A file that cannot live with that is tried again: with dates
and durations that take it (`patches`), with a value that the file itself compares it with, with an
empty string, with None.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from . import notes, standin
from .standin import Unknown

LATER_ATTEMPTS = ("tolerant", "choice", "empty", "none")
"""After the first, with placeholders: with dates and durations that take them; with a value that the file
itself compares them with; then without any."""
attempt = "placeholder"
compared: dict[str, str] = {}
"""placeholder -> the first text that a file compared it with, which it can live with then"""

PLACEHOLDER = re.compile(r"__(?:var|conn|env|conf)\.[^\s/]*?__|<secret [^<>]*>")
"""The text of a placeholder, wherever it ends up: for what is missing, and for withheld secrets."""


class Placeholder(str):
    """The text that stands for a value that is missing; a number where one is wanted."""

    def __eq__(self, other: object) -> bool:
        if type(other) is str and other and not PLACEHOLDER.search(other):
            compared.setdefault(str.__str__(self), other)
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __int__(self) -> int:
        return 1

    def __index__(self) -> int:
        return 1

    def __float__(self) -> float:
        return 1.0


_KINDS = {"var": "variable", "conn": "connection", "env": "environment", "conf": "configuration"}


def stand_for(kind: str, name: object, part: str = "") -> Any:
    """What is given for a missing value, in this attempt."""
    if attempt == "empty":
        return ""
    if attempt == "none":
        return None
    text = f"__{kind}.{name}{'.' + part if part else ''}__"
    if attempt == "choice" and text in compared:
        words = _KINDS.get(kind, kind)
        notes.guess(
            f"{words} {name} is taken to be {compared[text]!r}: the file compares it with that"
        )
        return compared[text]
    return Placeholder(text)


def part(text: str, key: object) -> str:
    """The placeholder of a part of what a placeholder stands for."""
    return f"{text[:-1]}.{key}>" if text.endswith(">") else f"{text[:-2]}.{key}__"


class MissingJson(Unknown, dict):  # type: ignore[misc,type-arg]
    """A Variable that is missing and should be JSON: every key has a placeholder."""

    _prefix = ""

    def __getitem__(self, key: Any) -> Any:
        if dict.__contains__(self, key):
            return dict.__getitem__(self, key)
        return MissingText(part(self._prefix, key))

    def get(self, key: Any, default: Any = None) -> Any:
        """The default, which is the author's own guess; else a placeholder."""
        if dict.__contains__(self, key):
            return dict.__getitem__(self, key)
        return self[key] if default is None else default

    def __str__(self) -> str:
        return self._prefix

    __repr__ = __str__
    __len__ = dict.__len__
    __setitem__ = dict.__setitem__
    __delitem__ = dict.__delitem__

    def __iter__(self) -> Iterator[Any]:
        wanted = standin.unpacked(sys._getframe(1))
        if wanted is None or len(self):
            return dict.__iter__(self)
        return iter([MissingText(part(self._prefix, i)) for i in range(wanted)])

    def keys(self) -> Any:
        """Of what was set."""
        return dict.keys(self)

    def values(self) -> Any:
        """Of what was set."""
        return dict.values(self)

    def items(self) -> Any:
        """Of what was set."""
        return dict.items(self)


def missing_json(text: str) -> Any:
    """A JSON value that is missing, named by a placeholder's text."""
    made = MissingJson()
    object.__setattr__(made, "_prefix", text)
    return made


class MissingText(Placeholder):
    """Part of a JSON value that is missing: text, or a mapping if it is used as one."""

    def __getitem__(self, key: Any) -> Any:
        return (
            str.__getitem__(self, key)
            if isinstance(key, (int, slice))
            else MissingText(part(self, key))
        )

    def get(self, key: Any, default: Any = None) -> Any:
        """As of a mapping."""
        return self[key] if default is None else default

    def items(self) -> Any:
        """As of an empty mapping."""
        return ()

    keys = values = items

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def append(self, _: Any) -> None:
        """As of a list."""
