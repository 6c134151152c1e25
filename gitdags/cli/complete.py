"""What the shell completes: repositories, refs, DAG ids. Silent where there is nothing to offer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gitdags import config
from gitdags.errors import GitdagsError


def repositories(prefix: str, **_: Any) -> list[str]:
    """Names of registered repositories."""
    try:
        from gitdags.catalog import Catalog

        with Catalog(config.load()) as catalog:
            return [repo.name for repo in catalog.repositories()]
    except GitdagsError:
        return []  # a shell's prompt is no place for our errors


def revisions(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Branches and tags."""
    try:
        from gitdags.catalog import Catalog

        with Catalog(config.load()) as catalog:
            repo = catalog.repository(getattr(parsed_args, "repo", None), Path.cwd())
            return ["HEAD", *(ref.short for ref in catalog.refs(repo))]
    except GitdagsError:
        return []


def dags(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Every dag_id ever indexed."""
    try:
        from gitdags.catalog import Catalog

        with Catalog(config.load()) as catalog:
            repo = catalog.repository(getattr(parsed_args, "repo", None), Path.cwd())
            return catalog.dag_ids(repo)
    except GitdagsError:
        return []
