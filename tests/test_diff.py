"""Comparing two documents: every kind of difference, and the properties of any comparison."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gitdags.diff import compare


def document(**fields: Any) -> dict[str, Any]:
    return {"schema": "x", "dag_id": "d", "tasks": [], "groups": [], "edges": [], **fields}


def task(task_id: str, **fields: Any) -> dict[str, Any]:
    return {"task_id": task_id, "attrs": {}, "upstream": [], "downstream": [], **fields}


def test_attributes_of_the_dag() -> None:
    found = compare(
        document(tags=["a"], default_args={"retries": 1, "owner": "x"}),
        document(tags=["a", "b"], default_args={"retries": 2, "owner": "x"}),
    )
    assert found.attributes == {"tags": (["a"], ["a", "b"]), "default_args.retries": (1, 2)}


def test_tasks_and_their_fields() -> None:
    found = compare(
        document(tasks=[task("a", attrs={"pool": "p"}), task("gone"), task("same")]),
        document(
            tasks=[task("a", attrs={"retries": 3}), task("new"), task("same", upstream=["a"])]
        ),
    )
    assert found.tasks_added == ("new",)
    assert found.tasks_removed == ("gone",)
    assert found.tasks_changed == {"a": {"attrs.pool": ("p", None), "attrs.retries": (None, 3)}}


def test_true_is_not_one() -> None:
    found = compare(
        document(tasks=[task("a", attrs={"x": 1})]), document(tasks=[task("a", attrs={"x": True})])
    )
    assert found.tasks_changed == {"a": {"attrs.x": (1, True)}}


def test_edges_and_labels() -> None:
    found = compare(
        document(edges=[["a", "b", None], ["b", "c", "yes"]]),
        document(edges=[["b", "c", "no"], ["c", "d", None]]),
    )
    assert found.edges_added == (("c", "d"),)
    assert found.edges_removed == (("a", "b"),)
    assert found.edges_changed == (("b", "c", "yes", "no"),)


def test_groups() -> None:
    found = compare(
        document(groups=[{"group_id": "g", "tooltip": "a"}, {"group_id": "old"}]),
        document(groups=[{"group_id": "g", "tooltip": "b"}, {"group_id": "new"}]),
    )
    assert (found.groups_added, found.groups_removed) == (("new",), ("old",))
    assert found.groups_changed == {"g": {"tooltip": ("a", "b")}}


ids = st.sampled_from("abcde")
documents = st.builds(
    lambda tasks, edges, tags: document(
        tasks=[task(name, attrs=attrs) for name, attrs in sorted(tasks.items())],
        edges=[[a, b, label] for (a, b), label in sorted(edges.items())],
        tags=tags,
    ),
    st.dictionaries(ids, st.dictionaries(ids, st.integers(0, 2), max_size=2), max_size=4),
    st.dictionaries(st.tuples(ids, ids), st.sampled_from([None, "x"]), max_size=4),
    st.lists(ids, max_size=2),
)


@given(documents, documents)
def test_a_comparison_is_empty_for_equals_and_mirrors_itself(
    a: dict[str, Any], b: dict[str, Any]
) -> None:
    there, back = compare(a, b), compare(b, a)
    empty = not any(
        (there.attributes, there.tasks_added, there.tasks_removed, there.tasks_changed,
         there.edges_added, there.edges_removed, there.edges_changed)
    )  # fmt: skip
    assert empty == (a == b)
    assert there.tasks_added == back.tasks_removed
    assert there.edges_added == back.edges_removed
    assert {k: v[::-1] for k, v in there.attributes.items()} == back.attributes
    assert there.tasks_changed.keys() == back.tasks_changed.keys()
