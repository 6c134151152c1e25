"""What hooks write down, and what it means: lines to moves of refs. Pure.

git 2.39 tells its ``reference-transaction`` hook less than happened, and more: the old value is null
where an update was forced; deleting a branch is told twice, and its old value not always; packing refs
is told as deleting them; renaming a branch or HEAD's going to another one is not told. So the lines are
held against what the refs were when last looked at, and what they are now.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LINE = re.compile(
    r"1 (?P<hook>[a-z-]+) (?P<at>-|\d+(?:\.\d+)?)\S* (?P<pid>\d+)"
    r" (?P<old>[0-9a-f]{40}) (?P<new>[0-9a-f]{40}) (?P<ref>\S+) (?P<by>.*?) ?\."
)
_NONE = "0" * 40
_BY = 200  # characters of a name that somebody's environment gave


@dataclass(frozen=True, slots=True)
class Seen:
    """One line: a hook was told that a ref went from ``old`` to ``new``; None is no ref, or not known."""

    ref: str
    old: str | None
    new: str | None
    at: float | None
    """Unix time, where the hook could tell"""
    by: str = ""
    told: str = ""
    """hook and process: equal for what one transaction moved"""


@dataclass(frozen=True, slots=True)
class Moved:
    """A ref's going from one object to another; None where it was not, or is no more."""

    ref: str
    old: str | None
    new: str | None
    at: float | None = None
    """None where no hook has seen it"""
    by: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What refs led to at one moment: branches and tags by full name, and each worktree's HEAD."""

    refs: Mapping[str, str]
    """full name, ``HEAD`` or ``worktrees/NAME/HEAD`` -> object id"""
    on: Mapping[str, str]
    """HEAD -> full name of the branch it is on; none where it is detached"""


def parse(data: bytes) -> list[Seen]:
    """The moves among the lines; torn ones, marks and whatever else is no move are left out."""
    found = []
    for line in data.decode("utf-8", "replace").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None or not matters(match["ref"]):
            continue
        old, new = (None if oid == _NONE else oid for oid in (match["old"], match["new"]))
        at = None if match["at"] == "-" else float(match["at"])
        by = "".join(c for c in match["by"].strip()[:_BY] if c.isprintable())
        found.append(Seen(match["ref"], old, new, at, by, f"{match['hook']} {match['pid']}"))
    return found


def matters(ref: str) -> bool:
    """Whether a ref's moves are deployments: branches, tags, HEAD.

    Remote-tracking refs say what another repository did, and a mirror's fetch tells that better.
    """
    return ref.startswith(("refs/heads/", "refs/tags/")) or is_head(ref)


def is_head(ref: str) -> bool:
    """Whether it is HEAD, or HEAD of a linked worktree."""
    return ref == "HEAD" or (ref.startswith("worktrees/") and ref.endswith("/HEAD"))


def follow(known: State, seen: Sequence[Seen], now: State) -> list[Moved]:
    """The moves that lead from one state to the other, told by what hooks have seen, in their order.

    Of each ref they form a chain. What no hook saw comes last, as one move.
    """
    together = {(s.told, s.new) for s in seen if s.ref.startswith("refs/heads/")}
    lines: dict[str, list[tuple[int, Seen]]] = {}
    for number, each in enumerate(seen):
        lines.setdefault(each.ref, []).append((number, each))
    moved: list[tuple[int, Moved]] = []
    for ref in sorted({*lines, *known.refs, *now.refs}):
        at, number = known.refs.get(ref), 0
        waiting = lines.get(ref, [])
        while waiting:
            place, line = waiting.pop(_next(waiting, at))
            number = max(number, place)  # the chain's order, not the lines'
            if line.new == at or (line.new is None and (waiting or ref in now.refs)):
                continue  # told twice, or not deleted: packed, or at once made again
            if line.old not in (None, at) and at == now.refs.get(ref):
                continue  # told late: the ref is where it was known to be
            if line.old not in (None, at) and not is_head(ref):
                moved.append((number, Moved(ref, at, line.old, line.at, line.by)))
                at = line.old
            # HEAD on a branch goes along with it untold, so for HEAD the line knows better.
            old = line.old or at if is_head(ref) else at or line.old
            if not (is_head(ref) and (line.told, line.new) in together):
                moved.append((number, Moved(ref, old, line.new, line.at, line.by)))
            at = line.new
        if at != now.refs.get(ref) and not _along(ref, known, now, told=ref in lines):
            moved.append((len(seen), Moved(ref, at, now.refs.get(ref))))
    return [move for _, move in sorted(moved, key=lambda pair: pair[0])]


def _next(waiting: Sequence[tuple[int, Seen]], at: str | None) -> int:
    """Which line to take: the first, unless it does not begin where the ref is and a later one does.

    Two processes may write their lines in another order than they moved the ref.
    """
    first = waiting[0][1]
    if first.old not in (None, at) and first.new != at:
        for place, (_, line) in enumerate(waiting):
            if line.old is not None and line.old == at:
                return place
    return 0


def _along(ref: str, known: State, now: State, *, told: bool) -> bool:
    """Whether it is HEAD, and moved because its branch did: the one it was on, or was led to since."""
    return ref in now.on and (told or known.on.get(ref) == now.on[ref])
