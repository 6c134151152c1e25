"""gitdags log: the versions of a DAG, or of all DAGs."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from gitdags import wire
from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.cli.words import add_dag, add_revision, count, day
from gitdags.errors import UsageError, shown
from gitdags.model import Commit, Version

if TYPE_CHECKING:
    from rich.text import Text

_NAMED = 6  # dag_ids named on one line


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_dag(parser, optional=True)
    add_revision(parser, "--at", "the newest commit to look at; default: HEAD", default="HEAD")
    parser.add_argument("-n", dest="limit", metavar="N", type=int, help="of at most N commits")
    parser.add_argument(
        "--full", action="store_true", help="merged commits too, not first parents only"
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """One line a version of a DAG, or one block a commit."""
    if args.limit is not None and args.limit < 0:
        raise UsageError(f"-n {args.limit} is no number of commits", hint="gitdags log -n 20")
    repo = context.repository
    log = context.catalog.log(repo, args.dag, args.at, limit=args.limit, full=args.full)
    if context.json:
        context.write_json([wire.version(version) for version in log.versions])
    elif args.dag is not None:
        rows: list[list[table.Cell]] = [
            [
                (v.commit.sha[:12], "yellow"),
                day(v.commit.committed_at),
                (f"{table.SIGNS[v.change]} {v.change}{_by(v)}", table.CHANGE_STYLES[v.change]),
                ((v.dag_hash or "")[:12], "dim"),
                v.commit.subject,
                (v.commit.author, "dim"),
            ]
            for v in log.versions
        ]
        table.write(context.out, rows)
    else:
        for _, group in groupby(log.versions, key=lambda v: v.commit.sha):
            _block(context, list(group))
    if log.baseline is not None:
        shallow = context.catalog.opened(repo).is_shallow
        mend = (
            f"git -C {shlex.quote(repo.path)} fetch --unshallow"
            if shallow
            else "gitdags index --all"
        )
        context.note(f"before {log.baseline[:12]} nothing is indexed\nhint: {mend}")
    if log.unindexed > 0:
        context.note(
            f"{count(log.unindexed, 'commit')} in between not indexed: gitdags index --all"
        )
    if log.elsewhere > 0:
        context.note(
            f"{count(log.elsewhere, 'commit')} indexed in another environment only, not compared\n"
            "hint: gitdags index --all"
        )
    recorded = sum(version.engine != "airflow" for version in log.versions)
    if recorded > 0:
        context.note(f"{count(recorded, 'change')} by documents recorded without Airflow: ◌")
    if log.incomparable > 0:
        context.note(
            f"{count(log.incomparable, 'DAG')} parsed by another engine from some commit on, and not "
            "compared there\nhint: gitdags index --all"
        )
    return 0


def _by(version: Version) -> str:
    return "" if version.engine == "airflow" else " ◌"


def heading(commit: Commit) -> Text:
    """A commit in one line: id, day, subject, author."""
    from rich.text import Text

    head = Text()
    head.append(commit.sha[:12], style="yellow")
    head.append(f"  {day(commit.committed_at)}  ")
    head.append(shown(commit.subject, 500), style="bold")
    head.append(f"  {shown(commit.author)}", style="dim")
    return head


def _block(context: Context, versions: Sequence[Version]) -> None:
    table.print_line(context.out, heading(versions[0].commit))
    rows: list[list[table.Cell]] = []
    for change, style in table.CHANGE_STYLES.items():
        names = [v.dag_id for v in versions if v.change == change]
        if names:
            more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            listed = ", ".join(names[:_NAMED]) + more
            sign = table.SIGNS[change]
            rows.append(["   ", (f"{sign} {len(names)} {change}", style), listed])
    table.write(context.out, rows)
    context.out.print()
