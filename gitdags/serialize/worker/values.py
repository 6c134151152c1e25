"""Any Python value as JSON, by the rules of ``gitdags/dag@1``.

Numbers and strings pass as they are (the other side tags those that JSON cannot hold); what has
no JSON form becomes ``{"__type": name, "value": ...}``; a callable ``{"name", "source"}``.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import functools
import inspect
import json
import os
import re
import textwrap
import types
from collections.abc import Callable, Mapping
from typing import Any

MAX_DEPTH = 100  # about five frames of Python each; the limit of recursion is 1,000

Handler = Callable[["Encoder", Any, int], Any]


def tagged(name: str, value: Any) -> dict[str, Any]:
    """A value that JSON has no form for."""
    return {"__type": name, "value": value}


class Encoder:
    """Encodes values met in one DAG file. ``handlers`` are tried first, by class, for Airflow's own."""

    def __init__(self, root: str, path: str, handlers: list[tuple[Any, Handler]]) -> None:
        self.root = os.path.realpath(root) + os.sep
        self.path = os.path.realpath(path)
        self.handlers = handlers
        self._open: set[int] = set()
        self._sources: dict[Any, str | None] = {}

    def __call__(self, value: Any, depth: int = 0) -> Any:
        """The JSON form of a value; never raises for a value of any type."""
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is str or kind is int or kind is float:
            return value
        if depth > MAX_DEPTH:
            return tagged("truncated", class_name(kind))
        if id(value) in self._open:
            return tagged("cycle", class_name(kind))
        self._open.add(id(value))
        try:
            return self._encode(value, kind, depth + 1)
        except RecursionError:
            return tagged("truncated", class_name(kind))
        except BaseException:  # a foreign object may raise anything, SystemExit too, from anything
            return tagged(class_name(kind), None)
        finally:
            self._open.discard(id(value))

    def _encode(self, value: Any, kind: type, depth: int) -> Any:
        for handled, handler in (*self.handlers, *_HANDLERS):
            if isinstance(value, handled):
                return handler(self, value, depth)
        if isinstance(value, type) or is_function(value):
            return self.callable(value)
        if dataclasses.is_dataclass(value):
            names = [f.name for f in dataclasses.fields(value) if f.repr]
            return tagged(class_name(kind), self._attributes(value, names, depth))
        described = getattr(kind, "__attrs_attrs__", None)
        if described is not None:
            names = [a.name for a in described if a.repr]
            return tagged(class_name(kind), self._attributes(value, names, depth))
        for method in ("model_dump", "to_dict"):  # pydantic; Kubernetes models
            if callable(getattr(kind, method, None)):
                return tagged(class_name(kind), self(getattr(value, method)(), depth))
        if callable(value):
            return self.callable(value)
        if getattr(kind, "__repr__", None) is not object.__repr__:
            return tagged(class_name(kind), repr(value))
        public = sorted(name for name in vars(value) if not name.startswith("_"))
        return tagged(class_name(kind), self._attributes(value, public, depth))

    def _attributes(self, value: Any, names: list[str], depth: int) -> dict[str, Any]:
        return {name: self(getattr(value, name, None), depth) for name in names}

    def mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        """A mapping; as pairs where it has other keys than strings, or looks like what we write."""
        ours = "__type" in value or value.keys() == {"name", "source"}
        if all(isinstance(key, str) for key in value) and not ours:
            return {str(key): self(item, depth) for key, item in value.items()}
        pairs = [[self(key, depth), self(item, depth)] for key, item in value.items()]
        return tagged("dict", sorted(pairs, key=_order))

    def callable(self, value: Any) -> dict[str, Any]:
        """``{"name", "source"}``; the source only of what stands in a file of the repository."""
        inner = value
        while True:
            if isinstance(inner, (functools.partial, functools.partialmethod)):
                inner = inner.func
            elif isinstance(inner, types.MethodType):
                inner = inner.__func__
            elif not is_function(inner) and is_function(getattr(inner, "function", None)):
                inner = inner.function  # TaskFlow's decorator objects
            else:
                break
        if not isinstance(inner, type) and not hasattr(inner, "__qualname__"):
            inner = type(inner)
        module = self.module(getattr(inner, "__module__", None) or "builtins")
        return {"name": f"{module}.{inner.__qualname__}", "source": self._source(inner)}

    def module(self, name: str) -> str:
        """A module's name; ``__dag__`` for the DAG file, whatever name Airflow imports it by."""
        return "__dag__" if re.fullmatch(r"unusual_prefix_[0-9a-f]{40}_.*", name, re.S) else name

    def _source(self, value: Any) -> str | None:
        if value not in self._sources:
            try:
                file = inspect.getsourcefile(inspect.unwrap(value))
                here = file is not None and os.path.realpath(file).startswith(self.root)
                text = textwrap.dedent(inspect.getsource(value)) if here else None
            except (OSError, TypeError, ValueError, IndentationError, SyntaxError):
                text = None  # made by exec, or by C: there is no text
            self._sources[value] = text
        return self._sources[value]


def class_name(kind: type) -> str:
    """Where a class is known by, ``module.Class``; the module left out for builtins."""
    module = kind.__module__
    if re.fullmatch(r"unusual_prefix_[0-9a-f]{40}_.*", module, re.S):
        module = "__dag__"
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def is_function(value: Any) -> bool:
    """Whether a value is a function, method or partial, rather than an object one can call."""
    return isinstance(
        value,
        (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial),
    )


def _order(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _moment(_: Encoder, value: datetime.datetime, __: int) -> Any:
    if value.tzinfo is None or value.utcoffset() is None:
        return value.isoformat()
    return value.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def _seconds(_: Encoder, value: datetime.timedelta, __: int) -> Any:
    seconds = value.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _unordered(encode: Encoder, value: Any, depth: int) -> Any:
    return sorted((encode(item, depth) for item in value), key=_order)


def _pattern(encode: Encoder, value: re.Pattern[Any], depth: int) -> Any:
    text = encode(value.pattern, depth)
    plain = re.compile(value.pattern).flags
    return text if value.flags == plain else {"pattern": text, "flags": value.flags & ~plain}


def _zone(_: Encoder, value: datetime.tzinfo, __: int) -> Any:
    return str(getattr(value, "name", None) or getattr(value, "key", None) or value)


_HANDLERS: list[tuple[Any, Handler]] = [
    (enum.Enum, lambda encode, value, depth: encode(value.value, depth)),
    (str, lambda _, value, __: str.__str__(value)),
    (bool, lambda _, value, __: bool(value)),
    (int, lambda _, value, __: int(value)),
    (float, lambda _, value, __: float(value)),
    (datetime.datetime, _moment),
    ((datetime.date, datetime.time), lambda _, value, __: value.isoformat()),
    (datetime.timedelta, _seconds),
    (datetime.tzinfo, _zone),
    (os.PathLike, lambda _, value, __: os.fsdecode(value)),
    ((bytes, bytearray), lambda _, v, __: tagged("bytes", base64.b64encode(v).decode())),
    (Mapping, lambda encode, value, depth: encode.mapping(value, depth)),
    ((list, tuple), lambda encode, value, depth: [encode(item, depth) for item in value]),
    ((set, frozenset), _unordered),
    (types.ModuleType, lambda encode, value, _: tagged("module", encode.module(value.__name__))),
    (re.Pattern, lambda encode, v, depth: tagged("re.Pattern", _pattern(encode, v, depth))),
    (
        (types.GeneratorType, types.CoroutineType),
        lambda _, value, __: tagged(class_name(type(value)), value.__qualname__),
    ),
]
