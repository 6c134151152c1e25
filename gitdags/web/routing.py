"""Paths with slashes inside a part: ``%2F`` in an address stays in the part it stands in."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope

from gitdags.web.urls import segment

_SLASH = "\0"
"""Stands for a slash inside a part while a path is matched; no path of ours has it otherwise."""


class Segment(Convertor[str]):
    """One part of a path, in which slashes may stand."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        """As it was meant."""
        return value.replace(_SLASH, "/")

    def to_string(self, value: str) -> str:
        """As it stands in a path."""
        return segment(value)


def register() -> None:
    """Make ``{name:segment}`` known to routes; to be called before any is made."""
    register_url_convertor("segment", Segment())


def part_slashes(scope: Scope) -> bool:
    """Decode the path anew, bytes that are no UTF-8 kept; False for one with a NUL."""
    raw = scope.get("raw_path")
    if raw is None:
        return _SLASH not in scope["path"]
    if b"%00" in raw or b"\0" in raw:
        return False
    path = re.sub(rb"%2[fF]", b"%00", raw)
    scope["path"] = unquote_to_bytes(path).decode("utf-8", "surrogateescape")
    return True
