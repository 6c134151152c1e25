"""gitdags deploys: recorded moves of refs."""

from __future__ import annotations

import argparse

from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.errors import GitdagsError
from gitdags.wire import plain


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument("ref", metavar="REF", nargs="?", help="a branch, a tag, HEAD; default: all")
    parser.add_argument(
        "-n", type=int, metavar="N", default=None, help="the newest N (50; --json: all)"
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """Newest first; of the repository of ``-r`` or of the working directory, else of all."""
    catalog = context.catalog
    repo = None
    if context.repository_name is not None or len(catalog.repositories()) == 1:
        repo = context.repository
    for each in catalog.repositories() if repo is None else [repo]:
        try:
            catalog.receive(each)
        except GitdagsError as error:
            context.note(f"warning: {each.name}: {error.message}")
    ref = args.ref
    if ref is not None and not ref.startswith("refs/") and ref != "HEAD":
        ref = [f"refs/tags/{ref}", f"refs/heads/{ref}"]
    limit = args.n if args.n is not None else None if context.json else 50
    wanted = ref if isinstance(ref, list) else [ref]
    found = [d for name in wanted for d in catalog.deployments(repo, name, limit=limit)]
    found = sorted(found, key=lambda d: d.at, reverse=True)[:limit]
    if context.json:
        context.write_json([plain(d) for d in found])
        return 0
    rows: list[list[table.Cell]] = [
        [
            f"{d.at:%Y-%m-%d %H:%M:%S}",
            *([d.repo] if repo is None else []),
            d.ref.removeprefix("refs/heads/") if d.ref.startswith("refs/heads/") else d.ref,
            (d.old or "new")[:12],
            (d.new or "gone")[:12],
            d.source,
            d.by,
        ]
        for d in found
    ]
    header = (
        "AT (UTC)",
        *(["REPOSITORY"] if repo is None else []),
        "REF",
        "OLD",
        "NEW",
        "SOURCE",
        "BY",
    )
    table.write(context.out, rows, header)
    if not found:
        context.note("no deployment is recorded yet\nhint: gitdags hooks install")
    return 0
