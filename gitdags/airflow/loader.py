"""Airflow's DAG objects out of the store, for any commit, without importing a DAG file.

    from gitdags.airflow import load_dag, load_file

    dag = load_dag("sales", "main@{2025-03-01}", "nightly")

What is loaded is what Airflow itself loads from its database: a DAG that can be scheduled and looked
at, whose operators are not there to be executed. One at a time, when it is asked for; kept in memory
by hash. What a ref means is asked again after ``min_fetch_interval`` seconds, what a commit holds never.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from gitdags import config
from gitdags.catalog import Catalog
from gitdags.errors import GitdagsError, quoted, shown
from gitdags.model import ListedDag, Listing, is_sha

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class CannotLoad(GitdagsError):
    """A DAG fails at that commit, or Airflow's own form of it was not kept."""

    http_status = 404


class Loader:
    """Loads DAGs. Any thread may use it; what it gives is shared, and not to be changed."""

    def __init__(
        self,
        settings: config.Settings | None = None,
        *,
        most_dags: int = 1_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings or config.load()
        self._interval: float = self._settings["min_fetch_interval"]
        self._clock = clock
        self._of_thread = threading.local()
        self._refs: Kept[tuple[str, str], tuple[float, str]] = Kept(10_000)
        self._listings: Kept[tuple[str, str], Listing] = Kept(100)
        self._dags: Kept[tuple[str, str], Any] = Kept(most_dags)

    def dag(self, repo: str, rev: str, dag_id: str) -> Any:
        """A DAG at a revision, as Airflow's SerializedDAG.

        Raises NoSuchDag, NotIndexed, CannotLoad, UnknownRepository, BadRevision.
        """
        listing = self._listing(repo, rev)
        for row in listing.dags:
            if row.dag_id == dag_id:
                return self._dag(row)
        for error in listing.errors:
            if dag_id in error.dag_ids:
                raise CannotLoad(
                    f"{quoted(dag_id)} fails at {listing.commit[:12]}: {error.type}: "
                    f"{shown(error.message, 200)}",
                    hint=f"gitdags show {shown(dag_id)} --at {listing.commit[:12]}",
                )
        # Says which DAGs or commits are close to what was asked for.
        known = self._catalog.repository(repo)
        self._catalog.document(known, dag_id, listing.commit, parse=False)
        raise CannotLoad(f"{quoted(dag_id)} is not at {listing.commit[:12]}", hint="gitdags ls")

    def file(self, repo: str, rev: str, path: str) -> dict[str, Any]:
        """dag_id -> DAG, of all DAGs that a file defines at a revision. Raises as `dag`.

        A file that fails, or is none of the commit's DAG files, raises CannotLoad.
        """
        listing = self._listing(repo, rev)
        found = {row.dag_id: self._dag(row) for row in listing.dags if row.file == path}
        if found:
            return found
        for error in listing.errors:
            if error.file == path:
                raise CannotLoad(
                    f"{quoted(path)} fails at {listing.commit[:12]}: {error.type}: "
                    f"{shown(error.message, 200)}",
                    hint=f"gitdags ls --at {listing.commit[:12]}",
                )
        raise CannotLoad(
            f"{quoted(path)} defines no DAG at {listing.commit[:12]}",
            hint=f"gitdags ls --at {listing.commit[:12]}",
        )

    def _listing(self, repo: str, rev: str) -> Listing:
        commit = self._commit(repo, rev)
        found = self._listings.get((repo, commit))
        if found is None:
            known = self._catalog.repository(repo)
            found = self._catalog.dags(known, commit, parse=False)
            self._listings.put((repo, commit), found)
        return found

    def _commit(self, repo: str, rev: str) -> str:
        if is_sha(rev):
            return rev
        kept = self._refs.get((repo, rev))
        now = self._clock()
        if kept is not None and now - kept[0] < self._interval:
            return kept[1]
        commit = self._catalog.resolve(self._catalog.repository(repo), rev).commit
        self._refs.put((repo, rev), (now, commit))
        return commit

    def _dag(self, row: ListedDag) -> Any:
        key = (row.dag_hash, row.environment)
        found = self._dags.get(key)
        if found is None:
            data = self._catalog.airflow_json(row)
            if data is None:
                raise CannotLoad(
                    f"Airflow's own form of {quoted(row.dag_id)} was not kept",
                    hint="gitdags index --all",
                )
            from airflow.serialization.serialized_objects import DagSerialization

            found = DagSerialization.from_dict(data)
            self._dags.put(key, found)
        return found

    @property
    def _catalog(self) -> Catalog:
        """This thread's own: a Catalog belongs to one."""
        found: Catalog | None = getattr(self._of_thread, "catalog", None)
        if found is None:
            found = self._of_thread.catalog = Catalog(self._settings)
        return found


class Kept(Generic[K, V]):
    """The values used last, so many at most. Any thread may use it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """A value, or None; it is then the one used last."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value; the one not used for longest may go."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._most:
                self._values.popitem(last=False)


_lock = threading.Lock()
_shared: Loader | None = None


def load_dag(repo: str, rev: str, dag_id: str) -> Any:
    """A DAG at a revision of a registered repository. Raises as `Loader.dag`."""
    return _loader().dag(repo, rev, dag_id)


def load_file(repo: str, rev: str, path: str) -> dict[str, Any]:
    """dag_id -> DAG, of all DAGs that a file defines at a revision. Raises as `Loader.file`."""
    return _loader().file(repo, rev, path)


def _loader() -> Loader:
    """One for the process, with the settings of its first use."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = Loader()
        return _shared
