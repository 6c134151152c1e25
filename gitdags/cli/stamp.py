"""gitdags stamp: say by hand which commit a run ran at."""

from __future__ import annotations

import argparse

from gitdags import wire
from gitdags.cli.context import Context
from gitdags.cli.words import add_airflow, add_dag, add_revision, drained


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_dag(parser)
    parser.add_argument("run", metavar="RUN", help="run id")
    add_revision(parser, "--at", "the commit it ran at; default: HEAD", default="HEAD")
    add_airflow(parser)


def run(context: Context, args: argparse.Namespace) -> int:
    """What is known of the run then; 1 where others name another commit."""
    drained(context)
    found = context.catalog.stamp(context.repository, args.dag, args.run, args.at, args.airflow)
    if context.json:
        context.write_json(wire.run(found))
    else:
        context.out.print(f"{found.dag_id} {found.run_id} ran at {(found.commit or '?')[:12]}")
    if found.conflict:
        context.note(f"warning: stamps of {found.run_id} name different commits; all are kept")
    if found.doubt:
        context.note(f"warning: {found.doubt}: the run has no document")
    return 1 if found.conflict else 0
