"""gitdags gc: give back the disk of what nothing holds any more."""

from __future__ import annotations

import argparse
from pathlib import Path

from gitdags.airflow import holders
from gitdags.cli.context import Context
from gitdags.cli.words import count
from gitdags.depot import Depot


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument("--dry-run", action="store_true", help="say what would go, remove nothing")
    parser.add_argument(
        "--depot",
        metavar="DIR",
        type=Path,
        help="the export folder of Airflow's bundles; default: depot in the data directory",
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """Trees in the depot that no bundle of Airflow holds and nobody asked for within the hour."""
    folder = args.depot or context.settings.home / "depot"
    gone = holders.clear(Depot(folder.absolute()), dry=args.dry_run)
    if context.json:
        context.write_json({"depot": str(folder), "trees": gone, "dry_run": args.dry_run})
        return 0
    word = "would go" if args.dry_run else "removed"
    context.out.print(f"{count(len(gone), 'tree')} {word} from {folder}")
    for commit in gone if context.verbosity > 0 else ():
        context.out.print(commit)
    return 0
