"""Two ways to a commit's files without FUSE: a depot filled from Git, a depot filled over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gitdags.airflow.remote import Remote
from gitdags.airflow.unpacking import ArchiveStock
from gitdags.config import Settings
from gitdags.depot import Depot, GitStock, Item


class Exported:
    """Commits in a depot, filled from the repository that is registered by this name.

    The store is asked only for what a ref means, and for trees that are not there yet.
    """

    def __init__(self, depot: Depot, repo: str, settings: Settings) -> None:
        self.depot, self._repo, self._settings = depot, repo, settings

    def latest(self, ref: str) -> tuple[str, str | None]:
        """As Supply has it."""
        from gitdags.catalog import Catalog  # SQLAlchemy and pygit2: a pinned task needs neither

        with Catalog(self._settings) as catalog:
            resolved = catalog.resolve(catalog.repository(self._repo), ref)
        # main~1 starts from a ref, and is none: where it moves to, no ref has moved to.
        return resolved.commit, resolved.ref if resolved.source == "ref" else None

    def folder(self, commit: str) -> Path:
        """As Supply has it."""
        return self.depot.folder / "trees" / commit

    def ready(self, commit: str) -> None:
        """As Supply has it."""
        self.depot.tree(commit, _RegisteredStock(self._repo, commit, self._settings))


class Downloaded:
    """Commits in a depot, filled from the `gitdags serve` at a URL: no mirror, no mount, no store."""

    def __init__(self, depot: Depot, repo: str, remote: Remote) -> None:
        self.depot, self._repo, self._remote = depot, repo, remote

    def latest(self, ref: str) -> tuple[str, str | None]:
        """As Supply has it."""
        return self._remote.resolve(self._repo, ref)

    def folder(self, commit: str) -> Path:
        """As Supply has it."""
        return self.depot.folder / "trees" / commit

    def ready(self, commit: str) -> None:
        """As Supply has it."""
        self.depot.tree(commit, ArchiveStock(lambda: self._remote.archive(self._repo, commit)))


def exported(folder: Path, repo: str, settings: Settings) -> Exported:
    """A depot in that folder, filled from the registered repository."""
    return Exported(Depot(folder), repo, settings)


def downloaded(folder: Path, repo: str, url: str, settings: Settings) -> Downloaded:
    """A depot in that folder, filled from the gitdags at the URL, whose token is a setting."""
    return Downloaded(Depot(folder), repo, Remote(url, settings["token"]))


class _RegisteredStock:
    """A commit's files from a registered repository, which is looked up only when they are needed."""

    def __init__(self, repo: str, commit: str, settings: Settings) -> None:
        self._repo, self._commit, self._settings = repo, commit, settings

    def fill(self, depot: Depot) -> Sequence[Item]:
        """As gitdags.depot.Stock has it."""
        from gitdags.catalog import Catalog

        with Catalog(self._settings) as catalog:
            opened = catalog.opened(catalog.repository(self._repo))
            return GitStock(opened, opened.commit(self._commit).tree).fill(depot)
