"""Arguments that several commands share, and words for numbers and times."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitdags.cli import complete

if TYPE_CHECKING:
    from gitdags.cli.context import Context


def add_revision(
    parser: argparse._ActionsContainer, name: str, help: str, **options: object
) -> None:
    """An argument that takes any revision."""
    argument = parser.add_argument(name, metavar="REV", help=help, **options)  # type: ignore[arg-type]  # argparse's own options
    argument.completer = complete.revisions  # type: ignore[attr-defined]  # read by argcomplete


def add_dag(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """The argument that takes a dag_id."""
    argument = parser.add_argument(
        "dag", metavar="DAG", nargs="?" if optional else None, help="dag_id"
    )
    argument.completer = complete.dags  # type: ignore[attr-defined]  # read by argcomplete


def add_no_parse(parser: argparse.ArgumentParser) -> None:
    """``--no-parse``: fail rather than parse."""
    parser.add_argument(
        "--no-parse", action="store_true", help="fail where something is not indexed yet"
    )


def add_airflow(parser: argparse.ArgumentParser) -> None:
    """``--airflow``: which installation."""
    parser.add_argument(
        "--airflow", metavar="NAME", help="the installation of Airflow (setting airflow_name)"
    )


def drained(context: Context) -> None:
    """Takes in what waits in the spool, so that the answer has it; a store in trouble says so itself."""
    if context.catalog.spool.waiting()[0]:
        context.catalog.drain()


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 commit``, ``1,204 commits``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def day(when: datetime) -> str:
    """A date, for people."""
    return f"{when:%Y-%m-%d}"


def moment(when: datetime) -> str:
    """A time to the second, UTC, for people."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
