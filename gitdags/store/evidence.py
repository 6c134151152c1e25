"""What is kept of single runs: the DAG as Airflow executed it, template fields as it rendered them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, exists, select, update

from gitdags.model import RunStamp
from gitdags.store import run_rows
from gitdags.store import schema as t
from gitdags.store.database import Database, chunks


class Evidence:
    """Of the runs of every installation of Airflow."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def execute(self, keys: Sequence[run_rows.Key], body: str) -> int:
        """Keep Airflow's own serialized DAG, as it executed it, of some runs; how many had none yet.

        Of a run that was made again it is the newest that Airflow still knows.
        """
        r, newer = t.runs, t.runs.alias()
        same = (newer.c.airflow == r.c.airflow, newer.c.dag_id == r.c.dag_id)
        newest = ~exists().where(
            *same, newer.c.run_id == r.c.run_id, newer.c.generation > r.c.generation
        )
        key = hashlib.sha256(body.encode()).hexdigest()
        with self._database.write() as db:
            self._database.add(db, t.executed_documents, [{"hash": key, "body": body}])
            return sum(
                db.execute(
                    update(t.runs)
                    .where(run_rows.any_of(t.runs, chunk), r.c.executed_hash.is_(None), newest)
                    .values(executed_hash=key)
                ).rowcount
                for chunk in chunks(keys, 100)
            )

    def executed(self, run: RunStamp) -> str | None:
        """Airflow's own serialized DAG of a run, where it was imported."""
        e = t.executed_documents
        query = select(e.c.body).join(t.runs, t.runs.c.executed_hash == e.c.hash)
        with self._database.read() as db:
            return db.execute(query.where(t.runs.c.id == run.id)).scalar()

    def render(self, records: Sequence[Mapping[str, Any]], keep: int) -> int:
        """Store rendered template fields of tries, and drop those of all but a task's newest runs."""
        f, r = t.rendered_fields, t.runs
        stored = 0
        with self._database.write() as db:
            for record in records:
                key = (record["airflow"], record["dag_id"], record["run_id"])
                newest = (
                    select(r.c.id).where(run_rows.any_of(r, [key])).order_by(r.c.generation.desc())
                )
                run = db.execute(newest.limit(1)).scalar()
                if run is None:
                    continue
                row = {name: record[name] for name in ("task_id", "map_index", "try_number")}
                body = json.dumps(record["fields"], sort_keys=True).replace("\\u0000", "␀")
                insert = self._database.insert(f)
                # Some operators set their fields while they run: the last ones count, as in Airflow.
                last = insert.on_conflict_do_update(
                    index_elements=list(f.primary_key), set_={"fields": insert.excluded.fields}
                )
                db.execute(last, [{"run": run, **row, "fields": body}])
                stored += 1
                of_task = (
                    select(f.c.run)
                    .join(r, r.c.id == f.c.run)
                    .where(
                        r.c.airflow == key[0], r.c.dag_id == key[1], f.c.task_id == row["task_id"]
                    )
                    .distinct()
                    .order_by(f.c.run.desc())
                    .offset(keep)
                )
                old = list(db.execute(of_task).scalars())
                db.execute(delete(f).where(f.c.task_id == row["task_id"], f.c.run.in_(old)))
        return stored

    def rendered(self, run: RunStamp) -> dict[tuple[str, int, int], Any]:
        """(task_id, map_index, try_number) -> the rendered template fields that were kept of a run."""
        f = t.rendered_fields
        with self._database.read() as db:
            return {
                (row.task_id, row.map_index, row.try_number): json.loads(row.fields)
                for row in db.execute(select(f).where(f.c.run == run.id))
            }
