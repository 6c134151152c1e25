"""gitdags doctor: what is at fault, and the command that mends it."""

from __future__ import annotations

import argparse

from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.doctor import examine

_STYLES = {"ok": "green", "warning": "yellow", "fault": "bold red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """No words of its own."""


def run(context: Context, args: argparse.Namespace) -> int:
    """One line a thing looked at; exit 1 where a fault was found."""
    found = list(examine(context.settings, context.catalog))
    if context.json:
        context.write_json(found)
    else:
        rows: list[list[table.Cell]] = [
            [(d.state, _STYLES[d.state]), d.subject, d.message, (d.hint and f"hint: {d.hint}")]
            for d in found
        ]
        table.write(context.out, rows)
    return 1 if any(d.state == "fault" for d in found) else 0
