"""Runs and their tries: which there are, and which document each has."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    func,
    or_,
    select,
    text,
    update,
)

from gitdags.model import RunStamp, Try
from gitdags.store import run_rows
from gitdags.store import schema as t
from gitdags.store.database import Database, chunks


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found out about the runs of one DAG at one commit."""

    asked: str | None
    """the repository as the runs name it, who may not know"""
    repo: str | None
    commit: str | None
    dag_id: str
    dag_hash: str | None
    code_hash: str | None
    doubt: str | None
    unstable: bool = False


class Runs:
    """The runs of every installation of Airflow."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ── reading ───────────────────────────────────────────────────────────────────────────

    def newest(
        self,
        *,
        airflow: str | None = None,
        dag_id: str | None = None,
        commit: str | None = None,
        repo: str | None = None,
        limit: int | None = None,
        before: tuple[datetime, int] | None = None,
        tries: bool = True,
    ) -> list[RunStamp]:
        """Runs, newest first, with their tries. ``commit``: that it, or one of its tries, ran at.

        ``before`` is the (stamped_at, id) of the last run of the page before.
        """
        r = t.runs
        query = select(r).order_by(r.c.stamped_at.desc(), r.c.id.desc())
        if airflow is not None:
            query = query.where(r.c.airflow == airflow)
        if dag_id is not None:
            query = query.where(r.c.dag_id == dag_id)
        if repo is not None:
            query = query.where(or_(r.c.repo == repo, r.c.repo.is_(None)))
        if before is not None:
            at, number = before
            query = query.where(
                or_(r.c.stamped_at < at, and_(r.c.stamped_at == at, r.c.id < number))
            )
        with self._database.read() as db:
            found = self._at(db, query, commit, limit)
            return self._with_tries(db, found) if tries else found

    @staticmethod
    def _at(
        db: Connection, query: Select[Any], commit: str | None, limit: int | None
    ) -> list[RunStamp]:
        """The runs of a query: all, or those that a commit was run by."""
        r, y = t.runs, t.tries
        if commit is None:
            return [run_rows.run(row) for row in db.execute(query.limit(limit))]
        # Two queries, each along an index of its own, where one with OR would walk the table.
        began = query.where(r.c.commit == commit).limit(limit)
        later = select(y.c.run).where(y.c.commit == commit).distinct()
        elsewhere = query.where(r.c.id.in_(later), r.c.commit.is_distinct_from(commit)).limit(limit)
        rows = [*db.execute(began), *db.execute(elsewhere)]
        rows.sort(key=lambda row: (row.stamped_at, row.id), reverse=True)
        return [run_rows.run(row) for row in rows[:limit]]

    def _with_tries(self, db: Connection, runs: Sequence[RunStamp]) -> list[RunStamp]:
        y, x = t.tries, t.runtimes
        found: dict[int, list[Try]] = {run.id: [] for run in runs}
        for chunk in chunks(found):
            query = (
                select(y, x.c.airflow, x.c.python, x.c.image, x.c.packages)
                .join(x, x.c.id == y.c.runtime_id)
                .where(y.c.run.in_(chunk))
                .order_by(y.c.run, y.c.stamped_at, y.c.task_id, y.c.map_index, y.c.try_number)
            )
            for row in db.execute(query):
                found[row.run].append(run_rows.a_try(row))
        return [dataclasses.replace(run, tries=tuple(found[run.id])) for run in runs]

    def find(self, dag_id: str | None, run_id: str, airflow: str | None = None) -> list[RunStamp]:
        """The runs of that id, newest generation first: one per installation and generation."""
        r = t.runs
        query = select(r).where(r.c.run_id == run_id)
        if dag_id is not None:
            query = query.where(r.c.dag_id == dag_id)
        if airflow is not None:
            query = query.where(r.c.airflow == airflow)
        with self._database.read() as db:
            rows = db.execute(query.order_by(r.c.airflow, r.c.dag_id, r.c.generation.desc()))
            return self._with_tries(db, [run_rows.run(row) for row in rows])

    def last_success(self, run: RunStamp) -> RunStamp | None:
        """The newest successful run of the same DAG and installation that began before this one."""
        r = t.runs
        query = (
            select(r)
            .where(
                r.c.airflow == run.airflow,
                r.c.dag_id == run.dag_id,
                r.c.state == "success",
                r.c.commit.is_not(None),
                or_(
                    r.c.stamped_at < run.stamped_at,
                    and_(r.c.stamped_at == run.stamped_at, r.c.id < run.id),
                ),
            )
            .order_by(r.c.stamped_at.desc(), r.c.id.desc())
            .limit(1)
        )
        with self._database.read() as db:
            found = [run_rows.run(row) for row in db.execute(query)]
            return self._with_tries(db, found)[0] if found else None

    def state(self) -> tuple[int, int]:
        """A value that is another one when an event came, or a run got its document."""
        r = t.runs
        unsettled = select(func.count()).where(r.c.dag_hash.is_(None), r.c.doubt.is_(None))
        with self._database.read() as db:
            newest = db.execute(select(func.max(t.stamps.c.seq))).scalar() or 0
            return newest, db.execute(unsettled).scalar() or 0

    def latest(self, dag_ids: Collection[str], each: int) -> dict[str, list[tuple[str, str]]]:
        """dag_id -> (run id, state) of its newest runs, newest first."""
        found: dict[str, list[tuple[str, str]]] = {}
        with self._database.read() as db:
            query = _NEWEST_SQLITE if db.dialect.name == "sqlite" else _NEWEST
            told = db.execute(query, {"names": json.dumps(sorted(dag_ids)), "each": each})
            for dag_id, run_id, state in told:
                found.setdefault(dag_id, []).append((run_id, state))
        return found

    def per_document(self, dag_id: str, hashes: Collection[str]) -> dict[str, int]:
        """document hash -> how many runs of a DAG had it."""
        r = t.runs
        found: dict[str, int] = {}
        with self._database.read() as db:
            for chunk in chunks(hashes):
                query = (
                    select(r.c.dag_hash, func.count())
                    .where(r.c.dag_id == dag_id, r.c.dag_hash.in_(chunk))
                    .group_by(r.c.dag_hash)
                )
                found.update((key, number) for key, number in db.execute(query))
        return found

    def dag_ids(self) -> list[str]:
        """Every dag_id that a run was stamped of."""
        with self._database.read() as db:
            return list(
                db.execute(select(t.runs.c.dag_id).distinct().order_by(t.runs.c.dag_id)).scalars()
            )

    def counts(self) -> dict[str, int]:
        """How many runs there are, how many of them are in doubt or conflict, how many unsettled."""
        r = t.runs
        with self._database.read() as db:

            def number(*where: Any) -> int:
                return db.execute(select(func.count()).select_from(r).where(*where)).scalar() or 0

            return {
                "runs": number(),
                "conflicts": number(r.c.conflict),
                "doubtful": number(r.c.doubt.is_not(None)),
                "unsettled": number(r.c.dag_hash.is_(None), r.c.doubt.is_(None)),
            }

    # ── documents of runs, made in the background ─────────────────────────────────────────

    def unsettled(self, limit: int | None = None) -> list[RunStamp]:
        """Runs without a document of which it is not known why, in the order they were made."""
        r = t.runs
        query = select(r).where(r.c.dag_hash.is_(None), r.c.doubt.is_(None)).order_by(r.c.id)
        with self._database.read() as db:
            return [run_rows.run(row) for row in db.execute(query.limit(limit))]

    def unsettled_tries(self, limit: int | None = None) -> list[tuple[str, Try]]:
        """(dag_id, try) of tries that ran elsewhere than their run began, without a document."""
        r, y, x = t.runs, t.tries, t.runtimes
        query = (
            select(y, r.c.dag_id, x.c.airflow, x.c.python, x.c.image, x.c.packages)
            .join(r, r.c.id == y.c.run)
            .join(x, x.c.id == y.c.runtime_id)
            .where(y.c.dag_hash.is_(None), y.c.doubt.is_(None), y.c.commit.is_not(None))
            .where(y.c.commit.is_distinct_from(r.c.commit))
            .limit(limit)
        )
        with self._database.read() as db:
            return [(row.dag_id, run_rows.a_try(row)) for row in db.execute(query)]

    def settle(self, found: Iterable[Settled]) -> int:
        """Give runs and tries without one the document of their commit, or the reason; how many runs."""
        r, y = t.runs, t.tries
        settled = 0
        with self._database.write() as db:
            self._database.take_turns(db, "stamps")
            for one in found:
                values: dict[str, Any] = {
                    "dag_hash": one.dag_hash, "code_hash": one.code_hash, "doubt": one.doubt,
                    "unstable": one.unstable, "repo": one.repo,
                }  # fmt: skip
                here = (
                    r.c.dag_id == one.dag_id,
                    r.c.commit.is_not_distinct_from(one.commit),
                    r.c.repo.is_not_distinct_from(one.asked),
                    r.c.dag_hash.is_(None),
                    r.c.doubt.is_(None),
                )
                # Tries first: those of a run that names its repository are found by it.
                of_dag = select(r.c.id).where(r.c.dag_id == one.dag_id)
                mine = (
                    y.c.commit.is_not_distinct_from(one.commit),
                    y.c.repo.is_not_distinct_from(one.asked),
                    y.c.dag_hash.is_(None),
                    y.c.doubt.is_(None),
                    y.c.run.in_(of_dag),
                )
                tried = {"dag_hash": one.dag_hash, "doubt": one.doubt, "repo": one.repo}
                db.execute(update(y).where(*mine).values(**tried))
                settled += db.execute(update(r).where(*here).values(**values)).rowcount
        return settled

    def known(self, repo: str, dag_id: str, commit: str) -> tuple[str, bool] | None:
        """(dag hash, whether unstable) of a settled run of a repository's DAG at a commit."""
        r = t.runs
        query = select(r.c.dag_hash, r.c.unstable).where(
            r.c.commit == commit,
            r.c.dag_id == dag_id,
            r.c.repo == repo,
            r.c.dag_hash.is_not(None),
        )
        with self._database.read() as db:
            row = db.execute(query.limit(1)).first()
        return None if row is None else (row.dag_hash, row.unstable)

    def doubt_again(self, reasons: Sequence[str]) -> int:
        """Forget why runs have no document, so that it is looked for again; how many runs."""
        r, y = t.runs, t.tries
        with self._database.write() as db:
            self._database.take_turns(db, "stamps")
            db.execute(update(y).where(y.c.doubt.in_(reasons)).values(doubt=None))
            return db.execute(update(r).where(r.c.doubt.in_(reasons)).values(doubt=None)).rowcount

    def commits(self, repo: str) -> list[str]:
        """The commits of a repository that some run or try ran at."""
        r, y = t.runs, t.tries
        with self._database.read() as db:
            found: set[str] = set()
            for table in (r, y):
                query = select(table.c.commit).where(
                    table.c.repo == repo, table.c.commit.is_not(None)
                )
                found.update(db.execute(query.distinct()).scalars())
            return sorted(found)


# Each DAG's newest runs, found by the index. One text for any number of DAGs, so that it is prepared once;
# SQLite has no LATERAL.
_NEWEST_SQLITE = text(
    "SELECT r.dag_id, r.run_id, r.state FROM json_each(:names) n JOIN runs r ON r.id IN "
    "(SELECT i.id FROM runs i WHERE i.dag_id = n.value ORDER BY i.stamped_at DESC, i.id DESC LIMIT :each) "
    "ORDER BY r.dag_id, r.stamped_at DESC, r.id DESC"
)
_NEWEST = text(
    "SELECT r.dag_id, r.run_id, r.state FROM json_array_elements_text(CAST(:names AS json)) n(name) "
    "CROSS JOIN LATERAL (SELECT * FROM runs i WHERE i.dag_id = n.name "
    "ORDER BY i.stamped_at DESC, i.id DESC LIMIT :each) r "
    "ORDER BY r.dag_id, r.stamped_at DESC, r.id DESC"
)
