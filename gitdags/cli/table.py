"""Columns of text for people: aligned, coloured on a terminal, cut to its width there and only there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitdags.errors import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Cell = str | tuple[str, str]
"""text, or (text, style)"""

CHANGE_STYLES = {
    "added": "green", "removed": "red", "failed": "bold red", "fixed": "green",
    "structure": "yellow", "code": "cyan", "moved": "blue",
}  # fmt: skip
STATE_STYLES = {
    "success": "green", "failed": "red", "running": "cyan", "queued": "dim", "skipped": "dim",
    "upstream_failed": "red",
}  # fmt: skip
SIGNS = {
    "added": "+", "removed": "-", "failed": "!", "fixed": "✓",
    "structure": "~", "code": "≈", "moved": "→",
}  # fmt: skip


def write(console: Console, rows: Sequence[Sequence[Cell]], header: Sequence[str] = ()) -> None:
    """Print rows as columns; right-aligned where every cell is a number."""
    if not rows:
        return
    table: list[list[Text]] = [[_text(cell) for cell in row] for row in rows]
    widths = [max(t.cell_len for t in column) for column in zip(*table, strict=True)]
    numeric = [all(t.plain.replace(",", "").isdigit() for t in c) for c in zip(*table, strict=True)]
    if header:
        widths = [max(w, len(h)) for w, h in zip(widths, header, strict=True)]
        table.insert(0, [_text((h, "dim")) for h in header])
    for row in table:
        line = _text("")
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = width - cell.cell_len
            if numeric[i]:
                line.append(" " * gap)
            line.append_text(cell)
            if i + 1 < len(row):
                line.append(" " * ((0 if numeric[i] else gap) + 2))
        line.rstrip()
        print_line(console, line)


def print_line(console: Console, line: Text) -> None:
    """One line, with an ellipsis where a terminal is too narrow for it."""
    if console.is_terminal:
        line.truncate(console.width, overflow="ellipsis")
    console.print(line, soft_wrap=True)


def _text(cell: Cell) -> Text:
    from rich.text import Text

    text, style = cell if isinstance(cell, tuple) else (cell, "")
    return Text(shown(text, 10_000), style=style)
