"""gitdags init: register a repository, or mirror one and register it."""

from __future__ import annotations

import argparse

from gitdags.cli.context import Context
from gitdags.cli.words import count
from gitdags.wire import plain


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument("where", metavar="PATH|URL", nargs="?", default=".", help="default: here")
    parser.add_argument("--name", help="what to call it; default: the last part of PATH or URL")
    parser.add_argument("--dags-folder", metavar="DIR", help="where its DAG files are (dags)")
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        help="NAME=value lines that DAG files may read: AIRFLOW_VAR_*, AIRFLOW_CONN_*, plain",
    )
    parser.add_argument(
        "--pull-requests", action="store_true", help="mirror the heads of pull requests too"
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """Register, and say what was found."""
    folder = args.dags_folder
    if folder is not None:
        from gitdags.config import Settings

        folder = Settings({"dags_folder": folder}, {})["dags_folder"]
    repo = context.catalog.registry.add(
        args.where,
        name=args.name or context.repository_name,
        dags_folder=folder,
        env_file=args.env_file,
        pull_requests=args.pull_requests,
        progress=context.note,
    )
    if context.json:
        context.write_json(describe(context, repo))
        return 0
    opened = context.catalog.opened(repo)
    history = context.catalog.history(repo)
    refs = opened.refs()
    branch = opened.default_branch() or "HEAD"
    context.out.print(
        f"{repo.name}: {count(len(refs), 'ref')}, DAGs in {history.dags_folder or '.'}/ of {repo.path}"
    )
    tip = opened.ref(branch)
    tree = opened.commit(tip).tree if tip else None
    if tree and opened.follow(tree, history.dags_folder.encode()) is None:
        context.note(f"note: {branch} has no folder {history.dags_folder}/")
        context.note(f"hint: gitdags init {repo.path} --dags-folder path/to/dags")
    else:
        context.note("next: gitdags ls")
    return 0


def describe(context: Context, repo: object) -> dict[str, object]:
    """A repository as JSON: what is registered, without our own key."""
    data: dict[str, object] = plain(repo)
    data.pop("id")
    return data
