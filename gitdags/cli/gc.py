"""gitdags gc: remove what nothing refers to any more."""

from __future__ import annotations

import argparse
from pathlib import Path

from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.cli.words import count
from gitdags.errors import UsageError, shown


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would go")
    parser.add_argument(
        "--depot",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="a folder that bundles export to; default: the one in the data directory",
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """Rows by table, and the commits whose files went; what a stamped run has stays."""
    from gitdags.airflow import holders
    from gitdags.depot import Depot

    for folder in args.depot:
        if not folder.is_dir():
            raise UsageError(f"--depot {shown(str(folder))} is no folder", hint=f"ls -ld {folder}")
    own = context.settings.home / "depot"
    depots = args.depot or ([own] if own.is_dir() else [])
    removed = context.catalog.collect_garbage(dry=args.dry_run)
    commits: list[str] = []
    for folder in depots:
        commits += holders.clear(Depot(folder.absolute()), dry=args.dry_run)
    if context.json:
        context.write_json({"removed": removed, "trees": commits, "dry_run": args.dry_run})
        return 0
    rows: list[list[table.Cell]] = [
        [name, f"{number:,}"] for name, number in removed.items() if number
    ]
    if commits:
        rows.append(["trees of export bundles", f"{len(commits):,}"])
    table.write(context.out, rows)
    total = sum(removed.values()) + len(commits)
    verb = "would go" if args.dry_run else "gone"
    context.note(f"{count(total, 'thing')} {verb}" if total else "nothing to remove")
    return 0
