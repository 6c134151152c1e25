"""gitdags fetch: bring mirrors up to date."""

from __future__ import annotations

import argparse

from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.cli.words import count


def configure(parser: argparse.ArgumentParser) -> None:
    """No words of its own."""


def run(context: Context, args: argparse.Namespace) -> int:
    """Fetch the repository of ``-r``, or every mirror; say which refs moved."""
    catalog = context.catalog
    if context.repository_name is not None:
        repos = [context.repository]
    else:
        repos = [repo for repo in catalog.repositories() if repo.url is not None]
    moved = []
    for repo in repos:
        moved += [(repo.name, *move) for move in catalog.fetch(repo, context.note)]
    if context.json:
        context.write_json(
            [{"repo": r, "ref": ref, "old": old, "new": new} for r, ref, old, new in moved]
        )
        return 0
    rows = [[r, ref, (old or "new")[:12], (new or "gone")[:12]] for r, ref, old, new in moved]
    table.write(context.out, rows, ("REPOSITORY", "REF", "OLD", "NEW"))
    if not repos:
        context.note("no mirror is registered; a repository of your own is fetched with -r NAME")
    elif not moved:
        context.note(f"{count(len(repos), 'mirror')} up to date")
    return 0
