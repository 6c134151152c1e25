"""The standard library, tolerant of placeholders: what reads, parses or counts with one gets a stand-in.

Only calls that are given a placeholder are answered differently. The classes themselves stay what
they are, for isinstance and for everybody else.
"""

from __future__ import annotations

import ast
import builtins
import datetime
import functools
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from . import notes, placeholders, standin
from .standin import Unknown


def install(root: str) -> None:
    """Put them in place, in this process, for good."""
    json.loads = _tolerant(json.loads, placeholders.missing_json)
    ast.literal_eval = _tolerant(ast.literal_eval, placeholders.missing_json)
    builtins.open = io.open = _opener(io.open)
    for module, names in (("yaml", ("safe_load", "load", "full_load")),):
        found = sys.modules.get(module)
        for name in names if found is not None else ():
            setattr(found, name, _tolerant(getattr(found, name), placeholders.missing_json))


def install_moments() -> None:
    """Have dates and durations count with placeholders too; a file that imports them gets ours."""
    datetime.timedelta = _Timedelta  # type: ignore[misc]  # stands for the class, see below
    datetime.datetime = _Datetime  # type: ignore[misc]


def _is_placeholder(item: Any) -> bool:
    if isinstance(item, (Unknown, placeholders.Placeholder)):
        return True
    return isinstance(item, str) and bool(placeholders.PLACEHOLDER.search(item))


def _tolerant(function: Callable[..., Any], otherwise: Callable[[str], Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def tolerant(*args: Any, **kwargs: Any) -> Any:
        if args and (_is_placeholder(args[0]) or isinstance(args[0], _Empty)):
            return otherwise(_text(args[0]))
        return function(*args, **kwargs)

    return tolerant


def _text(item: Any) -> str:
    text = item.getvalue() if isinstance(item, io.StringIO) else str(item)
    found = placeholders.PLACEHOLDER.search(text)
    return found[0] if found else f"__var.{text[:60]}__"


class _Empty(io.StringIO):
    """A file whose name is not known: it is empty, and knows it."""


def _opener(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def open_(file: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, (Unknown, str, os.PathLike)) and _is_placeholder(
            os.fspath(file) if not isinstance(file, Unknown) else file
        ):
            notes.guess(f"the file {file} is taken to be empty")
            return _Empty()
        return function(file, *args, **kwargs)

    return open_


# ── numbers and moments ───────────────────────────────────────────────────────────────────────


def _number(value: Any) -> Any:
    if isinstance(value, Unknown):
        return 1
    if isinstance(value, str):
        try:
            return float(value) if "." in value else int(value)
        except ValueError:
            return 1 if _is_placeholder(value) else value
    return value


class _Like(type):
    """isinstance and issubclass as of the class that is stood for."""

    _real: type

    def __instancecheck__(cls, item: object) -> bool:
        return isinstance(item, cls._real)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, cls._real)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls._real

    def __hash__(cls) -> int:
        return hash(cls._real)

    def __repr__(cls) -> str:
        return repr(cls._real)


_REAL_TIMEDELTA, _REAL_DATETIME = datetime.timedelta, datetime.datetime


class _Timedelta(datetime.timedelta, metaclass=_Like):
    _real = _REAL_TIMEDELTA

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            return _REAL_TIMEDELTA(*args, **kwargs)
        except TypeError:
            numbers = {name: _number(value) for name, value in kwargs.items()}
            return _REAL_TIMEDELTA(*map(_number, args), **numbers)


class _Datetime(datetime.datetime, metaclass=_Like):
    _real = _REAL_DATETIME

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        zone = kwargs.get("tzinfo")
        if isinstance(zone, Unknown):
            kwargs["tzinfo"] = datetime.timezone.utc
        try:
            return _REAL_DATETIME(*args, **kwargs)
        except TypeError:
            if not any(isinstance(v, (Unknown, str)) for v in (*args, *kwargs.values())):
                raise
            numbers = {name: _number(value) for name, value in kwargs.items()}
            return _REAL_DATETIME(*map(_number, args), **numbers)

    @classmethod
    def strptime(cls, text: Any, layout: Any) -> Any:
        """As of the real one; a fixed moment for a placeholder."""
        return _moment(text) or _REAL_DATETIME.strptime(text, layout)

    @classmethod
    def fromisoformat(cls, text: Any) -> Any:
        """As of the real one; a fixed moment for a placeholder."""
        return _moment(text) or _REAL_DATETIME.fromisoformat(text)


for _name in (
    "now",
    "utcnow",
    "today",
    "fromtimestamp",
    "utcfromtimestamp",
    "combine",
    "fromordinal",
):
    setattr(_Datetime, _name, staticmethod(getattr(_REAL_DATETIME, _name)))


def _moment(text: Any) -> Any:
    if not _is_placeholder(text):
        return None
    notes.guess(f"the date {text} is taken to be 2020-01-01")
    return _REAL_DATETIME(2020, 1, 1)


__all__ = ["install", "standin"]
