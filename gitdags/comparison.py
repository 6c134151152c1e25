"""What differs between two listings: which DAGs came, went, failed, and what changed in the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from gitdags import diff
from gitdags.model import Comparison, DagDiff, Json, ListedDag, Listing
from gitdags.serialize.document import same_structure
from gitdags.timeline import by_id


@dataclasses.dataclass(frozen=True, slots=True)
class Comparer:
    """Compares two listings of one repository, made in environments that may be compared.

    ``document`` gives the JSON of a hash, ``files`` the (path, blob) pairs of a code hash, ``moved``
    the path that a file of the old commit has in the new one, ``last_good`` a DAG's rows before
    the old commit.
    """

    document: Callable[[str], Json]
    files: Callable[[str], Sequence[tuple[str, str]]]
    moved: Callable[[str], str | None]
    last_good: Callable[[str], Sequence[ListedDag] | None]

    def compare(
        self,
        old: Listing,
        new: Listing,
        dag_id: str | None,
        notes: Sequence[str] = (),
        recorded: tuple[Listing, Listing] | None = None,
    ) -> Comparison:
        """The comparison, of one DAG or of all. A failing DAG is never removed.

        ``recorded`` are the recorder's listings of the files that fail on one side: their DAGs are
        compared by its documents, where both are its.
        """
        exact = self._compare(old, new, dag_id, notes)
        if recorded is None:
            return exact
        return self._with_recorded(exact, old, new, *recorded, dag_id)

    def _with_recorded(
        self,
        exact: Comparison,
        old: Listing,
        new: Listing,
        old_recorded: Listing,
        new_recorded: Listing,
        dag_id: str | None,
    ) -> Comparison:
        """What the recorder knows of DAGs that Airflow reads on one side at most."""
        alone = dataclasses.replace(self, last_good=lambda _: None)  # that is another engine's
        found = alone._compare(old_recorded, new_recorded, dag_id, ())
        before, after = by_id(old.dags), by_id(new.dags)
        known = by_id(old_recorded.dags)
        # What Airflow reads for the first time was there before, or is new; it was never broken.
        first = {name for name in exact.fixed if self.last_good(name) is None}
        added = {*exact.added, *first, *(n for n in found.added if n not in before)} - {
            name for name in known if name in first or name in exact.added
        }
        removed = {*exact.removed, *(n for n in found.removed if n not in after)}
        failed = {*exact.failed, *(n for n in found.failed if n not in before)} - removed
        fixed = {n for n in exact.fixed if n not in first}
        fixed |= {n for n in found.fixed if n not in after and n not in before}
        told = {one.dag_id for one in exact.changed}
        changed = [
            one
            for one in found.changed
            if one.dag_id not in told and not (one.dag_id in before and one.dag_id in after)
        ]
        return dataclasses.replace(
            exact,
            added=tuple(sorted(added)),
            removed=tuple(sorted(removed)),
            failed=tuple(sorted(failed)),
            fixed=tuple(sorted(fixed)),
            changed=tuple(sorted((*exact.changed, *changed), key=lambda one: one.dag_id)),
        )

    def _compare(
        self, old: Listing, new: Listing, dag_id: str | None, notes: Sequence[str]
    ) -> Comparison:
        before, after = by_id(old.dags), by_id(new.dags)
        names = sorted(before.keys() | after.keys())
        failing_before = {e.file for e in old.errors}
        failing_after = {e.file for e in new.errors}
        added: list[str] = []
        removed: list[str] = []
        failed: list[str] = []
        fixed: list[str] = []
        changed: list[DagDiff] = []
        for name in names if dag_id is None else [n for n in names if n == dag_id]:
            was: Sequence[ListedDag] | None = before.get(name)
            now = after.get(name)
            if now is None:
                file = before[name][0].file
                fails = file in failing_after or self.moved(file) in failing_after
                (failed if fails else removed).append(name)
                continue
            if was is None:
                if now[0].file not in failing_before:
                    added.append(name)
                    continue
                fixed.append(name)
                was = self.last_good(name)
            found = self._difference(was[0], now[0]) if was else None
            if found is not None:
                changed.append(found)
        return Comparison(
            old.commit,
            new.commit,
            tuple(added),
            tuple(removed),
            tuple(failed),
            tuple(fixed),
            tuple(changed),
            tuple(notes),
        )

    def _difference(self, old: ListedDag, new: ListedDag) -> DagDiff | None:
        if (old.dag_hash, old.code_hash, old.file) == (new.dag_hash, new.code_hash, new.file):
            return None
        before, after = self.document(old.dag_hash), self.document(new.dag_hash)
        found = diff.compare(before, after)
        read_before, read_after = dict(self.files(old.code_hash)), dict(self.files(new.code_hash))
        if old.dag_hash == new.dag_hash:
            code_only = sorted(read_before.values()) != sorted(read_after.values())
        else:
            code_only = same_structure(before, after)
        if old.file != new.file:
            attributes = {**found.attributes, "file": (old.file, new.file)}
            found = dataclasses.replace(found, attributes=attributes)
        files = tuple(
            path
            for path in sorted(read_before.keys() | read_after.keys())
            if read_before.get(path) != read_after.get(path)
        )
        return dataclasses.replace(found, code_only=code_only, files_changed=files)
