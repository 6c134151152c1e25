"""gitdags show: one DAG at a commit: its document, its code, or a drawing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from gitdags import wire
from gitdags.cli import drawing, table
from gitdags.cli.context import Context
from gitdags.cli.words import add_dag, add_no_parse, add_revision, count
from gitdags.errors import UsageError, shown
from gitdags.labels import operator_name
from gitdags.model import Json, ShownDocument


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_dag(parser)
    add_revision(parser, "--at", "the commit; default: HEAD", default="HEAD")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--code", action="store_true", help="the DAG's file at that commit")
    how.add_argument("--graph", action="store_true", help="a drawing of tasks and edges")
    add_no_parse(parser)


def run(context: Context, args: argparse.Namespace) -> int:
    """Summary for people, document for programs."""
    if context.json and (args.code or args.graph):
        raise UsageError(
            "--json gives the document, neither code nor drawing", hint="gitdags show -h"
        )
    repo = context.repository
    resolved = context.catalog.resolve(repo, args.at)
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


def _summary(context: Context, shown_document: ShownDocument) -> None:
    document, row = shown_document.document, shown_document.row
    out = context.out
    out.print(document["dag_id"], style="bold", end="")
    out.print(f"  {row.file}  {row.dag_hash[:12]}", style="dim")
    if document["description"]:
        out.print(shown(document["description"], 400))
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
