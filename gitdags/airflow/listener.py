"""The listener: which commit each run and each try ran, written down as it happens.

Called inside the scheduler's loop and in every task's process: it reads what is at hand, appends to the
spool and returns. It opens no session of Airflow's, asks no network, and whatever goes wrong in it is
logged once and never reaches Airflow.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from airflow.listeners import hookimpl

from gitdags.airflow import records
from gitdags.airflow.outbox import Outbox
from gitdags.airflow.runtime import Runtime

log = logging.getLogger("gitdags.listener")

_LAST_WORDS = 2.0  # seconds a task's process waits, at its very end, for its stamps to be handed on


class Listener:
    """What Airflow calls. ``repos``: bundle name -> repository; ``others``: stamp other bundles too."""

    def __init__(
        self,
        airflow: str,
        repos: Mapping[str, str],
        outbox: Outbox,
        runtime: Runtime,
        *,
        others: bool = False,
        rendered: bool = False,
    ) -> None:
        self._airflow, self._repos, self._outbox, self._runtime = airflow, repos, outbox, runtime
        self._others, self._rendered = others, rendered
        self._bundles: dict[str, str] = {}
        """DAG -> bundle, as last seen: the row of a run that ends often has no bundle loaded"""
        self._failed = False

    # ── runs, in the scheduler; when a person sets a state, in the API server ─────────────

    @hookimpl
    def on_dag_run_running(self, dag_run: Any) -> None:
        """A run has begun, or begun again."""
        self._harmlessly(self._run, dag_run, "running")

    @hookimpl
    def on_dag_run_success(self, dag_run: Any) -> None:
        """A run has ended well."""
        self._harmlessly(self._run, dag_run, "success")

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any) -> None:
        """A run has failed."""
        self._harmlessly(self._run, dag_run, "failed")

    # ── tries, in their own process; now and then in the scheduler or the API server ──────

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        """A try's code is about to run."""
        self._harmlessly(self._try, task_instance, "running")
        self._harmlessly(self._fields, task_instance)

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        """A try has ended well, or is said to have."""
        self._harmlessly(self._try, task_instance, "success")
        self._harmlessly(self._fields_again, task_instance)

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any) -> None:
        """A try has failed; the task may be tried again."""
        self._harmlessly(self._try, task_instance, "failed")

    @hookimpl
    def on_task_instance_skipped(self, task_instance: Any) -> None:
        """A try has skipped itself."""
        self._harmlessly(self._try, task_instance, "skipped")

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """A component begins: time to learn what is installed, before the first stamp."""
        in_task = type(component).__name__ == "TaskRunnerMarker"
        self._harmlessly(functools.partial(self._runtime.warm, wait=not in_task))

    @hookimpl
    def before_stopping(self, component: Any) -> None:
        """A component ends."""
        self._harmlessly(self._outbox.settle, _LAST_WORDS)

    # ── helpers ───────────────────────────────────────────────────────────────────────────

    def _harmlessly(self, action: Callable[..., object], *words: Any) -> None:
        """Do it; what goes wrong is a bug of ours, and no reason to trouble Airflow with it."""
        try:
            action(*words)
        except Exception:
            if not self._failed:
                self._failed = True
                log.exception("gitdags: a run was not stamped (said once)")

    def _run(self, dag_run: Any, state: str) -> None:
        known = self._bundles.get(vars(dag_run).get("dag_id") or "")
        record = records.of_run(dag_run, state, self._airflow, self._repos, known)
        if record is None:
            return
        if record["bundle"] is not None:
            self._bundles[record["dag_id"]] = record["bundle"]
        if self._concerns(record["bundle"]):
            self._outbox.put(record, sync=False)

    def _try(self, task_instance: Any, state: str) -> None:
        if not records.from_worker(task_instance):
            record = records.of_row(task_instance, state, self._airflow)
            if record is not None and self._concerns(record["bundle"]):
                self._outbox.put(record, sync=False)
            return
        found = records.of_try(task_instance, state, self._airflow, self._repos)
        if not self._concerns(found[0]["bundle"]):
            return
        runtime = self._runtime.fields()
        for record in found:
            self._outbox.put({**record, **runtime}, sync=True)

    def _concerns(self, bundle: str | None) -> bool:
        return self._others or bundle is None or bundle in self._repos

    def _fields(self, task_instance: Any) -> None:
        """Rendered template fields, serialized and masked as Airflow sends them to its own server."""
        if not self._rendered or not records.from_worker(task_instance):
            return
        from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

        fields = _serialize_rendered_fields(task_instance.task)
        if fields:
            name = records.of_try(task_instance, "running", self._airflow, self._repos)[0]
            wanted = ("airflow", "dag_id", "run_id", "task_id", "map_index", "try_number")
            record = {key: name[key] for key in wanted}
            self._outbox.put({"kind": "rendered", **record, "fields": fields}, sync=True)

    def _fields_again(self, task_instance: Any) -> None:
        """Some operators set their fields while they run: the last ones count, as in Airflow."""
        if getattr(vars(task_instance).get("task"), "overwrite_rtif_after_execution", False):
            self._fields(task_instance)
