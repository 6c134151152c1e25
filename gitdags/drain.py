"""From the spool into the store: every record once, none lost, none that stops the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gitdags import stamp
from gitdags.git import is_sha
from gitdags.model import Deployment, Stamp
from gitdags.spool import VERSION, Spool
from gitdags.stamp import BadRecord
from gitdags.store import Store


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What was taken out of the spool, in counts."""

    stamps: int = 0
    """new ones; one that was there already is not counted again"""
    deployments: int = 0
    rendered: int = 0
    refused: int = 0
    """records that say nothing one could store; kept in the spool's file ``refused``"""
    torn: int = 0
    """lines that their writer did not finish"""
    later: int = 0
    """records of a later version of gitdags; kept in the spool for it"""

    def __add__(self, other: DrainReport) -> DrainReport:
        both = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return DrainReport(*(a + b for a, b in both))

    @property
    def empty(self) -> bool:
        """Whether the spool was."""
        return self == DrainReport()


@dataclass(frozen=True, slots=True)
class Drain:
    """Takes what the spool holds.

    ``complete`` adds what this host knows to events; ``repository`` names the registered repository
    at a path, for moves that say only that; ``keep`` keeps commits alive, each with
    the name of its repository where that is known. Of a task's rendered fields those of the newest
    ``rendered_runs`` runs are kept.
    """

    spool: Spool
    store: Store
    complete: Callable[[Sequence[Stamp]], Sequence[Stamp]]
    repository: Callable[[str], str | None]
    rendered_runs: int
    keep: Callable[[Collection[tuple[str | None, str]]], None]

    def run(self) -> DrainReport:
        """Store what there is. Raises StoreUnavailable, and then what is not stored stays where it is."""
        report = DrainReport()
        for taken in self.spool.take():
            part = self._store(taken.records)
            self.spool.done(taken)
            report += dataclasses.replace(part, torn=taken.torn)
        return report

    def _store(self, records: Sequence[dict[str, Any]]) -> DrainReport:
        now = datetime.now(UTC)
        later = [record for record in records if _version(record) > VERSION]
        events: list[Stamp] = []
        elsewhere: list[Stamp] = []
        moves: list[Deployment] = []
        rendered: list[Mapping[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for record in records:
            if _version(record) > VERSION:
                continue
            try:
                kind = record.get("kind")
                if kind == "stamp":
                    event = stamp.from_record(record, now)
                    (elsewhere if record.get("remote") else events).append(event)
                elif kind == "move":
                    moves.append(self._move(record, now))
                elif kind == "rendered":
                    rendered.append(_rendered(record, now))
                else:
                    raise BadRecord(f"its kind is {kind!r}")
            except BadRecord as error:
                refused.append({**record, "refused": str(error)})
        found = [*self.complete(events), *elsewhere]
        self.keep({(event.repo, event.commit) for event in found if event.commit})
        report = DrainReport(
            stamps=self.store.stamps.add(found) if found else 0,
            deployments=len(self.store.deployments.add(moves)) if moves else 0,
            rendered=self.store.evidence.render(rendered, self.rendered_runs) if rendered else 0,
            refused=len(refused),
            later=len(later),
        )
        self.spool.keep("refused", refused)
        self.spool.put_aside(later)
        return report

    def _move(self, record: Mapping[str, Any], now: datetime) -> Deployment:
        """The deployment that a record of kind ``move`` holds. Raises BadRecord."""
        # The fields that a move shares with a stamp are read as a stamp's.
        event = stamp.from_record({"dag_id": "-", "run_id": "-", **record, "source": "manual"}, now)
        ref, old, new = record.get("ref"), record.get("old"), record.get("new")
        if not isinstance(ref, str) or not (ref == "HEAD" or ref.startswith("refs/")):
            raise BadRecord("its ref is no full name of a ref")
        for sha in (old, new):
            if sha is not None and not (isinstance(sha, str) and is_sha(sha)):
                raise BadRecord("a commit is not 40 hex digits")
        if len(ref) > 1_000:
            raise BadRecord("its ref is longer than 1,000 characters")
        repo = event.repo or (self.repository(event.path) if event.path else None)
        if repo is None:
            raise BadRecord("it names no repository, or a path that none is registered at")
        if len(repo) > 63:
            raise BadRecord("no repository has so long a name")
        by, source = str(record.get("by") or ""), str(record.get("source") or "")
        if source not in ("hook", "airflow", "fetch", "webhook"):
            raise BadRecord(f"its source is {source!r}")
        return Deployment(repo, stamp.clean(ref), old, new, event.at, stamp.clean(by)[:500], source)


def _version(record: Mapping[str, Any]) -> int:
    version = record.get("v", 1)
    return version if isinstance(version, int) else 1


def _rendered(record: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    event = stamp.from_record({**record, "source": "worker"}, now)
    fields = record.get("fields")
    if event.task_id is None or not isinstance(fields, dict):
        raise BadRecord("it has no task_id, or no fields")
    return {**dataclasses.asdict(event), "fields": fields}
