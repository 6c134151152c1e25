"""Any Python value as JSON, without an Airflow: what each kind becomes, and what never happens."""

from __future__ import annotations

import abc
import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import types
import uuid
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdags.serialize.worker.values import MAX_DEPTH, Encoder, class_name

HERE = __name__


def encoder(root: Path | str = "/nowhere", path: Path | str = "/nowhere/dags/a.py") -> Encoder:
    return Encoder(str(root), str(path), [])


class Colour(enum.Enum):
    RED = "red"
    BOTH = ("a", 1)


class Level(enum.IntEnum):
    HIGH = 3


class Flag(enum.Flag):
    A = 1
    B = 2


class Text(str):
    def __str__(self) -> str:
        return "lies"


class Number(int):
    def __repr__(self) -> str:
        return "lies"


class Real(float):
    pass


class Plain:
    def __init__(self) -> None:
        self.b, self.a, self._hidden = 1, "x", 2


class Shown:
    def __repr__(self) -> str:
        return "Shown(1)"


class Called:
    def __call__(self) -> None: ...

    def method(self) -> None: ...

    @classmethod
    def made(cls) -> None: ...

    @staticmethod
    def still() -> None: ...


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None
    secret: str = dataclasses.field(default="s", repr=False)


class Dumped:
    def model_dump(self) -> dict[str, Any]:
        return {"b": {2, 1}, "a": None}


class Kubernetes:
    def to_dict(self) -> dict[str, Any]:
        return {"kind": "Pod"}


