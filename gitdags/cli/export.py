"""gitdags export: a commit's tree as plain files."""

from __future__ import annotations

import argparse
from pathlib import Path

from gitdags.cli.context import Context
from gitdags.cli.words import add_revision, count


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_revision(parser, "rev", "the commit")
    parser.add_argument("folder", metavar="DIR", type=Path, help="absent or empty")


def run(context: Context, args: argparse.Namespace) -> int:
    """Write, and say which commit it was."""
    commit, written = context.catalog.export(context.repository, args.rev, args.folder)
    if context.json:
        context.write_json({"commit": commit, "folder": str(args.folder), "files": written})
    else:
        context.out.print(f"{commit[:12]}: {count(written, 'file')} in {args.folder}")
    return 0
