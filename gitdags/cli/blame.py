"""gitdags blame: the commit that brought each task and edge."""

from __future__ import annotations

import argparse

from gitdags.cli import table
from gitdags.cli.context import Context, moment
from gitdags.cli.words import add_dag, add_revision, day
from gitdags.model import Commit


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_dag(parser)
    add_revision(parser, "--at", "the commit; default: HEAD", default="HEAD")


def run(context: Context, args: argparse.Namespace) -> int:
    """One line a task or edge."""
    found = context.catalog.blame(context.repository, args.dag, args.at)
    if context.json:
        context.write_json(
            [
                {
                    ("task_id" if len(one.name) == 1 else "edge"): (
                        one.name[0] if len(one.name) == 1 else list(one.name)
                    ),
                    "added": _commit(one.added),
                    "changed": _commit(one.changed),
                    "boundary": one.boundary,
                }
                for one in found
            ]
        )
        return 0
    rows: list[list[table.Cell]] = [
        [
            (
                ("^" if one.boundary and one.changed == one.added else "") + one.changed.sha[:12],
                "yellow",
            ),
            day(one.changed.committed_at),
            (one.changed.author, "dim"),
            " → ".join(one.name),
            ("" if one.added == one.changed else f"since {one.added.sha[:12]}", "dim"),
            (one.changed.subject, "dim"),
        ]
        for one in found
    ]
    table.write(context.out, rows)
    if any(one.boundary for one in found):
        context.note("^ was there already at the oldest indexed commit; hint: gitdags index --all")
    return 0


def _commit(commit: Commit) -> dict[str, str]:
    return {
        "commit": commit.sha,
        "committed_at": moment(commit.committed_at),
        "author": commit.author,
        "subject": commit.subject,
    }
