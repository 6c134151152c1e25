"""gitdags drain: take the stamps that Airflow's processes left in the spool into the store."""

from __future__ import annotations

import argparse
import time

from gitdags.cli.context import Context
from gitdags.cli.words import count
from gitdags.drain import DrainReport
from gitdags.store import StoreUnavailable

_INTERVAL = 1.0  # seconds between two looks at an empty spool
_PATIENCE = 30.0  # the most between two tries of a store that is away
_PART = 8  # commits whose documents are made before the spool is looked at again


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument("--follow", action="store_true", help="go on until interrupted")
    parser.add_argument(
        "--no-parse", action="store_true", help="only store; leave the documents to another drain"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="also look anew for repositories and commits that were unknown",
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """Once, or until interrupted. What cannot be stored now stays in the spool."""
    if args.follow:
        _follow(context, parse=not args.no_parse)
    report = context.catalog.drain()
    settled = 0 if args.no_parse else context.catalog.settle(again=args.again)
    if context.json:
        context.write_json({**vars_of(report), "settled": settled})
        return 0
    _say(context, report, settled)
    if report.empty and not settled:
        context.out.print("nothing to drain")
    return 0


def vars_of(report: DrainReport) -> dict[str, int]:
    """A report by field."""
    return {name: getattr(report, name) for name in report.__slots__}


def _follow(context: Context, *, parse: bool) -> None:
    wait = _INTERVAL
    while True:
        try:
            report = context.catalog.drain()
            settled = context.catalog.settle(_PART) if parse else 0
        except StoreUnavailable as error:
            if wait == _INTERVAL:
                context.note(f"warning: {error.message}; the spool keeps the stamps meanwhile")
            wait = min(2 * wait, _PATIENCE)
            time.sleep(wait)
            continue
        if wait > _INTERVAL:
            context.note("the store is back")
            wait = _INTERVAL
        _say(context, report, settled)
        if report.empty and not settled:
            time.sleep(wait)


_PLURALS = {
    "set of rendered fields": "sets of rendered fields",
    "run settled": "runs settled",
}


def _say(context: Context, report: DrainReport, settled: int) -> None:
    parts = [
        (report.stamps, "stamp"), (report.deployments, "deployment"),
        (report.rendered, "set of rendered fields"), (settled, "run settled"),
    ]  # fmt: skip
    said = [count(number, noun, _PLURALS.get(noun, "")) for number, noun in parts if number]
    if said:
        context.out.print(", ".join(said))
    for number, what in (
        (report.refused, "refused; see the file `refused` in the spool"),
        (report.torn, "left unfinished by the process that wrote it"),
        (report.later, "of a later gitdags; kept for it"),
    ):
        if number:
            context.note(f"warning: {count(number, 'record')} {what}")
