"""The words of `log`, and blame: pure walks over made-up commits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdags.model import Commit, ListedDag
from gitdags.versions import Content, State, blame, settle, step

DOCUMENTS = {
    "1": {"dag_id": "d", "tasks": [{"f": {"name": "x", "source": "a"}}]},
    "1-other-source": {"dag_id": "d", "tasks": [{"f": {"name": "x", "source": "b"}}]},
    "2": {"dag_id": "d", "tasks": []},
}
FILES = {
    "c1": [("dags/a.py", "blob1")],
    "c1-moved": [("dags/b.py", "blob1")],
    "c2": [("dags/a.py", "blob2")],
}


def commit(n: int) -> Commit:
    when = datetime(2025, 1, 1, tzinfo=UTC)
    return Commit(f"{n:040x}", "t", (), "Ada", "ada@example.org", when, when, f"number {n}")


def row(dag_hash: str = "1", code_hash: str = "c1", file: str = "dags/a.py") -> ListedDag:
    return ListedDag("d", file, dag_hash, code_hash, 1, "e", "airflow")


def words(*contents: Content, moved: dict[str, str] | None = None) -> list[list[str]]:
    """The words said at each commit of a history."""
    state: State | None = State()
    found = []
    for n, content in enumerate(contents):
        state, candidates = step(state, commit(n), content, (moved or {}).get)
        versions = settle(candidates, documents_of, files_of)
        found.append([version.change for version in versions])
    return found


def documents_of(hashes: set[str]) -> dict[str, Any]:
    return {key: DOCUMENTS[key] for key in hashes}


def files_of(hashes: set[str]) -> dict[str, list[tuple[str, str]]]:
    return {key: FILES[key] for key in hashes}


def holds(*rows: ListedDag, failing: tuple[str, ...] = ()) -> Content:
    return Content({"d": rows} if rows else {}, frozenset(failing))


def test_added_changed_removed() -> None:
    assert words(
        holds(),
        holds(row()),
        holds(row()),
        holds(row("2", "c2")),
        holds(row("2", "c1")),
        holds(),
    ) == [[], ["added"], [], ["structure"], ["code"], ["removed"]]


def test_code_is_sources_only_or_other_blobs() -> None:
    assert words(holds(row("1", "c1")), holds(row("1-other-source", "c2"))) == [["added"], ["code"]]
    assert words(holds(row("1", "c1")), holds(row("1", "c2"))) == [["added"], ["code"]]


def test_moved_is_other_paths_and_nothing_else() -> None:
    assert words(holds(row("1", "c1")), holds(row("1", "c1-moved", "dags/b.py"))) == [
        ["added"], ["moved"],
    ]  # fmt: skip


def test_a_failing_dag_is_never_removed() -> None:
    failing = holds(failing=("dags/a.py",))
    assert words(holds(row()), failing, failing, holds(row())) == [
        ["added"],
        ["failed"],
        [],
        ["fixed"],
    ]
    assert words(holds(row()), failing, holds()) == [["added"], ["failed"], ["removed"]]


def test_a_revert_is_a_change_back() -> None:
    assert words(holds(row("1")), holds(row("2", "c2")), holds(row("1"))) == [
        ["added"], ["structure"], ["structure"],
    ]  # fmt: skip


def test_a_second_definition_is_a_change_of_structure() -> None:
    both = holds(row(), row(file="dags/b.py"))
    assert words(holds(row()), both, holds(row())) == [["added"], ["structure"], ["structure"]]


def test_before_the_first_indexed_commit_nothing_is_said() -> None:
    state, candidates = step(None, commit(0), holds(row()))
    assert candidates == []
    assert step(state, commit(1), holds())[1][0].version.change == "removed"


def test_renamed_and_failing_in_one_commit_is_failed() -> None:
    failing = holds(failing=("dags/b.py",))
    said = words(
        holds(row()), failing, failing, holds(row(file="dags/b.py")),
        moved={"dags/a.py": "dags/b.py"},
    )  # fmt: skip
    assert said == [["added"], ["failed"], [], ["fixed"]]
    assert words(holds(row()), failing) == [["added"], ["removed"]]


def test_true_is_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOCUMENTS, "true", {"dag_id": "d", "tasks": [{"x": True}]})
    monkeypatch.setitem(DOCUMENTS, "one", {"dag_id": "d", "tasks": [{"x": 1}]})
    assert words(holds(row("true")), holds(row("one"))) == [["added"], ["structure"]]


contents = st.one_of(
    st.just(holds()),
    st.just(holds(failing=("dags/a.py",))),
    st.builds(
        lambda h, c: holds(row(h, c)),
        st.sampled_from(sorted(DOCUMENTS)),
        st.sampled_from(sorted(FILES)),
    ),
)


@given(st.lists(contents, max_size=12))
def test_words_tell_the_whole_story(history: list[Content]) -> None:
    """Replaying only the words leads to the same presence of the DAG at every commit."""
    state = "absent"
    for content, said in zip(history, words(*history), strict=True):
        for word in said:
            if word in ("added", "fixed"):
                assert state == {"added": "absent", "fixed": "failed"}[word]
                state = "present"
            elif word == "failed":
                assert state == "present"
                state = "failed"
            elif word == "removed":
                assert state in ("present", "failed")
                state = "absent"
            else:
                assert state == "present"
        if content.dags:
            assert state == "present"
        elif not content.failing:
            assert state == "absent"


def document(tasks: dict[str, Any], *edges: tuple[str, str]) -> dict[str, Any]:
    return {
        "tasks": [{"task_id": name, "pool": pool} for name, pool in tasks.items()],
        "edges": [[a, b, None] for a, b in edges],
    }


class TestBlame:
    def test_of_nothing_is_nothing(self) -> None:
        assert list(blame([], boundary=False)) == []

    def test_who_brought_and_who_last_changed(self) -> None:
        found = blame(
            [
                (commit(0), {"airflow": document({"a": 1})}),
                (commit(1), {"airflow": document({"a": 1, "b": 1}, ("a", "b"))}),
                (commit(2), {"airflow": document({"a": 2, "b": 1}, ("a", "b"))}),
            ],
            boundary=False,
        )
        assert [(one.name, one.added.subject, one.changed.subject) for one in found] == [
            (("a",), "number 0", "number 2"),
            (("b",), "number 1", "number 1"),
            (("a", "b"), "number 1", "number 1"),
        ]

    def test_what_went_and_came_back_is_new(self) -> None:
        history = [
            (commit(n), {"airflow": document({"a": 1} if n != 1 else {"b": 1})}) for n in range(3)
        ]
        assert [one.added.subject for one in blame(history, boundary=False)] == ["number 2"]

    def test_the_oldest_indexed_commit_is_a_boundary(self) -> None:
        found = list(blame([(commit(0), {"airflow": document({"a": 1})})], boundary=True))
        assert found[0].boundary

    def test_documents_of_different_engines_are_not_compared(self) -> None:
        found = blame(
            [
                (commit(0), {"recorder": document({"a": 1})}),
                (commit(1), {"airflow": document({"a": "x"}), "recorder": document({"a": 1})}),
                (commit(2), {"airflow": document({"a": "y", "b": 1})}),
            ],
            boundary=False,
        )
        assert [(one.name, one.added.subject, one.changed.subject) for one in found] == [
            (("a",), "number 0", "number 2"),
            (("b",), "number 2", "number 2"),
        ]
