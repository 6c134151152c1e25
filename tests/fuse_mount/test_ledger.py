"""What a server leaves to the next: records, counts, requests put aside."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_mount.faults import Damaged
from fuse_mount.ledger import ASIDE, Full, Ledger
from fuse_mount.nodes import File, Submodule, derived, file_id, file_time
from fuse_mount.table import Table


def _again(ledger: Ledger) -> Ledger:
    return Ledger(ledger.descriptor)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["tell", "forget"]), st.integers(1, 3)),
        max_size=60,
    )
)
def test_a_successor_holds_what_its_predecessor_did(steps: list[tuple[int, str, int]]) -> None:
    ledger = Ledger()
    table = Table(ledger)
    expected: dict[int, int] = {}
    for index, what, times in steps:
        number = 100 + index
        if what == "tell":
            table.hold(Submodule(number, 2**index * 3**30))
            expected[number] = expected.get(number, 0) + 1
        elif number in expected:
            table.forget(number, min(times, expected[number]))
            expected[number] -= min(times, expected[number])
            expected = {key: value for key, value in expected.items() if value}
    successor = Table(_again(ledger))
    assert len(successor) == len(table) == len(expected)
    for number, lookups in expected.items():
        assert successor[number] == table[number]
        successor.forget(number, lookups)
    assert len(successor) == 0


def test_room_is_used_again() -> None:
    ledger = Ledger(capacity=4_096 + (64 << 10) + 64 * 10)
    table = Table(ledger)
    for number in range(1_000):
        table.hold(Submodule(100 + number, number))
        table.forget(100 + number, 1)
    assert len(Table(_again(ledger))) == 0


def test_a_full_ledger_is_no_reason_to_stop() -> None:
    ledger = Ledger(capacity=4_096 + (64 << 10) + 64)
    with pytest.raises(Full):
        ledger.add(1, ("x" * 100,), 1)
    table = Table(ledger)
    for number in range(10):
        table.hold(Submodule(100 + number, 0))
    assert len(table) == 10


def test_requests_put_aside() -> None:
    ledger = Ledger()
    assert all(ledger.put_aside(unique) for unique in range(1, ASIDE + 1))
    assert not ledger.put_aside(999)
    ledger.taken_up(5)
    assert 5 not in _again(ledger).aside()
    assert ledger.put_aside(999)
    ledger.agreed = (7, 39, 1, 2)
    assert _again(ledger).agreed == (7, 39, 1, 2)


def test_the_oldest_are_let_go_and_asked_about_once() -> None:
    table = Table(Ledger(), memory=1)
    for number in range(1_001):
        table.hold(Submodule(100 + number, 0))
    first = table.surplus()
    assert first[:2] == [100, 101]
    assert table.surplus() == []
    for number in first:
        table.forget(number, 1)
    assert len(table) == 0


def test_two_files_under_one_id_are_refused() -> None:
    table = Table(Ledger())
    table.hold(File(100, "repo", "a" * 40, 0o100444, 1))
    with pytest.raises(Damaged):
        table.hold(File(100, "repo", "b" * 40, 0o100444, 1))


@given(st.binary(min_size=20, max_size=20), st.sampled_from([0o100444, 0o100555, 0o120777]))
def test_ids_and_times_stay_in_their_bounds(oid: bytes, mode: int) -> None:
    assert 16 <= file_id(derived(b"repository", b"r"), oid.hex(), mode) < 1 << 62
    seconds, nanoseconds = file_time(oid.hex())
    assert 1_000_000_000 <= seconds < 1_536_870_912
    assert 0 <= nanoseconds < 1_000_000_000
