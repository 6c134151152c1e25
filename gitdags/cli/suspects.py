"""gitdags suspects: what changed since the last good run of a DAG."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gitdags import wire
from gitdags.cli import diff, table
from gitdags.cli.context import Context
from gitdags.cli.words import add_airflow, add_dag, count, day, drained, moment
from gitdags.errors import shown
from gitdags.model import Suspect, Suspicion

_FILES = 5  # paths named on one line


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_dag(parser)
    parser.add_argument("run", metavar="RUN", help="run id")
    add_airflow(parser)
    parser.add_argument(
        "--stat", action="store_true", help="the commits only, not what they changed"
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """The commits that touched what the DAG reads, newest first, each with what it changed."""
    drained(context)
    context.catalog.settle()
    found = context.catalog.suspects(context.catalog.run(args.dag, args.run, args.airflow))
    if context.json:
        context.write_json(wire.suspicion(found))
        return 0
    context.note(f"{found.run.run_id}: {found.run.state} at {(found.commit or '?')[:12]}")
    if found.good is None:
        context.note(f"no run of {args.dag} succeeded before it: nothing to compare with")
        context.note(f"hint: gitdags show {shown(args.dag)} --at {(found.commit or 'HEAD')[:12]}")
        return 0
    context.note(
        f"last good: {found.good.run_id} at {(found.good_commit or '?')[:12]}, "
        f"{moment(found.good.stamped_at)}"
    )
    for name, (then, now) in found.runtime.items():
        context.out.print(f"~ {name}: {shown(then)} → {shown(now)}", style="yellow")
    _list(context, found.suspects, stat=args.stat)
    if found.undone:
        context.out.print("no longer in its history:", style="bold")
        _list(context, found.undone, stat=args.stat)
    context.note(_summary(found))
    return 0


def _list(context: Context, suspects: Sequence[Suspect], *, stat: bool) -> None:
    for each in suspects:
        row: list[table.Cell] = [
            (each.commit.sha[:12], "yellow"),
            day(each.commit.committed_at),
            _change(each),
            each.commit.subject,
            (each.commit.author, "dim"),
        ]
        table.write(context.out, [row])
        named = ", ".join(each.files[:_FILES])
        more = f" and {len(each.files) - _FILES} more" if len(each.files) > _FILES else ""
        context.out.print(f"    {shown(named + more, 500)}", style="dim")
        if not stat and each.diff is not None:
            diff.write(context, diff.field_lines(each.diff))


def _change(each: Suspect) -> table.Cell:
    if each.change is None:
        return "  no change seen", "dim"
    return f"{table.SIGNS[each.change]} {each.change}", table.CHANGE_STYLES[each.change]


def _summary(found: Suspicion) -> str:
    if found.commit is None or found.good_commit is None:
        return "the commits of the two runs are not known: gitdags runs"
    if found.missing:
        return f"not here, so nothing can be said: {', '.join(found.missing)}\nhint: gitdags fetch"
    if found.commit == found.good_commit:
        same = "both ran at the same commit"
        return same if found.runtime else f"{same}, with the same environment as far as is known"
    touched = len(found.suspects) + len(found.undone)
    return f"{count(touched, 'suspect')} of {count(found.commits, 'commit')} in between"
