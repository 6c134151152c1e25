"""gitdags repos: the registered repositories."""

from __future__ import annotations

import argparse

from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.cli.init import describe


def configure(parser: argparse.ArgumentParser) -> None:
    """No words of its own."""


def run(context: Context, args: argparse.Namespace) -> int:
    """One line a repository."""
    repos = context.catalog.repositories()
    if context.json:
        context.write_json([describe(context, repo) for repo in repos])
        return 0
    if not repos:
        context.note("no repository is registered yet\nhint: gitdags init .")
    rows: list[list[table.Cell]] = [
        [(repo.name, "bold"), repo.dags_folder or "", repo.url or repo.path] for repo in repos
    ]
    table.write(context.out, rows, ("NAME", "DAGS", "WHERE"))
    return 0
