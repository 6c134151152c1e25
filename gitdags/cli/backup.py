"""gitdags backup: what cannot be made again, in one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from gitdags import backup
from gitdags.cli.context import Context
from gitdags.cli.words import count, drained
from gitdags.errors import GitdagsError
from gitdags.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument("file", metavar="FILE", type=Path, help="replaced if it is there")


def run(context: Context, args: argparse.Namespace) -> int:
    """Write it, and say what is in it."""
    catalog = context.catalog
    for repo in catalog.repositories():
        try:
            catalog.receive(repo)
        except GitdagsError as error:
            context.note(f"warning: {repo.name}: {error.message}")
    drained(context)
    store = Store(context.settings.database)
    try:
        report = backup.write(store, args.file, context.note)
    finally:
        store.close()
    tell(context, args.file, report)
    return 0


def tell(context: Context, file: Path, report: backup.Report, new: str = "") -> None:
    """A report as JSON, or as one line; ``new`` says what was counted."""
    if context.json:
        told = {"repositories": report.repositories, "commits": report.commits}
        context.write_json({"file": str(file), "bytes": report.bytes, **report.rows, **told})
        return
    rows = report.rows
    parts = [
        count(rows["stamps"], f"{new}stamp"),
        count(rows["deployments"], f"{new}deployment"),
        count(rows["executed"], f"{new}DAG as executed", f"{new}DAGs as executed"),
        count(
            rows["rendered"], f"{new}try with rendered fields", f"{new}tries with rendered fields"
        ),
        count(report.repositories, "repository", "repositories"),
        count(report.commits, "kept commit"),
    ]
    context.out.print(f"{file}: {', '.join(parts)}, {report.bytes:,} bytes")
