"""gitdags import-runs: the runs that an Airflow had before gitdags was there."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from gitdags.cli.context import Context
from gitdags.cli.words import add_airflow, count
from gitdags.errors import UsageError, shown
from gitdags.git import parse_instant


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--airflow-db", metavar="URL", help="SQLAlchemy URL of Airflow's metadata database"
    )
    where.add_argument(
        "--airflow-api", metavar="URL", help="where Airflow's pages are: http://user:pw@host:8080"
    )
    add_airflow(parser)
    parser.add_argument("--since", metavar="DATE", help="only runs that began since")
    parser.add_argument(
        "--no-parse", action="store_true", help="only store; leave the documents to `gitdags drain`"
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """How many runs were new, and how their commits were found. Again, only what changed is."""
    since = None
    if args.since is not None:
        since = parse_instant(args.since, datetime.now(UTC))
        if since is None:
            raise UsageError(f"--since {shown(args.since)} is no date", hint="--since 2025-03-01")
    catalog = context.catalog
    repo = (
        context.repository if context.repository_name or len(catalog.repositories()) == 1 else None
    )
    report = catalog.import_runs(
        database=args.airflow_db,
        api=args.airflow_api,
        airflow=args.airflow,
        repo=repo,
        since=since,
    )
    settled = 0 if args.no_parse else catalog.settle()
    if context.json:
        context.write_json({**report._asdict(), "settled": settled})
        return 0
    context.out.print(
        f"{count(report.runs, 'run')}: {report.new:,} new, {report.inferred:,} with a commit that is "
        f"inferred, {report.executed:,} with the DAG as Airflow executed it"
    )
    if report.without:
        context.note(
            f"{count(report.without, 'run')} without a commit: name a repository with -r NAME"
        )
    return 0
