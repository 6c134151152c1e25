"""A DAG drawn in a terminal: one line a task, upstream above downstream, lanes for the edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gitdags.cli import table
from gitdags.errors import shown
from gitdags.labels import operator_name

if TYPE_CHECKING:
    from rich.console import Console

MAX_LANES = 40
"""Past this a drawing is no help; edges are listed beside the tasks instead."""


def write(console: Console, document: Mapping[str, Any]) -> None:
    """Print the drawing of a document."""
    tasks = {task["task_id"]: task for task in document["tasks"]}
    drawn = draw(tasks, document["edges"])
    for art, task_id in drawn or [("●", task_id) for task_id in tasks]:
        _line(console, art, tasks.get(task_id or ""), arrows=drawn is None)


def draw(
    tasks: Mapping[str, Mapping[str, Any]], edges: list[list[Any]]
) -> list[tuple[str, str | None]] | None:
    """(lanes, task id or None) per line, as `git log --graph` draws commits.

    A lane is an edge on its way down to one task; lanes to the same task are one. Where more than
    MAX_LANES would be needed there is no drawing, and `write` names downstream tasks instead.
    """
    below: dict[str, list[str]] = {task_id: [] for task_id in tasks}
    for start, end, _ in edges:
        below[start].append(end)
    order = _order(below)
    lanes: list[str | None] = []
    lines: list[tuple[str, str | None]] = []
    for task_id in order:
        if task_id in lanes:
            column = lanes.index(task_id)
        else:
            column = _free(lanes, 0)
        lanes[column] = None
        targets = [t for t in order if t in set(below[task_id])]
        lines.append((_cells(lanes, {column: "●"}), task_id))
        columns = []
        joined = set()  # lanes that were there already: an edge runs into them from the side
        for target in targets:
            if target in lanes:
                joined.add(lanes.index(target))
            else:
                free = column if lanes[column] is None else _free(lanes, column)
                lanes[free] = target
            columns.append(lanes.index(target))
        others = sorted(set(columns) - {column})
        if others:
            lines.append((_fork(lanes, column, column in columns, others, joined), None))
        while lanes and lanes[-1] is None:
            lanes.pop()
        if len(lanes) > MAX_LANES:
            return None
    return lines


def _order(below: Mapping[str, list[str]]) -> list[str]:
    """Tasks so that each comes after all above it, and soon after the last of them."""
    waiting = dict.fromkeys(below, 0)
    for targets in below.values():
        for target in targets:
            waiting[target] += 1
    ready = sorted((t for t, n in waiting.items() if n == 0), reverse=True)
    order = []
    while ready:
        task_id = ready.pop()
        order.append(task_id)
        freed = []
        for target in below[task_id]:
            waiting[target] -= 1
            if waiting[target] == 0:
                freed.append(target)
        ready += sorted(freed, reverse=True)
    return order


def _free(lanes: list[str | None], start: int) -> int:
    for column in range(start, len(lanes)):
        if lanes[column] is None:
            return column
    lanes.append(None)
    return len(lanes) - 1


def _cells(lanes: list[str | None], marks: Mapping[int, str]) -> str:
    last = max((i for i, lane in enumerate(lanes) if lane or i in marks), default=0)
    return " ".join(
        marks.get(i) or ("│" if i < len(lanes) and lanes[i] else " ") for i in range(last + 1)
    )


def _fork(
    lanes: list[str | None], column: int, stays: bool, others: list[int], joined: set[int]
) -> str:
    """The line below a task from which lanes branch off, or run into lanes that are there."""
    left, right = min([column, *others]), max([column, *others])
    cells = []
    for i in range(max(len(lanes), right + 1)):
        inside = left < i < right
        if i == column:
            sides = (left < i, right > i)
            char = {(True, True): "┼" if stays else "┴", (True, False): "┤" if stays else "╯"}.get(
                sides, "├" if stays else "╰"
            )
        elif i in others:
            sort = ("inside" if inside else "right" if i > column else "left", i in joined)
            char = _JOINTS[sort]
        elif i < len(lanes) and lanes[i]:
            char = "┼" if inside else "│"
        else:
            char = "─" if inside else " "
        cells.append(char + ("─" if left <= i < right else " "))
    return "".join(cells).rstrip()


_JOINTS = {
    ("inside", False): "┬", ("right", False): "╮", ("left", False): "╭",
    ("inside", True): "┼", ("right", True): "┤", ("left", True): "├",
}  # fmt: skip


def _line(console: Console, art: str, task: Mapping[str, Any] | None, *, arrows: bool) -> None:
    from rich.text import Text

    line = Text(art, style="dim")
    if task is not None:
        line.append("  ")
        line.append(shown(task["task_id"], 200), style="bold not dim")
        if task["mapped"]:
            line.append(" []", style="magenta not dim")
        line.append(f"  {shown(operator_name(task['operator']), 80)}", style="dim")
        if task["trigger_rule"] != "all_success":
            line.append(f"  {task['trigger_rule']}", style="yellow not dim")
        if arrows and task["downstream"]:
            line.append("  → " + shown(", ".join(task["downstream"]), 2000), style="not dim")
    table.print_line(console, line)
