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
    commit, written, left_out = context.catalog.export(context.repository, args.rev, args.folder)
    if left_out:
        context.note(f"warning: left out, as no file system may hold them: {', '.join(left_out)}")
    if context.json:
        data = {
            "commit": commit,
            "folder": str(args.folder),
            "files": written,
            "left_out": left_out,
        }
        context.write_json(data)
    else:
        context.out.print(f"{commit[:12]}: {count(written, 'file')} in {args.folder}")
    return 0