Pair = collections.namedtuple("Pair", "a b")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2025, 7, 1, 12, 30, 0, 500, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (2**80, 2**80),
        (1.5, 1.5),
        ("text", "text"),
        (Colour.RED, "red"),
        (Colour.BOTH, ["a", 1]),
        (Level.HIGH, 3),
        (Flag.A | Flag.B, 3),
        (Text("inner"), "inner"),
        (Number(5), 5),
        (Real(2.5), 2.5),
        (NOON, "2025-07-01T10:30:00.000500Z"),
        (datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC), "2025-01-01T00:00:00Z"),
        (datetime.datetime(2025, 1, 1), "2025-01-01T00:00:00"),
        (datetime.date(2025, 1, 1), "2025-01-01"),
        (datetime.time(1, 2, 3), "01:02:03"),
        (datetime.timedelta(minutes=5), 300),
        (datetime.timedelta(milliseconds=1500), 1.5),
        (datetime.timedelta(days=-1), -86400),
        (BERLIN, "Europe/Berlin"),
        (datetime.UTC, "UTC"),
        (datetime.timezone(datetime.timedelta(hours=2)), "UTC+02:00"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (b"\x00\xff", {"__type": "bytes", "value": base64.b64encode(b"\x00\xff").decode()}),
        (bytearray(b"ab"), {"__type": "bytes", "value": "YWI="}),
        ({"b": 1, "a": [2]}, {"b": 1, "a": [2]}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        ([3, 1, 2], [3, 1, 2]),
        ((1, (2,)), [1, [2]]),
        (Pair(1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1: "x"}, {"__type": "dict", "value": [[1, "x"]]}),
        ({"__type": "x"}, {"__type": "dict", "value": [["__type", "x"]]}),
        ({(1, 2): "x", None: "y"}, {"__type": "dict", "value": [[[1, 2], "x"], [None, "y"]]}),
        (json, {"__type": "module", "value": "json"}),
        (re.compile("a+"), {"__type": "re.Pattern", "value": "a+"}),
        (Point(1), {"__type": f"{HERE}.Point", "value": {"x": 1, "y": None}}),
        (Dumped(), {"__type": f"{HERE}.Dumped", "value": {"b": [1, 2], "a": None}}),
        (Kubernetes(), {"__type": f"{HERE}.Kubernetes", "value": {"kind": "Pod"}}),
        (Plain(), {"__type": f"{HERE}.Plain", "value": {"a": "x", "b": 1}}),
        (Shown(), {"__type": f"{HERE}.Shown", "value": "Shown(1)"}),
        (decimal.Decimal("1.10"), {"__type": "decimal.Decimal", "value": "Decimal('1.10')"}),
        (uuid.UUID(int=1), {"__type": "uuid.UUID", "value": repr(uuid.UUID(int=1))}),
        (range(3), {"__type": "range", "value": "range(0, 3)"}),
        (1j, {"__type": "complex", "value": "1j"}),
        (object(), {"__type": "object", "value": None}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_each_kind_becomes(given: Any, expected: Any) -> None:
    found = encoder()(given)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found)


def test_generators_are_named_and_not_run() -> None:
    ran = []

    def numbers() -> Iterator[int]:
        ran.append(1)
        yield 1

    made = numbers()
    name = "test_generators_are_named_and_not_run.<locals>.numbers"
    assert encoder()(made) == {"__type": "generator", "value": name}
    assert ran == []


def test_handlers_come_first_and_get_the_depth() -> None:
    seen = []

    def handler(encode: Encoder, value: Any, depth: int) -> Any:
        seen.append(depth)
        return "handled"

    encode = Encoder("/nowhere", "/nowhere/a.py", [(Plain, handler), (list, handler)])
    assert encode({"a": {"b": Plain()}, "c": [1]}) == {"a": {"b": "handled"}, "c": "handled"}
    assert seen == [3, 2]


# ── callables ─────────────────────────────────────────────────────────────────────────────────


CODE = '''\
"""A DAG file."""
import functools

def plain(a, b=1):
    return a


class Maker:
    """A class."""

    def method(self):
        return 1

    @classmethod
    def made(cls):
        return 2

    @staticmethod
    def still():
        return 3

    def __call__(self):
        return 4


def decorator(f):
    @functools.wraps(f)
    def inner(*a):
        return f(*a)
    return inner


@decorator
def decorated():
    return 5


def outer():
    def nested():
        return 6
    return nested


short = lambda x: x + 1
exec("def conjured(): pass")
'''


@pytest.fixture
def module(tmp_path: Path) -> types.ModuleType:
    """A DAG file imported as Airflow imports one."""
    path = tmp_path / "repo" / "dags" / "a.py"
    path.parent.mkdir(parents=True)
    path.write_text(CODE)
    name = "unusual_prefix_" + "0" * 40 + "_a"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(found)
        yield found
    finally:
        sys.dont_write_bytecode = before
        del sys.modules[name]


def encode_in(module: types.ModuleType) -> Encoder:
    path = Path(str(module.__file__))
    return encoder(path.parents[1], path)


def test_functions_of_the_repository_have_their_source(module: types.ModuleType) -> None:
    encode = encode_in(module)
    plain = {"name": "__dag__.plain", "source": "def plain(a, b=1):\n    return a\n"}
    assert encode(module.plain) == plain
    assert encode(functools.partial(functools.partial(module.plain, 1), b=2)) == plain
    assert encode(module.short)["name"] == "__dag__.<lambda>"
    assert encode(module.short)["source"] == "short = lambda x: x + 1\n"
    nested = encode(module.outer())
    assert nested["name"] == "__dag__.outer.<locals>.nested"
    assert nested["source"] == "def nested():\n    return 6\n"
    assert "return 5" in encode(module.decorated)["source"]
    assert encode(module.decorated)["name"] == "__dag__.decorated"


def test_methods_classes_and_instances(module: types.ModuleType) -> None:
    encode = encode_in(module)
    made = module.Maker()
    method = {
        "name": "__dag__.Maker.method",
        "source": "def method(self):\n    return 1\n",
    }
    assert encode(made.method) == encode(module.Maker.method) == method
    assert encode(functools.partial(made.method)) == method
    assert encode(module.Maker.made)["name"] == "__dag__.Maker.made"
    assert encode(module.Maker.still)["name"] == "__dag__.Maker.still"
    kind = encode(module.Maker)
    assert kind["name"] == "__dag__.Maker"
    assert kind["source"].startswith("class Maker:\n")
    assert encode(made) == kind  # an object one can call, by what it is
    assert class_name(module.Maker) == "__dag__.Maker"


def test_code_without_a_text(module: types.ModuleType) -> None:
    encode = encode_in(module)
    assert encode(module.conjured) == {"name": "__dag__.conjured", "source": None}
    assert encode(len) == {"name": "builtins.len", "source": None}
    assert encode(print) == {"name": "builtins.print", "source": None}
    assert encode("x".upper)["source"] is None
    assert encode(int) == {"name": "builtins.int", "source": None}


def test_code_of_other_files_has_a_name_only(module: types.ModuleType, tmp_path: Path) -> None:
    assert encode_in(module)(json.dumps) == {"name": "json.dumps", "source": None}
    path = Path(str(module.__file__))
    elsewhere = encoder(tmp_path / "rep", path)  # a folder whose name only begins alike
    assert elsewhere(module.plain) == {"name": "__dag__.plain", "source": None}


def test_a_root_behind_a_link_is_the_same_root(module: types.ModuleType, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("repo")
    assert encoder(tmp_path / "link")(module.plain)["source"] is not None


def test_a_source_that_lies_about_its_file(module: types.ModuleType) -> None:
    def forged() -> None: ...

    forged.__code__ = forged.__code__.replace(co_filename="/etc/hostname", co_firstlineno=1)
    assert encode_in(module)(forged)["source"] is None
    secret = Path(str(module.__file__)).parents[2] / "secret.py"
    secret.write_text("password = 1\n")
    forged.__code__ = forged.__code__.replace(co_filename=str(secret))
    assert encode_in(module)(forged)["source"] is None


# ── what never happens ────────────────────────────────────────────────────────────────────────


def test_cycles_are_named() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    mapping: dict[str, Any] = {}
    mapping["self"] = {"again": mapping}
    plain = Plain()
    plain.a = plain  # type: ignore[assignment]
    encode = encoder()
    assert encode(loop) == [1, {"__type": "cycle", "value": "list"}]
    assert encode(mapping) == {"self": {"again": {"__type": "cycle", "value": "dict"}}}
    assert encode(plain)["value"]["a"] == {"__type": "cycle", "value": f"{HERE}.Plain"}


def test_the_same_object_twice_is_no_cycle() -> None:
    shared = [1]
    assert encoder()([shared, shared, {"a": shared}]) == [[1], [1], {"a": [1]}]


def test_depth_ends() -> None:
    deep: Any = "bottom"
    for _ in range(100_000):
        deep = [deep]
    found = encoder()(deep)
    levels = 0
    while isinstance(found, list):
        found, levels = found[0], levels + 1
    assert levels == MAX_DEPTH + 1
    assert found == {"__type": "truncated", "value": "list"}
    while isinstance(deep, list):  # to free 100,000 levels at once would overflow the C stack
        deep = deep.pop()


class HostileRepr:
    def __repr__(self) -> str:
        raise SystemExit(3)


class HostileProperty:
    public = 1

    def __init__(self) -> None:
        self.fine = 1

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        raise RuntimeError("no")


class HostileClass:
    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("no")


class HostileGetattr:
    def __getattribute__(self, name: str) -> Any:
        raise KeyError(name)

    def __repr__(self) -> str:
        return "fine"


class HostileHash:
    def __hash__(self) -> int:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __call__(self) -> None: ...


class HostileMapping(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no")


class HostileMeta(abc.ABCMeta):
    def __getattr__(cls, name: str) -> Any:
        raise RuntimeError(name)


class HostileKind(metaclass=HostileMeta):
    pass


class Endless:
    def __repr__(self) -> str:
        return repr(self)


class RaisesRepr:
    def __repr__(self) -> str:
        raise ValueError("no")


class NotText:
    def __repr__(self) -> str:
        return 5  # type: ignore[return-value]


@pytest.mark.parametrize(
    "kind",
    [
        HostileProperty, HostileClass, HostileGetattr, HostileHash, HostileMapping, HostileKind,
        Endless, RaisesRepr, NotText,
    ],
)  # fmt: skip
def test_objects_that_raise_from_anything(kind: type) -> None:
    value = kind.__new__(kind) if kind is HostileProperty else kind()
    if kind is HostileMapping:
        value["a"] = 1
    found = encoder()([value, "after"])
    assert found[1] == "after"
    json.dumps(found)


def test_a_repr_that_exits_costs_its_own_value_only() -> None:
    found: Any = None
    try:
        found = encoder()([HostileRepr(), "after"])
    except SystemExit:
        pytest.fail("the exit passed through", pytrace=False)  # a trace would call repr again
    assert found == [{"__type": f"{HERE}.HostileRepr", "value": None}, "after"]


def test_properties_do_not_run_for_plain_objects() -> None:
    class Lazy:
        def __init__(self) -> None:
            self.fine = 1

        @property
        def expensive(self) -> int:
            raise AssertionError("a property ran")

    assert encoder()(Lazy())["value"] == {"fine": 1}


def test_sets_and_pairs_have_one_order_whatever_the_hash_seed() -> None:
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from gitdags.serialize.worker.values import Encoder\n"
        "encode = Encoder('/n', '/n/a', [])\n"
        "words = ['w%d' % n for n in range(40)]\n"
        "print(json.dumps(encode([set(words), {frozenset([w, w + 'x']): 1 for w in words},\n"
        "  {('a', w) for w in words}, {frozenset(words), 1, 'x', None, 2.5}])))\n"
    )
    top = str(Path(__file__).parents[2])
    seen = {
        subprocess.run(
            [sys.executable, "-I", "-c", code, top],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1


KEYS = st.text(max_size=4) | st.integers() | st.tuples(st.integers(), st.booleans()) | st.none()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.datetimes() | st.dates() | st.times() | st.timedeltas() | st.uuids() | st.decimals()
    | st.sampled_from([Colour.RED, Level.HIGH, Plain, Called, len, Shown]),
    lambda inner: st.lists(inner, max_size=3)
    | st.tuples(inner)
    | st.dictionaries(KEYS, inner, max_size=3)
    | st.builds(Point, st.integers(), inner),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_every_value_has_a_form_and_the_same_one_again(value: Any) -> None:
    encode = encoder()
    text = json.dumps(encode(value))
    assert json.dumps(encode(value)) == text == json.dumps(encoder()(value))
