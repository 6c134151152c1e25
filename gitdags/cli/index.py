"""gitdags index: parse what is new into the store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gitdags.cli.context import Context
from gitdags.cli.words import add_revision, count
from gitdags.errors import UsageError
from gitdags.history import Progress


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_revision(parser, "target", "a revision or a range A..B; default: HEAD", nargs="?")
    parser.add_argument("--all", action="store_true", help="every commit that any ref reaches")
    parser.add_argument("-j", dest="jobs", metavar="N", help="DAG files parsed at once")
    parser.add_argument(
        "--engine", choices=("auto", "airflow", "recorder"), help="what parses (auto)"
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """Index, with a bar on a terminal; interrupted, it goes on where it stopped."""
    if args.all and args.target:
        raise UsageError("--all and a revision exclude each other", hint="gitdags index --all")
    repo = context.repository
    if args.target and ".." not in args.target:
        for warning in context.catalog.resolve(repo, args.target).warnings:
            context.note(f"warning: {warning}")
    with _bar(context) as progress:
        report = context.catalog.index(
            repo, args.target or "HEAD", everything=args.all, progress=progress
        )
    for sha, reason in report.skipped:
        context.note(f"warning: skipped {sha[:12]}: {reason}")
    for warning in report.warnings:
        context.note(f"warning: {warning}")
    if context.json:
        context.write_json(report)
        return 0
    recorded = f"{report.recorded:,} recorded without Airflow, " if report.recorded else ""
    if not (report.parsed or report.reused or report.errors or report.recorded):
        rest = f", {len(report.skipped)} skipped" if report.skipped else ", all indexed"
        context.out.print(f"nothing to parse: {count(report.commits, 'commit')}{rest}")
        return 0
    context.out.print(
        f"{count(report.commits, 'commit')}: {count(report.parsed, 'file')} parsed, "
        f"{report.reused:,} reused, {recorded}{count(report.documents_new, 'new document')}, "
        f"{count(report.errors, 'import error')}, {report.seconds:.1f} s"
    )
    return 0


@contextmanager
def _bar(context: Context) -> Iterator[Callable[[Progress], None] | None]:
    """A bar with rate and estimate on a terminal; elsewhere nothing, or lines with ``-v``."""
    if context.verbosity > 0:
        yield lambda p: context.note(f"{p.done}/{p.total} {p.commit[:12]} ({p.parsed} files)")
        return
    if context.verbosity < 0 or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Files parsed per second since the start."""

        def render(self, task: Task) -> Text:
            elapsed = task.elapsed or 0.0
            files = task.fields["files"]
            return Text(f"{files / elapsed:.0f} files/s" if elapsed > 1 and files else "")

    with Bar(
        TextColumn("indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("commits"),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[commit]}"),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("indexing", total=None, files=0, commit="starting the parser")

        def show(p: Progress) -> None:
            bar.update(task, total=p.total, completed=p.done, files=p.parsed, commit=p.commit[:12])

        yield show
