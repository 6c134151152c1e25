"""gitdags show: one DAG at a commit: its document, its code, or a drawing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gitdags import wire
from gitdags.cli import drawing, table
from gitdags.cli.context import Context
from gitdags.cli.words import (
    add_airflow,
    add_dag,
    add_no_parse,
    add_revision,
    count,
    drained,
)
from gitdags.errors import GitdagsError, UsageError, shown
from gitdags.labels import operator_name
from gitdags.model import Json, RegisteredRepository, ShownDocument


class RunWithoutCommit(GitdagsError):
    """A run of which no commit is known."""

    http_status = 404


class NotKept(GitdagsError):
    """What a run executed was not kept."""

    http_status = 404


_NAMED = 8  # guesses and placeholders named in a summary


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_dag(parser)
    when = parser.add_mutually_exclusive_group()
    add_revision(when, "--at", "the commit; default: HEAD", default="HEAD")
    when.add_argument("--run", metavar="RUN", help="the commit that a run began with")
    add_airflow(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--code", action="store_true", help="the DAG's file at that commit")
    how.add_argument("--graph", action="store_true", help="a drawing of tasks and edges")
    how.add_argument(
        "--executed", action="store_true", help="with --run: Airflow's own JSON, and how it differs"
    )
    add_no_parse(parser)


def run(context: Context, args: argparse.Namespace) -> int:
    """Summary for people, document for programs."""
    if context.json and (args.code or args.graph):
        raise UsageError(
            "--json gives the document, neither code nor drawing", hint="gitdags show -h"
        )
    if args.executed and args.run is None:
        raise UsageError("--executed is of a run", hint=f"gitdags runs {shown(args.dag)}")
    if args.executed:
        return _executed(context, args)
    repo, rev = _meant(context, args)
    resolved = context.catalog.resolve(repo, rev)
    for warning in resolved.warnings:
        context.note(f"warning: {warning}")
    shown_document = context.catalog.document(repo, args.dag, resolved, parse=not args.no_parse)
    stale = shown_document.stale_from
    if stale is not None:
        context.note(
            f"warning: {args.dag} fails at {resolved.commit[:12]}; this is the last good one, "
            f"of {stale[:12]}"
        )
    if args.code:
        code = context.catalog.source(repo, shown_document.row.file, stale or resolved.commit)
        context.write_text(code.decode("utf-8", "replace"))
    elif args.graph:
        drawing.write(context.out, shown_document.document)
    elif context.json:
        context.write_json(wire.document(shown_document, context.catalog.settings(repo)))
    else:
        _summary(context, shown_document)
    return 0


def _meant(context: Context, args: argparse.Namespace) -> tuple[RegisteredRepository, str]:
    """The repository and revision asked for, or that a run began with.

    Raises NoSuchRun, AmbiguousRun or RunWithoutCommit.
    """
    if args.run is None:
        return context.repository, args.at
    drained(context)
    found = context.catalog.run(args.dag, args.run, args.airflow)
    if found.commit is None:
        raise RunWithoutCommit(
            f"nobody has said which commit {shown(args.run)} ran at",
            hint=f"gitdags stamp {shown(args.dag)} {shown(args.run)} --at REV",
        )
    if found.repo is None or context.repository_name is not None:
        return context.repository, found.commit
    return context.catalog.repository(found.repo), found.commit


def _executed(context: Context, args: argparse.Namespace) -> int:
    """The DAG as Airflow executed it on stdout; on stderr where it differs from the document."""
    found = context.catalog.executed(context.catalog.run(args.dag, args.run, args.airflow))
    if found is None:
        raise NotKept(
            f"the DAG that {shown(args.run)} executed was not kept",
            hint="gitdags import-runs --airflow-db URL",
        )
    if context.json:
        context.write_json(wire.executed(found))
        return 0
    context.write_text(json.dumps(found.body, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    if found.differences is None:
        context.note("the run has no document to compare with: gitdags drain")
    for path, executed, parsed in found.differences or ():
        context.note(
            f"~ {path}: executed {shown(_brief(executed), 60)}, parsed {shown(_brief(parsed), 60)}"
        )
    if found.differences == ():
        context.note("as executed is as parsed")
    return 0


def _summary(context: Context, shown_document: ShownDocument) -> None:
    document, row = shown_document.document, shown_document.row
    out = context.out
    out.print(document["dag_id"], style="bold", end="")
    out.print(f"  {row.file}  {row.dag_hash[:12]}", style="dim")
    if document["description"]:
        out.print(shown(document["description"], 400))
    if row.engine != "airflow":
        _recorded(context, shown_document)
    schedule = document["schedule"]
    value = schedule["value"]
    facts = [
        ("schedule", schedule["type"] if value is None else _brief(value)),
        ("start", document["start_date"] or "none"),
        ("end", document["end_date"] or ""),
        ("catchup", "yes" if document["catchup"] else "no"),
        ("owners", ", ".join(document["owners"])),
        ("tags", ", ".join(document["tags"])),
        ("params", ", ".join(document["params"])),
    ]
    table.write(out, [[(name, "dim"), text] for name, text in facts if text])
    counts = [count(len(document["tasks"]), "task"), count(len(document["edges"]), "edge")]
    if document["groups"]:
        counts.append(count(len(document["groups"]), "group"))
    out.print("\n" + ", ".join(counts), style="bold")
    table.write(
        out,
        [
            [
                ("●", task["ui_color"] if _is_colour(task["ui_color"]) else ""),
                task["task_id"] + (" []" if task["mapped"] else ""),
                (operator_name(task["operator"]), "dim"),
                (" ".join(_marks(task)), "yellow"),
                ("→ " + ", ".join(task["downstream"]) if task["downstream"] else ""),
            ]
            for task in document["tasks"]
        ],
    )


def _recorded(context: Context, shown_document: ShownDocument) -> None:
    """What to know of a document that Airflow did not make."""
    row = shown_document.row
    context.note("recorded without Airflow")
    if row.placeholders:
        context.note(f"missing, a placeholder instead: {_some(row.placeholders)}")
    if row.guesses:
        context.note(f"guessed: {_some(row.guesses)}")


def _some(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - _NAMED} more: gitdags --json show" if len(lines) > _NAMED else ""
    return shown("; ".join(lines[:_NAMED]) + more, 1_000)


def _marks(task: Mapping[str, Any]) -> list[str]:
    """What is not as usual about a task: its rule, being setup or teardown."""
    marks = [] if task["trigger_rule"] == "all_success" else [task["trigger_rule"]]
    for name in ("setup", "teardown"):
        if task["attrs"].get(f"is_{name}"):
            marks.append(name)
    return marks


def _brief(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _is_colour(text: str) -> bool:
    return (
        len(text) == 7 and text[0] == "#" and all(c in "0123456789abcdefABCDEF" for c in text[1:])
    )
