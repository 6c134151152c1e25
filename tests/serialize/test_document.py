"""The document: canonical bytes, one hash per meaning, values that JSON cannot hold."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdags.serialize import document

PLAIN = {
    "schema": document.SCHEMA, "dag_id": "d", "description": None, "doc_md": None,
    "schedule": {"type": "none", "value": None}, "start_date": None, "end_date": None,
    "timezone": "UTC", "catchup": False, "max_active_runs": 16, "tags": [], "owners": [],
    "params": {}, "default_args": {}, "attrs": {}, "callbacks": {}, "tasks": [], "groups": [],
    "edges": [],
}  # fmt: skip


def task(task_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "task_id": task_id, "operator": "EmptyOperator", "upstream": [], "downstream": [],
        "template_fields": [], "templated": {}, "attrs": {}, **fields,
    }  # fmt: skip


def described(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(PLAIN), **fields}


def value(given: Any) -> Any:
    """What a value becomes inside a document."""
    return json.loads(document.make(described(params={"x": given})).text)["params"]["x"]


# ── bytes and hashes ──────────────────────────────────────────────────────────────────────────


def test_the_example_of_rfc_8785() -> None:
    # Section 3.2.2 and 3.2.4: input and the bytes it must become.
    given = json.loads(
        r"""{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"""
    )
    expected = (
        r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
    ).encode()
    assert document.canonical(given) == expected
    assert document.digest(expected) == hashlib.sha256(expected).hexdigest()


def test_keys_are_sorted_by_utf_16() -> None:
    # Section 3.2.3: the emoji's surrogate pair sorts before U+FB33.
    given = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7}
    assert list(json.loads(document.canonical(given)).values()) == [2, 4, 6, 7, 1, 5, 3]


def test_known_digests() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert document.digest(b"") == empty
    assert document.canonical([]) == b"[]"
    assert document.digest(b"abc").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


def test_what_is_kept_is_what_was_hashed() -> None:
    made = document.make(described(dag_id="ä", tasks=[task("b"), task("a")]))
    assert hashlib.sha256(made.text.encode()).hexdigest() == made.dag_hash
    assert (made.dag_id, made.tasks) == ("ä", 2)
    assert document.canonical(json.loads(made.text)).decode() == made.text


# ── order ─────────────────────────────────────────────────────────────────────────────────────


def test_each_unordered_list_is_sorted_and_no_other() -> None:
    made = document.make(
        described(
            tags=["b", "a", "b"],
            owners=["z", "y", "z"],
            params={"list": [3, 1, 2]},
            default_args={"email": ["b", "a"]},
            tasks=[
                task("two", upstream=["one", "b"], template_fields=["sql", "env"]),
                task("one", downstream=["two", "b", "two"], attrs={"args": ["z", "a"]}),
            ],
            groups=[{"group_id": "h"}, {"group_id": "g"}],
            edges=[["b", "a", None], ["a", "c", "x"], ["a", "b", "y"], ["a", "b", None]],
        )
    )
    data = json.loads(made.text)
    assert data["tags"] == ["a", "b"]
    assert data["owners"] == ["y", "z"]
    assert data["params"]["list"] == [3, 1, 2]
    assert data["default_args"]["email"] == ["b", "a"]
    assert [t["task_id"] for t in data["tasks"]] == ["one", "two"]
    assert data["tasks"][0]["downstream"] == ["b", "two"]
    assert data["tasks"][0]["attrs"]["args"] == ["z", "a"]
    assert data["tasks"][1]["upstream"] == ["b", "one"]
    assert data["tasks"][1]["template_fields"] == ["env", "sql"]
    assert [g["group_id"] for g in data["groups"]] == ["g", "h"]
    assert data["edges"] == [["a", "b", None], ["a", "b", "y"], ["a", "c", "x"], ["b", "a", None]]


def test_the_description_given_is_left_alone() -> None:
    given = described(tags=["b", "a"], tasks=[task("b"), task("a")])
    before = copy.deepcopy(given)
    document.make(given)
    assert given == before


# ── values that JSON cannot hold ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [0, -1, 2**53 - 1, -(2**53) + 1, 1.5, -0.0, 1e308, 5e-324])
def test_numbers_that_pass(number: float) -> None:
    assert value(number) == number


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**64, 10**400])
def test_integers_past_what_a_double_holds(number: int) -> None:
    assert value(number) == {"__type": "int", "value": str(number)}


@pytest.mark.parametrize(("number", "text"), [(math.inf, "inf"), (-math.inf, "-inf")])
def test_infinity(number: float, text: str) -> None:
    assert value(number) == {"__type": "float", "value": text}


def test_not_a_number() -> None:
    assert value(math.nan) == {"__type": "float", "value": "nan"}
    assert value(-math.nan) == {"__type": "float", "value": "nan"}


def test_lone_surrogates() -> None:
    assert value("a\ud800b") == {"__type": "str", "value": "a\\ud800b"}
    assert value("\udcff") == {"__type": "str", "value": "\\udcff"}
    assert value("\U0001f600") == "\U0001f600"
    # A key that is no Unicode makes pairs of the whole mapping, in an order of their own.
    given = {"z": 1, "\udc80": {"\ud800": 2}, "a": "\ud801"}
    assert value(given) == value(dict(reversed(given.items())))
    assert value(given)["__type"] == "dict"
    assert sorted(value(given)["value"], key=json.dumps) == sorted(
        [
            ["z", 1],
            [
                {"__type": "str", "value": "\\udc80"},
                {"__type": "dict", "value": [[{"__type": "str", "value": "\\ud800"}, 2]]},
            ],
            ["a", {"__type": "str", "value": "\\ud801"}],
        ],
        key=json.dumps,
    )


def test_surrogate_pairs_in_two_halves_cannot_meet() -> None:
    # JSON of the worker may spell a pair as two escapes; json.loads joins them, a list keeps two.
    assert value(json.loads('"\\ud83d\\ude00"')) == "\U0001f600"
    assert value(["\ud83d", "\ude00"]) == [
        {"__type": "str", "value": "\\ud83d"},
        {"__type": "str", "value": "\\ude00"},
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"description": "x\udcff"},
        {"tags": ["b", "\udcff", "a", "\udcff"]},
        {"owners": ["\udcff", "o"]},
        {"tasks": [task("t", template_fields=["sql", "\udcff"])]},
        {"groups": [{"group_id": "g", "label": "\udcff"}]},
        {"edges": [["t", "u", "l\udcff"], ["a", "u", None]]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_surrogate_breaks_no_field_that_an_author_may_fill(fields: dict[str, Any]) -> None:
    # Ids of DAGs, tasks and groups Airflow itself keeps to letters, digits and a few signs.
    made = document.make(described(**fields))
    assert "\\udcff" in json.dumps(json.loads(made.text)).replace("\\\\", "\\")
    made.text.encode()
    reverse = {k: v[::-1] if isinstance(v, list) else v for k, v in fields.items()}
    assert document.make(described(**reverse)) == made


# ── what is only this parse's ─────────────────────────────────────────────────────────────────


def test_addresses_go() -> None:
    assert value("<object object at 0x7f12ab34cd56>") == "<object object>"
    assert value("<function f at 0x7F12>, <g at 0xabcdef>") == "<function f>, <g>"


@pytest.mark.parametrize(
    "text",
    [
        "at 0x12",
        "f at 0x7f12ab34cd56",
        "see f at 0xdeadbeef > here",
        "look at 0xZZ",
        "meet at 0x",
        "flat 0x7f12ab",
        "colour at 0x1234z",
        "0x7f12ab34",
    ],
)
def test_what_only_looks_like_an_address_stays(text: str) -> None:
    assert value(text) == text


def test_the_module_name_of_a_dag_file_goes() -> None:
    name = "unusual_prefix_" + "0123456789abcdef" * 2 + "01234567_my_dag"
    assert value(name) == "__dag__"
    assert value(f"<class '{name}.Mine'>") == "<class '__dag__.Mine'>"
    assert value({name: name}) == {"__dag__": "__dag__"}
    assert value("unusual_prefix_short_x") == "unusual_prefix_short_x"


def test_paths_are_replaced_the_longest_first() -> None:
    replace = [("/a/b/tmp", "<tmp>"), ("/a/b", "<repo>"), ("/a", "<home>")]
    given = {"/a/b/k": ["/a/b/tmp/x:/a/b/y", "/a/z", "see file:///a/b/x.py", "/c"]}
    made = document.make(described(params=given), replace)
    assert json.loads(made.text)["params"] == {
        "<repo>/k": ["<tmp>/x:<repo>/y", "<home>/z", "see file://<repo>/x.py", "/c"]
    }


def test_a_path_is_no_regular_expression() -> None:
    assert (
        document.clean("/tmp/x+y/z /tmp/xxy/z", [("/tmp/x+y", "<repo>")]) == "<repo>/z /tmp/xxy/z"
    )


def test_keys_that_become_one_lose_nothing() -> None:
    # Two keys of one mapping that differ only in an address, or a path, are still two entries.
    given = {"<f at 0x7f1200000001>": 1, "<f at 0x7f1200000002>": 2}
    made = value(given)
    assert sorted(made.values() if "__type" not in made else [v for _, v in made["value"]]) == [
        1,
        2,
    ]


def test_messages_are_cleaned_alike() -> None:
    found = document.clean("<X at 0x7f12ab34cd56> in /w/dags/a.py \udcff", [("/w", "<repo>")])
    assert found == "<X> in <repo>/dags/a.py \\udcff"


def test_airflows_own_json_has_its_paths_replaced_and_is_otherwise_whole() -> None:
    own = {"fileloc": '/w"q/dags/a.py', "b": [1, None, "ä/w"], "a": 2**60}
    text = document.plain_json(own, [('/w"q', "<repo>")])
    assert json.loads(text) == {"fileloc": "<repo>/dags/a.py", "b": [1, None, "ä/w"], "a": 2**60}


# ── parts and writers ─────────────────────────────────────────────────────────────────────────


def test_without_sources() -> None:
    given = {
        "f": {"name": "__dag__.f", "source": "def f(): ..."},
        "l": [{"name": "g", "source": None}, {"name": "h", "source": "x", "more": 1}],
        "source": "kept",
    }
    assert document.without_sources(given) == {
        "f": {"name": "__dag__.f", "source": None},
        "l": [{"name": "g", "source": None}, {"name": "h", "source": "x", "more": 1}],
        "source": "kept",
    }
    assert given["f"]["source"] == "def f(): ..."


def test_fields_are_chosen_when_shown() -> None:
    shown = {"dag_id": 1, "tasks": 2, "edges": 3}
    assert document.select(shown, [], []) == shown
    assert document.select(shown, ["tasks", "absent"], []) == {"tasks": 2}
    assert document.select(shown, [], ["tasks"]) == {"dag_id": 1, "edges": 3}
    assert document.select(shown, ["tasks", "edges"], ["tasks"]) == {"edges": 3}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs", "Ll"]), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(categories=["Cs", "Ll"])), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(JSON)
def test_both_writers_agree(shown: Any) -> None:
    fast, plain = document.writer("orjson")(shown), document.writer("json")(shown)
    assert json.loads(fast) == json.loads(plain) == shown


def test_writers_take_what_only_one_of_them_can() -> None:
    for shown in ({"x": 2**70}, {"x": "\udcff"}):
        assert json.loads(document.writer("orjson")(shown)) == shown
        assert json.loads(document.writer("json")(shown)) == shown


# ── properties ────────────────────────────────────────────────────────────────────────────────

NAMES = st.lists(st.text(min_size=1, max_size=5), max_size=5, unique=True)


@st.composite
def descriptions(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(NAMES)
    pairs = [(a, b) for a in names for b in names if a < b]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=6, unique=True)) if pairs else []
    return described(
        dag_id=draw(st.text(min_size=1)),
        tags=draw(NAMES),
        owners=draw(NAMES),
        params=draw(st.dictionaries(st.text(), ANY, max_size=3)),
        tasks=[
            task(
                name,
                upstream=[a for a, b in edges if b == name],
                downstream=[b for a, b in edges if a == name],
                template_fields=draw(NAMES),
                attrs=draw(st.dictionaries(st.text(max_size=3), ANY, max_size=2)),
            )
            for name in names
        ],
        groups=[{"group_id": name, "label": name} for name in draw(NAMES)],
        edges=[[a, b, draw(st.none() | st.text(max_size=3))] for a, b in edges],
    )


def as_double(text: str) -> float:
    return int(text) if abs(int(text)) < 2**53 else float(text)


def shuffled(given: Any, chance: random.Random) -> Any:
    """The same with every mapping's keys in another order."""
    if isinstance(given, dict):
        items = [(key, shuffled(item, chance)) for key, item in given.items()]
        chance.shuffle(items)
        return dict(items)
    if isinstance(given, list):
        return [shuffled(item, chance) for item in given]
    return given


@given(descriptions(), st.randoms(use_true_random=False))
def test_order_without_meaning_never_changes_the_hash(
    given: dict[str, Any], chance: random.Random
) -> None:
    expected = document.make(given)
    other = shuffled(given, chance)
    for name in ("tags", "owners", "tasks", "groups", "edges"):
        chance.shuffle(other[name])
    for one in other["tasks"]:
        for name in ("upstream", "downstream", "template_fields"):
            chance.shuffle(one[name])
    assert document.make(other) == expected


@given(descriptions())
def test_to_normalise_again_changes_nothing(given: dict[str, Any]) -> None:
    once = document.normalise(given, [("/nowhere", "<repo>")])
    assert document.normalise(once, [("/nowhere", "<repo>")]) == once
    text = document.canonical(once)
    # RFC 8785 writes 1e20 as 100000000000000000000; a reader with doubles only gets 1e20 back.
    assert document.canonical(json.loads(text, parse_int=as_double)) == text


@given(descriptions(), ANY, ANY)
def test_another_value_is_another_hash(given: dict[str, Any], one: Any, two: Any) -> None:
    same = document.canonical(document.normalise(described(params={"x": one}), [])) == (
        document.canonical(document.normalise(described(params={"x": two}), []))
    )
    hashes = []
    for x in (one, two):
        changed = copy.deepcopy(given)
        changed["params"]["changed"] = x
        hashes.append(document.make(changed).dag_hash)
    assert (hashes[0] == hashes[1]) == same
    # repr tells apart all that JSON does but -0.0 and 0.0, ints and whole floats.
    if not same:
        assert repr(one) != repr(two)


@pytest.mark.parametrize(
    ("field", "to"),
    [
        ("dag_id", "e"), ("description", ""), ("doc_md", "x"), ("catchup", True), ("tags", ["t"]),
        ("schedule", {"type": "cron", "value": "@daily"}), ("max_active_runs", 17),
        ("start_date", "2025-01-01T00:00:00Z"), ("timezone", "Europe/Berlin"),
        ("params", {"a": None}), ("params", {"a": 1}), ("params", {"a": "1"}),
        ("params", {"a": [1, 2]}), ("params", {"a": [2, 1]}), ("params", {"a": True}),
        ("tasks", [task("a")]), ("groups", [{"group_id": "g"}]), ("edges", [["a", "b", None]]),
        ("edges", [["a", "b", "label"]]), ("attrs", {"x": 2**53}), ("attrs", {"x": 2**53 + 1}),
    ],
)  # fmt: skip
def test_a_change_of_any_field_is_seen(field: str, to: Any) -> None:
    assert document.make(described(**{field: to})).dag_hash != document.make(PLAIN).dag_hash
