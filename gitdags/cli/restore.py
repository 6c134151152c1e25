"""gitdags restore: what a backup holds, back into this store and its repositories."""

from __future__ import annotations

import argparse
from pathlib import Path

from gitdags import backup
from gitdags.cli.backup import tell
from gitdags.cli.context import Context
from gitdags.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument("file", metavar="FILE", type=Path, help="that `gitdags backup` wrote")


def run(context: Context, args: argparse.Namespace) -> int:
    """Add what is missing; nothing that is there is changed."""
    store = Store(context.settings.database)
    try:
        report = backup.restore(store, context.settings.home, args.file, context.note)
    finally:
        store.close()
    tell(context, args.file, report, "new ")
    context.note("documents of runs are made again by: gitdags drain --again")
    return 0
