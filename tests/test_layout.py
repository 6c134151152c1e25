"""Layout: same graph, same numbers; everything has a place; graphs made to be slow are not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitdags.layout import Box, Group, Line, _routed, from_json, place, place_json


def boxes(count: int, group: str | None = None) -> list[Box]:
    return [Box(f"t{i}", 120, 44, group) for i in range(count)]


def test_nothing() -> None:
    assert place([], []).nodes == {}


def test_left_to_right_and_top_to_bottom() -> None:
    chain = [Line("t0", "t1"), Line("t1", "t2")]
    right = place(boxes(3), chain).nodes
    assert right["t0"][0] < right["t1"][0] < right["t2"][0]
    below = place(boxes(3), chain, down=True).nodes
    assert below["t0"][1] < below["t1"][1] < below["t2"][1]


def test_same_numbers_again() -> None:
    graph = boxes(40), [Line(f"t{i // 3}", f"t{i}", 30 if i % 5 == 0 else 0) for i in range(1, 40)]
    assert place(*graph) == place(*graph)


def test_groups_hold_their_boxes_and_each_other() -> None:
    groups = [Group("outer", None, 60), Group("inner", "outer", 60)]
    nodes = [Box("a", 100, 44, "inner"), Box("b", 100, 44, "outer"), Box("c", 100, 44)]
    found = place(nodes, [Line("a", "b"), Line("b", "c")], groups)

    def holds(name: str, x: float, y: float) -> bool:
        left, top, width, height = found.groups[name]
        return left <= x <= left + width and top <= y <= top + height

    assert [holds("inner", *found.nodes[n]) for n in "abc"] == [True, False, False]
    assert [holds("outer", *found.nodes[n]) for n in "abc"] == [True, True, False]


def test_circles_and_two_lines_between_the_same_boxes() -> None:
    lines = [Line("t0", "t1"), Line("t1", "t0"), Line("t1", "t1"), Line("t0", "t1", 40)]
    found = place(boxes(2), lines)
    assert [bool(points) for points in found.lines] == [True] * 4
    assert [label is not None for label in found.labels] == [False, False, False, True]


@pytest.mark.parametrize(
    ("lines", "groups"),
    [([Line("t0", "x")], []), ([], [Group("g", "g", 9)]), ([], [Group("g", "nowhere", 9)])],
)
def test_what_is_no_graph(lines: list[Line], groups: list[Group]) -> None:
    with pytest.raises((ValueError, KeyError)):
        place(boxes(1, groups[0].id if groups else None), lines, groups)


def test_a_hub_before_a_long_chain_gives_dot_no_more_than_it_can_do() -> None:
    names = [f"t{i}" for i in range(500)]
    lines = [Line(a, b) for a, b in itertools.pairwise(names)] + [Line("t0", n) for n in names[2:]]
    routed = _routed(names, lines)
    assert set(range(499)) <= routed  # the chain itself
    assert len(routed) < 700
    found = place(boxes(500), lines)
    assert all(len(points) >= 4 for points in found.lines)


def test_small_graphs_are_routed_whole() -> None:
    names = [f"t{i}" for i in range(60)]
    lines = [Line(a, b) for a, b in itertools.combinations(names[:20], 2)]
    assert _routed(names, lines) == set(range(len(lines)))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_graph(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    ids = st.integers(0, count - 1)
    groups = [Group("g", None, 50), Group("h", "g", 50)]
    nodes = [
        Box(f"t{i}", 90, 44, data.draw(st.sampled_from([None, "g", "h"]))) for i in range(count)
    ]
    pairs = data.draw(st.lists(st.tuples(ids, ids, st.sampled_from([0, 25])), max_size=25))
    lines = [Line(f"t{a}", f"t{b}", w) for a, b, w in pairs]
    found = from_json(place_json(nodes, lines, groups, data.draw(st.booleans())))
    assert found.nodes.keys() == {box.id for box in nodes}
    assert len(found.lines) == len(found.labels) == len(lines)
    for x, y in found.nodes.values():
        assert -1 <= x <= found.width + 1
        assert -1 <= y <= found.height + 1
    spots = list(found.nodes.values())
    for (ax, ay), (bx, by) in itertools.combinations(spots, 2):
        assert abs(ax - bx) >= 89 or abs(ay - by) >= 43  # no two boxes overlap
