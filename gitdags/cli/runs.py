"""gitdags runs: the runs that were stamped, and the commits they ran at."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gitdags import wire
from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.cli.words import add_airflow, add_dag, add_revision, count, drained, moment
from gitdags.errors import UsageError

if TYPE_CHECKING:
    from gitdags.model import RunStamp

_SHOWN = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_dag(parser, optional=True)
    add_revision(parser, "--at", "only runs that ran at that commit, or a try of which did")
    add_airflow(parser)
    parser.add_argument("-n", dest="limit", metavar="N", type=int, help="at most N runs")
    parser.add_argument("--tries", action="store_true", help="a line for each try")


def run(context: Context, args: argparse.Namespace) -> int:
    """A line a run, newest first, and below it the tries that ran elsewhere."""
    if args.limit is not None and args.limit < 0:
        raise UsageError(f"-n {args.limit} is no number of runs", hint="gitdags runs -n 20")
    drained(context)
    catalog = context.catalog
    repo = context.repository if context.repository_name or args.at else None
    commit = None if args.at is None else catalog.resolve(context.repository, args.at).commit
    limit = args.limit if args.limit is not None or context.json else _SHOWN + 1
    found = catalog.runs(args.dag, commit, args.airflow, repo, limit=limit)
    if context.json:
        context.write_json([wire.run(one) for one in found])
        return 0
    shown = found if args.limit is not None else found[:_SHOWN]
    several = len({one.airflow for one in shown}) > 1
    rows: list[list[table.Cell]] = []
    for one in shown:
        rows.append(_row(one, several))
        rows += [_try_row(one, number) for number in _told(one, every=args.tries)]
    table.write(context.out, rows, ("DAG", "RUN", "STATE", "COMMIT", "SOURCE", "AT", ""))
    if not found:
        context.note(
            "no run is stamped yet" if args.dag is None else f"no run of {args.dag} is stamped"
        )
        context.note("hint: gitdags doctor")
    elif len(found) > len(shown):
        context.note(f"the newest {count(len(shown), 'run')}; more with -n N")
    return 0


def _row(one: RunStamp, several: bool) -> list[table.Cell]:
    flags = [*([one.airflow] if several else []), *one.flags]
    if one.moved_to:
        flags.append("then " + ", ".join(sha[:12] for sha in one.moved_to))
    return [
        (one.dag_id, "bold"),
        one.run_id,
        (one.state, table.STATE_STYLES.get(one.state, "")),
        ((one.commit or "?")[:12], "yellow"),
        (one.source, "dim"),
        moment(one.stamped_at),
        (", ".join(flags), "bold red" if one.conflict else "dim"),
    ]


def _told(one: RunStamp, *, every: bool) -> list[int]:
    """The tries that are listed: those that ran elsewhere than the run began, or are in conflict."""
    return [
        number
        for number, each in enumerate(one.tries)
        if every or each.conflict or each.commit not in (None, one.commit)
    ]


def _try_row(one: RunStamp, number: int) -> list[table.Cell]:
    each = one.tries[number]
    index = f"[{each.map_index}]" if each.map_index >= 0 else ""
    words = [word for word, holds in (("conflict", each.conflict), ("dirty", each.dirty)) if holds]
    return [
        "",
        f"  {each.task_id}{index}, try {each.try_number}",
        (each.state, table.STATE_STYLES.get(each.state, "")),
        ((each.commit or "?")[:12], "yellow"),
        (each.source, "dim"),
        moment(each.stamped_at),
        (", ".join(words), "bold red"),
    ]
