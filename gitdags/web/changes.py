"""Two texts beside each other: which lines differ, and which words of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from gitdags.model import Json
from gitdags.web.highlight import Span, markup, segments, split

CONTEXT = 4
"""Unchanged lines around a change."""
_WORD = re.compile(r"\w+|\s+|[^\w\s]")
_ALIKE = 0.35  # ratio below which two lines are shown as one gone and one come, without words
_LONG = 2_000  # characters of a line past which words are not looked at

Row = tuple[str, int | None, str, int | None, str]
"""(sign, line number, markup, line number, markup); the sign is blank, -, + or ~"""


def compare(name: str, old: str, new: str) -> Json:
    """``{"hunks": [[row]], "added": n, "removed": n}``; equal texts have no hunk."""
    before, after = split(old), split(new)
    left, right = segments(name, old), segments(name, new)
    added = removed = 0
    hunks: list[list[Row]] = []
    for group in _groups(before, after):
        rows: list[Row] = []
        for kind, a0, a1, b0, b1 in group:
            if kind == "equal":
                rows += [
                    (" ", a + 1, markup(left[a]), b + 1, markup(right[b]))
                    for a, b in zip(range(a0, a1), range(b0, b1), strict=True)
                ]
                continue
            removed += a1 - a0
            added += b1 - b0
            rows += _block(before, after, left, right, (a0, a1, b0, b1))
        hunks.append(rows)
    return {"hunks": hunks, "added": added, "removed": removed}


def _groups(a: Sequence[str], b: Sequence[str]) -> Iterator[list[tuple[str, int, int, int, int]]]:
    """Opcodes in hunks; equal lines at both ends are set aside first, as most of a file is equal."""
    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    begin = max(0, head - CONTEXT)
    rest = max(0, tail - CONTEXT)
    matcher = SequenceMatcher(
        None, a[begin : len(a) - rest], b[begin : len(b) - rest], autojunk=len(a) > 3_000
    )
    for group in matcher.get_grouped_opcodes(CONTEXT):
        shifted = [
            (kind, a0 + begin, a1 + begin, b0 + begin, b1 + begin) for kind, a0, a1, b0, b1 in group
        ]
        if any(kind != "equal" for kind, *_ in shifted):
            yield shifted


def _block(
    before: Sequence[str],
    after: Sequence[str],
    left: Sequence[Sequence[tuple[str, str]]],
    right: Sequence[Sequence[tuple[str, str]]],
    where: tuple[int, int, int, int],
) -> Iterator[Row]:
    """Lines that were replaced: in pairs as far as both sides go."""
    a0, a1, b0, b1 = where
    for i in range(max(a1 - a0, b1 - b0)):
        a, b = a0 + i, b0 + i
        if a < a1 and b < b1:
            was, now = words(before[a], after[b])
            yield "~", a + 1, markup(left[a], was), b + 1, markup(right[b], now)
        elif a < a1:
            yield "-", a + 1, markup(left[a]), None, ""
        else:
            yield "+", None, "", b + 1, markup(right[b])


def words(old: str, new: str) -> tuple[list[Span], list[Span]]:
    """The characters of each line that the other has not; none where the lines have little in common."""
    if len(old) > _LONG or len(new) > _LONG:
        return [], []
    a, b = _WORD.findall(old), _WORD.findall(new)
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return [], []
    starts = _starts(a), _starts(b)
    gone: list[Span] = []
    come: list[Span] = []
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        if kind != "equal":
            if a1 > a0:
                gone.append((starts[0][a0], starts[0][a1]))
            if b1 > b0:
                come.append((starts[1][b0], starts[1][b1]))
    return gone, come


def _starts(parts: Sequence[str]) -> list[int]:
    found = [0]
    for part in parts:
        found.append(found[-1] + len(part))
    return found
