"""Runs from before gitdags: an Airflow's own rows as stamps.

A run's bundle version is the commit it ran, as Airflow had it. Where there is none, a run is taken to
have run where the ref stood when it began: by a recorded deployment, the reflog, or commit dates. That
is inferred, and marked so. Airflow's DagVersion rows change after the fact and say nothing here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from gitdags.git import is_sha
from gitdags.model import PastRun, Resolved, Stamp, StampSource

_BATCH = 1_000
Infer = Callable[[datetime], Resolved | None]
"""The commit that the default ref stood at at a moment; None where it did not exist yet."""


@dataclass(frozen=True, slots=True)
class Past:
    """An installation's runs, on their way to the store.

    ``infer`` and ``repo``, the repository it speaks for, are None where no repository was named.
    """

    airflow: str
    repo: str | None = None
    infer: Infer | None = None

    def stamps(self, runs: Iterable[PastRun]) -> Iterator[list[tuple[PastRun, Stamp]]]:
        """The runs in batches, each with the stamp it becomes; the same row always the same stamp."""
        left = iter(runs)
        while batch := list(islice(left, _BATCH)):
            yield [(run, self._stamp(run)) for run in batch]

    def _stamp(self, run: PastRun) -> Stamp:
        source: StampSource = "imported"
        commit, repo = run.bundle_version, None
        if (commit is None or not is_sha(commit)) and self.infer is not None:
            found = self.infer(run.at)
            if found is not None:
                commit, repo = found.commit, self.repo
                source = "deployment" if found.source == "deployment" else "date"
        told = [
            self.airflow,
            run.dag_id,
            run.run_id,
            run.uid,
            run.state,
            commit,
            run.at.isoformat(),
        ]
        return Stamp(
            id=hashlib.sha256(json.dumps(told).encode()).hexdigest(),
            airflow=self.airflow,
            dag_id=run.dag_id,
            run_id=run.run_id,
            state=run.state,
            source=source,
            at=run.at.astimezone(UTC),
            run_uid=run.uid,
            repo=repo,
            commit=commit,
            bundle=run.bundle,
        )
