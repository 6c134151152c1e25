"""gitdags blame: the commit that brought each task and edge."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby

from gitdags import wire
from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.cli.log import heading
from gitdags.cli.words import add_dag, add_revision
from gitdags.model import Blamed


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_dag(parser)
    add_revision(parser, "--at", "the commit; default: HEAD", default="HEAD")


def run(context: Context, args: argparse.Namespace) -> int:
    """One line a task or edge."""
    found = context.catalog.blame(context.repository, args.dag, args.at)
    if context.json:
        context.write_json([wire.blamed(one) for one in found])
        return 0
    found = sorted(found, key=lambda one: one.changed.committed_at, reverse=True)
    for _, group in groupby(found, key=lambda one: one.changed.sha):
        _block(context, list(group))
    if any(one.boundary for one in found):
        context.note("^ was there already at the oldest indexed commit; hint: gitdags index --all")
    return 0


def _block(context: Context, brought: Sequence[Blamed]) -> None:
    """A commit, and under it what it brought or last changed."""
    table.print_line(context.out, heading(brought[0].changed))
    rows: list[list[table.Cell]] = []
    for one in brought:
        old = one.added != one.changed
        sign = "^" if one.boundary and not old else "~" if old else "+"
        style = {"^": "dim", "~": "yellow", "+": "green"}[sign]
        since = f"since {one.added.sha[:12]}" if old else ""
        rows.append(["   ", (f"{sign} {' → '.join(one.name)}", style), (since, "dim")])
    table.write(context.out, rows)
    context.out.print()
