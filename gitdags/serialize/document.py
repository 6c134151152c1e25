"""The document ``gitdags/dag@1``: one form for every DAG, canonical bytes, and their hash.

Pure. A description of a DAG, from whatever engine, goes in; what comes out has the same bytes for
the same DAG on every machine: lists sorted where order means nothing, paths of the parse replaced,
memory addresses gone, values that JSON cannot hold tagged. Canonical is RFC 8785 (JCS).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from gitdags.model import Json

SCHEMA = "gitdags/dag@1"
MAX_INTEGER = 2**53 - 1  # what a double holds exactly; RFC 8785, section 3.2.2.3

_ADDRESS = re.compile(r"(<[^<>\n]{1,300}?) at 0x[0-9a-fA-F]{4,16}(?=[^<>\n]{0,300}>)")
"""What object.__repr__ and its kin write; an address in an author's own words is the author's."""
_DAG_MODULE = re.compile(r"unusual_prefix_[0-9a-f]{40}_[A-Za-z0-9_]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """A DAG's canonical JSON, as UTF-8 text, and the hash it is stored under."""

    dag_id: str
    dag_hash: str
    text: str
    tasks: int


def make(described: Mapping[str, Any], replace: Sequence[tuple[str, str]] = ()) -> Document:
    """The document of a description; ``replace`` has (path, placeholder) pairs, longest first."""
    data = normalise(described, replace)
    text = canonical(data)
    return Document(data["dag_id"], digest(text), text.decode(), len(data["tasks"]))


def canonical(value: Json) -> bytes:
    """RFC 8785 bytes of a JSON value."""
    return rfc8785.dumps(value)


def digest(data: bytes) -> str:
    """SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def plain_json(value: Json, replace: Sequence[tuple[str, str]]) -> str:
    """Airflow's own JSON as text, the paths of the parse replaced; kept beside a document."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    for path, placeholder in replace:
        text = text.replace(json.dumps(path)[1:-1], placeholder)
    return text


def normalise(described: Mapping[str, Any], replace: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The description with every list in order and every value one that JSON can hold."""
    data = _Normaliser(replace)(dict(described))
    data["tags"] = _unordered(data["tags"])
    data["owners"] = _unordered(data["owners"])
    for task in data["tasks"]:
        for name in ("upstream", "downstream", "template_fields"):
            task[name] = _unordered(task[name])
    data["tasks"].sort(key=lambda task: _order(task["task_id"]))
    data["groups"].sort(key=lambda group: _order(group["group_id"]))
    data["edges"].sort(key=lambda edge: [_order(part) for part in edge])
    return data  # type: ignore[no-any-return]  # a dict goes in, so a dict comes out


def clean(text: str, replace: Sequence[tuple[str, str]]) -> str:
    """A message without the paths, addresses and module names that are only this parse's."""
    cleaned = _Normaliser(replace)(text)
    return cleaned if isinstance(cleaned, str) else str(cleaned["value"])


def without_sources(value: Json) -> Json:
    """A document, or a part of one, without the source text of its callables."""
    if isinstance(value, dict):
        if value.keys() == {"name", "source"}:
            return {"name": value["name"], "source": None}
        return {key: without_sources(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_sources(item) for item in value]
    return value


def _unordered(values: Sequence[Json]) -> list[Json]:
    """A list whose order means nothing: sorted, each value once."""
    by_order = {_order(value): value for value in values}
    return [by_order[order] for order in sorted(by_order)]


def _order(value: Json) -> tuple[bool, str]:
    """Strings by code point, after null, and with what became no string by its JSON."""
    text = value if isinstance(value, str) else canonical(value).decode()
    return value is not None, text


def same(a: Json, b: Json) -> bool:
    """Whether two JSON values are the same JSON: True is not 1, as it is in Python."""
    return a == b and canonical(a) == canonical(b)


def same_structure(a: Json, b: Json) -> bool:
    """Whether two documents differ in the source of callables at most."""
    return same(without_sources(a), without_sources(b))


class _Normaliser:
    def __init__(self, replace: Sequence[tuple[str, str]]) -> None:
        self._table = dict(replace)
        self._paths = (
            re.compile("|".join(re.escape(path) for path, _ in replace)) if replace else None
        )

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            if -MAX_INTEGER <= value <= MAX_INTEGER:
                return value
            return {"__type": "int", "value": str(value)}
        if kind is float:
            if value != value or value in (float("inf"), float("-inf")):
                return {"__type": "float", "value": repr(value)}
            return value
        if kind is list:
            return [self(item) for item in value]
        found = {self._clean(key): self(item) for key, item in value.items()}
        if len(found) == len(value) and not any(_SURROGATE.search(key) for key in found):
            return found
        # Keys that JSON cannot hold, or that cleaning makes equal.
        pairs = [[self._text(key), self(item)] for key, item in value.items()]
        return {"__type": "dict", "value": sorted(pairs, key=canonical)}

    def _text(self, text: str) -> Any:
        text = self._clean(text)
        if _SURROGATE.search(text):
            escaped = text.encode("ascii", "backslashreplace").decode()
            return {"__type": "str", "value": escaped}
        return text

    def _clean(self, text: str) -> str:
        if self._paths is not None:
            text = self._paths.sub(lambda found: self._table[found[0]], text)
        if "0x" in text:
            text = _ADDRESS.sub(r"\1", text)
        if "unusual_prefix_" in text:
            text = _DAG_MODULE.sub("__dag__", text)
        return text


# ── showing ───────────────────────────────────────────────────────────────────────────────────


def select(document: Mapping[str, Any], include: Sequence[str], exclude: Sequence[str]) -> Json:
    """A document's fields as settings want them shown; what is stored is always whole."""
    return {
        name: value
        for name, value in document.items()
        if (not include or name in include) and name not in exclude
    }


def writer(library: str) -> Callable[[Json], str]:
    """What turns JSON that is shown into indented text, by the name of its library."""

    def plain(value: Json) -> str:
        return json.dumps(value, indent=2, ensure_ascii=False)

    def fast(value: Json) -> str:
        import orjson

        try:
            return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
        except orjson.JSONEncodeError:  # lone surrogates, integers past 64 bits
            return plain(value)

    return fast if library == "orjson" else plain
