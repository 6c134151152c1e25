"""gitdags ls: the DAGs at a commit."""

from __future__ import annotations

import argparse

from gitdags import wire
from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.cli.words import add_no_parse, add_revision, count, day
from gitdags.errors import shown
from gitdags.model import ParseFailure


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_revision(parser, "--at", "the commit; default: HEAD", default="HEAD")
    add_no_parse(parser)


def run(context: Context, args: argparse.Namespace) -> int:
    """A table of DAGs on stdout; failures after it."""
    repo = context.repository
    resolved = context.catalog.resolve(repo, args.at)
    for warning in resolved.warnings:
        context.note(f"warning: {warning}")
    listing = context.catalog.dags(repo, resolved, parse=not args.no_parse)
    if context.json:
        context.write_json(wire.listing(listing))
        return 0
    commit = context.catalog.opened(repo).commit(listing.commit)
    source = f" (by {resolved.source})" if "@{" in args.at else ""
    context.note(
        f"{repo.name} at {commit.sha[:12]}{source}, {day(commit.committed_at)}: {commit.subject}"
    )
    seen: dict[str, int] = {}
    for row in listing.dags:
        seen[row.dag_id] = seen.get(row.dag_id, 0) + 1
    rows: list[list[table.Cell]] = [
        [
            (row.dag_id, "bold red" if seen[row.dag_id] > 1 else "bold"),
            str(row.tasks),
            row.dag_hash[:12],
            row.file + ("" if row.engine == "airflow" else "  ◌"),
        ]
        for row in listing.dags
    ]
    table.write(context.out, rows, ("DAG", "TASKS", "HASH", "FILE"))
    recorded = [row for row in listing.dags if row.engine != "airflow"]
    if recorded:
        context.note(f"{count(len(recorded), 'DAG')} recorded without Airflow: ◌")
    if not listing.dags and not listing.errors:
        folder = context.catalog.history(repo).dags_folder
        context.note(f"no DAG file in {folder or '.'}/ at this commit")
    left_out = context.catalog.left_out(repo, resolved)
    if left_out:
        context.note(f"warning: left out, as no file system may hold them: {', '.join(left_out)}")
    for dag_id in sorted(d for d, n in seen.items() if n > 1):
        files = ", ".join(row.file for row in listing.dags if row.dag_id == dag_id)
        context.note(f"warning: {dag_id} is defined by {seen[dag_id]} files: {files}")
    if listing.errors:
        context.out.print(f"\n{count(len(listing.errors), 'import error')}", style="bold red")
        for error in listing.errors:
            _failure(context, error)
    return 0


def _failure(context: Context, error: ParseFailure) -> None:
    """The file, what is wrong with it, and the DAGs it had: each may be long, so each has a line."""
    from rich.text import Text

    context.out.print(Text(shown(error.file, 500), style="red"))
    message = f"{error.type}: {error.message}".split("\n")[0]
    table.print_line(context.out, Text(f"    {shown(message, 500)}"))
    if error.dag_ids:
        was = ", ".join(error.dag_ids)
        table.print_line(context.out, Text(f"    was: {shown(was, 500)}", style="dim"))
