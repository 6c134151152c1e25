"""gitdags diff: what differs between the DAGs of two commits."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gitdags import wire
from gitdags.cli.context import Context
from gitdags.cli.words import add_dag, add_no_parse, add_revision, count
from gitdags.errors import shown
from gitdags.model import Comparison, DagDiff, Json

Line = tuple[int, str, str]
"""(indentation, sign, text)"""
_STYLES = {"+": "green", "-": "red", "~": "yellow", "!": "bold red", "≈": "cyan", "✓": "green"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_revision(parser, "old", "the older commit")
    add_revision(parser, "new", "the newer commit")
    add_dag(parser, optional=True)
    parser.add_argument("--stat", action="store_true", help="counts only")
    parser.add_argument("--exit-code", action="store_true", help="exit 1 where anything differs")
    add_no_parse(parser)


def run(context: Context, args: argparse.Namespace) -> int:
    """As a reviewer reads it, or as JSON."""
    found = context.catalog.compare(
        context.repository, args.old, args.new, args.dag, parse=not args.no_parse
    )
    if context.json:
        context.write_json(wire.comparison(found))
    else:
        for note in found.notes:
            context.note(f"note: {note}")
        write(context, stat(found) if args.stat else lines(found))
        if not found.differs:
            context.note("no DAG differs")
        else:
            context.note(summary(found))
    return 1 if args.exit_code and found.differs else 0


def write(context: Context, found: Iterable[Line], indent: int = 0) -> None:
    """Print lines in the colours of their signs."""
    from rich.text import Text

    for own, sign, text in found:
        prefix = f"{sign} " if sign else "  "
        line = Text(" " * (indent + own) + prefix + shown(text, 5_000), style=_STYLES.get(sign, ""))
        context.out.print(line, soft_wrap=True)


def summary(found: Comparison) -> str:
    """``2 added, 1 changed``."""
    parts = [
        f"{len(names)} {word}"
        for word, names in (
            ("added", found.added),
            ("removed", found.removed),
            ("failed", found.failed),
            ("fixed", found.fixed),
            ("changed", found.changed),
        )
        if names
    ]
    return "DAGs: " + ", ".join(parts)


def lines(found: Comparison) -> Iterator[Line]:
    """The comparison, DAG by DAG."""
    yield from _whole(found)
    for one in found.changed:
        yield from dag_lines(one)


def _whole(found: Comparison) -> Iterator[Line]:
    """The DAGs that came, went, failed or were mended."""
    yield from ((0, "+", name) for name in found.added)
    yield from ((0, "-", name) for name in found.removed)
    yield from ((0, "!", f"{name} fails to import") for name in found.failed)
    yield from ((0, "✓", f"{name} imports again") for name in found.fixed)


def stat(found: Comparison) -> Iterator[Line]:
    """One line a DAG."""
    yield from _whole(found)
    for one in found.changed:
        tasks = (len(one.tasks_added), len(one.tasks_removed), len(one.tasks_changed))
        edges = (len(one.edges_added), len(one.edges_removed), len(one.edges_changed))
        parts = []
        for noun, (added, removed, changed) in (("task", tasks), ("edge", edges)):
            total = added + removed + changed
            if total:
                signs = [f"{s}{n}" for s, n in (("+", added), ("-", removed), ("~", changed)) if n]
                parts.append(f"{noun}s {' '.join(signs)}")
        if one.attributes:
            parts.append(count(len(one.attributes), "attribute"))
        groups = len(one.groups_added) + len(one.groups_removed) + len(one.groups_changed)
        if groups:
            parts.append(count(groups, "group"))
        if one.code_only:
            parts = ["code only"]
        yield 0, "≈" if one.code_only else "~", f"{one.dag_id}  ({'; '.join(parts)})"


def _structural(one: DagDiff) -> bool:
    return bool(
        one.attributes or one.tasks_added or one.tasks_removed or one.tasks_changed
        or one.edges_added or one.edges_removed or one.edges_changed
        or one.groups_added or one.groups_removed or one.groups_changed
    )  # fmt: skip


def dag_lines(one: DagDiff) -> Iterator[Line]:
    """What differs in one DAG."""
    yield 0, "≈" if one.code_only else "~", one.dag_id + ("  (code only)" if one.code_only else "")
    if one.files_changed and (one.code_only or not _structural(one)):
        yield 4, "", "read: " + ", ".join(one.files_changed)
    yield from field_lines(one)


def field_lines(one: DagDiff) -> Iterator[Line]:
    """What differs in a DAG's attributes, groups, tasks and edges."""
    yield from _fields(4, one.attributes)
    yield from _members("group", one.groups_added, one.groups_removed, one.groups_changed)
    yield from _members("task", one.tasks_added, one.tasks_removed, one.tasks_changed)
    for start, end in one.edges_added:
        yield 4, "+", f"edge {start} → {end}"
    for start, end in one.edges_removed:
        yield 4, "-", f"edge {start} → {end}"
    for start, end, was, now in one.edges_changed:
        yield 4, "~", f"edge {start} → {end}: {_brief(was)} → {_brief(now)}"


def _members(
    noun: str,
    added: Sequence[str],
    removed: Sequence[str],
    changed: Mapping[str, Mapping[str, tuple[Json, Json]]],
) -> Iterator[Line]:
    yield from ((4, "+", f"{noun} {name}") for name in added)
    yield from ((4, "-", f"{noun} {name}") for name in removed)
    for name, fields in changed.items():
        yield 4, "~", f"{noun} {name}"
        yield from _fields(8, fields)


def _fields(indent: int, fields: Mapping[str, tuple[Json, Json]]) -> Iterator[Line]:
    for name, (was, now) in fields.items():
        before, after = _text(was), _text(now)
        if before.count("\n") + after.count("\n") == 0 and len(before) + len(after) < 90:
            yield indent, "~", f"{name}: {before} → {after}"
            continue
        yield indent, "~", name
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2):
            if line.startswith(("---", "+++")):
                continue
            sign = line[0] if line[0] in "+-" else ""
            yield indent + 4, sign, shown(line[1:] if line[0] != "@" else "⋯", 500)


def _text(value: Json) -> str:
    """A value as lines to compare: source as source, text as text, all else as indented JSON."""
    if isinstance(value, dict) and value.keys() == {"name", "source"}:
        return f"{value['name']}\n{value['source']}" if value["source"] else str(value["name"])
    if isinstance(value, str) and "\n" in value:
        return value
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return (
        text if len(text) < 60 else json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2)
    )


def _brief(value: Json) -> str:
    return shown(json.dumps(value, ensure_ascii=False), 60)
