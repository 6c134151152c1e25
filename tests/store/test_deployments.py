"""Recorded moves of refs, in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gitdags.model import Deployment, Move
from gitdags.store import Store

A, B = "a" * 40, "b" * 40
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def move(seconds: float, old: str | None, new: str | None, source: str = "hook") -> Deployment:
    at = BEGIN + timedelta(seconds=seconds)
    return Deployment("dags", "refs/heads/main", old, new, at, "ada", source)


def test_newest_first(store: Store) -> None:
    moves = [move(0, None, A), move(10, A, B)]
    assert store.deployments.add(moves) == moves
    assert store.deployments.newest("dags") == moves[::-1]
    assert store.deployments.newest("dags", "refs/heads/other") == []
    assert store.deployments.newest("dags", before=BEGIN) == moves[:1]
    assert store.deployments.newest(limit=1) == moves[1:]
    assert store.deployments.count() == 2


def test_one_move_seen_twice_is_one(store: Store) -> None:
    first = move(0, None, A)
    assert store.deployments.add([first, move(0.3, None, A)]) == [first]
    assert store.deployments.add([first]) == []
    assert store.deployments.add([move(2, None, A)]) == []
    assert store.deployments.newest() == [first]


def test_drained_in_any_order(store: Store) -> None:
    store.deployments.add([move(5, A, B)])
    assert store.deployments.add([move(4, A, B)]) == []


def test_there_and_back_and_there_is_three(store: Store) -> None:
    moves = [move(0, A, B), move(1, B, A), move(2, A, B)]
    assert store.deployments.add(moves) == moves


def test_the_same_much_later_is_another(store: Store) -> None:
    assert len(store.deployments.add([move(0, A, B), move(100, A, B)])) == 2


def test_a_move_that_moves_nothing_is_none(store: Store) -> None:
    assert store.deployments.add([move(0, A, A)]) == []


def test_each_source_for_itself(store: Store) -> None:
    assert len(store.deployments.add([move(0, A, B), move(1, A, B, "airflow")])) == 2


def test_a_ref_is_dated_by_whoever_moved_it(store: Store) -> None:
    store.deployments.add([move(0, None, A, "airflow")])
    assert store.deployments.moves("dags", "refs/heads/main") == [Move(BEGIN, A)]
    store.deployments.add([move(5, A, B), move(9, B, None)])
    assert store.deployments.moves("dags", "refs/heads/main") == [
        Move(BEGIN + timedelta(seconds=5), B)
    ]
