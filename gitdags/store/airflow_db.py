"""Reading the metadata database of an Airflow, of whatever version: its runs, what each executed.

Only columns that are there are asked for, so one reader does for every era. Nothing is written.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import MetaData, Select, Table, create_engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, NoSuchTableError

from gitdags.errors import GitdagsError, shown
from gitdags.model import PastRun

_PAGE = 1_000


class NoAirflowDatabase(GitdagsError):
    """The database cannot be read, or is none of Airflow's."""


class AirflowDatabase:
    """One metadata database, by its SQLAlchemy URL. Raises NoAirflowDatabase."""

    def __init__(self, url: str) -> None:
        try:
            self._engine = create_engine(make_url(url))
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise NoAirflowDatabase(
                f"--airflow-db: {shown(str(error))}",
                hint="airflow config get-value database sql_alchemy_conn",
            ) from None
        metadata = MetaData()
        try:
            self._runs = self._table("dag_run", metadata)
            self._dags = self._table("dag", metadata)
        except NoSuchTableError as error:
            raise NoAirflowDatabase(
                f"{self._where} has no table {error}: it is no database of Airflow's",
                hint="airflow config get-value database sql_alchemy_conn",
            ) from None
        try:
            self._serialized: Table | None = self._table("serialized_dag", metadata)
        except NoSuchTableError:  # before 1.10.7
            self._serialized = None

    @property
    def _where(self) -> str:
        return self._engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def runs(self, since: datetime | None = None) -> Iterator[PastRun]:
        """Every DagRun that began since a moment, oldest row first."""
        last = 0
        while True:
            rows = self._page(last, since)
            for row in rows:
                yield _past_run(row)
            if len(rows) < _PAGE:
                return
            last = rows[-1].id

    def executed(self, key: str) -> str | None:
        """The serialized DAG, as JSON text, of a DagVersion's id (`PastRun.executed`)."""
        s = self._serialized
        if s is None or "dag_version_id" not in s.c:
            return None  # before Airflow 3 there is one row a DAG, which says what ran last
        query = select(*(s.c[name] for name in ("data", "data_compressed") if name in s.c))
        found = self._execute(query.where(s.c.dag_version_id == key))
        if not found:
            return None
        data = found[0]._mapping.get("data")
        packed = found[0]._mapping.get("data_compressed")
        if data is None and packed is not None:
            data = json.loads(zlib.decompress(packed))
        if isinstance(data, str):
            data = json.loads(data)
        return None if data is None else json.dumps(data, sort_keys=True)

    def _page(self, after: int, since: datetime | None) -> list[Any]:
        r, d = self._runs, self._dags
        optional = [r.c[name] for name in _OPTIONAL if name in r.c]
        query = select(r.c.id, r.c.dag_id, r.c.run_id, r.c.state, r.c.start_date, *optional)
        if "bundle_name" in d.c:
            query = query.add_columns(d.c.bundle_name).outerjoin(d, d.c.dag_id == r.c.dag_id)
        query = query.where(r.c.id > after)
        if since is not None:
            query = query.where(r.c.start_date >= since)
        return self._execute(query.order_by(r.c.id).limit(_PAGE))

    def _execute(self, query: Select[Any]) -> list[Any]:
        try:
            with self._engine.connect() as connection:
                return list(connection.execute(query))
        except DBAPIError as error:
            raise self._unreadable(error) from None

    def _table(self, name: str, metadata: MetaData) -> Table:
        try:
            return Table(name, metadata, autoload_with=self._engine, resolve_fks=False)
        except DBAPIError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: DBAPIError) -> NoAirflowDatabase:
        reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
        return NoAirflowDatabase(
            f"{self._where} cannot be read: {shown(reason, 200)}",
            hint="airflow config get-value database sql_alchemy_conn",
        )


_OPTIONAL = (
    "queued_at", "logical_date", "execution_date", "bundle_version", "created_dag_version_id",
)  # fmt: skip


def _past_run(row: Any) -> PastRun:
    found = row._mapping
    times = (found.get(n) for n in ("start_date", "queued_at", "logical_date", "execution_date"))
    at = next((time for time in times if time is not None), None)
    version = found.get("created_dag_version_id")
    return PastRun(
        dag_id=row.dag_id,
        run_id=row.run_id,
        uid=str(row.id),
        state=row.state or "unknown",
        at=datetime.now(UTC) if at is None else _aware(at),
        bundle=found.get("bundle_name"),
        bundle_version=found.get("bundle_version"),
        executed=None if version is None else version,
    )


def _aware(at: datetime | str) -> datetime:
    """Airflow keeps UTC; SQLite gives it back without a zone, and old schemas as text."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
