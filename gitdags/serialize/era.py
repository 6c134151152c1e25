"""Which version of Airflow a commit is for: what its requirements pin, else what its DAG files use.

Needed by the recorder only. Reads Git objects; what it learns of a blob it keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gitdags.git import Repository
from gitdags.model import Entry
from gitdags.serialize.worker.recorder import era

_LARGEST = 2 << 20  # bytes of a lock file that are still read
_MOST_FOLDERS = 60
_FOLDERS_DEEP = 1

# Names of files that say which Airflow is installed, the ones to be believed first in front.
_FILES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rb"(?:.*[-_])?constraints.*\.txt|poetry\.lock|uv\.lock|pipfile\.lock",
        rb".*requirements.*\.(?:txt|in)|pyproject\.toml|pipfile|setup\.(?:py|cfg)|environment\.ya?ml",
        rb"(?:.*\.)?dockerfile.*|containerfile",
        rb"(?:.*[-_])?docker-compose.*\.ya?ml|compose.*\.ya?ml|values.*\.ya?ml|\.env.*|makefile",
    )
)
_VERSION = rb"v?(\d+\.\d+(?:\.\d+)?)"
_PINS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rb"apache[-_]airflow(?:-core)?(?:\[[^\]]*\])?\s*(?:==|~=|===)\s*" + _VERSION,
        rb"apache[-_]airflow(?:-core)?[\"']?\s*=\s*(?:\{[^}]*version\s*=\s*)?[\"'](?:==|~=|\^|~)?"
        + _VERSION,
        rb"name = \"apache-airflow(?:-core)?\"\s+version = \"" + _VERSION,
        rb"\"apache-airflow(?:-core)?\": \{[^}]*?\"version\": \"==" + _VERSION,
        rb"constraints-" + _VERSION + rb"/constraints",
        rb"airflow_version(?:[\"']?\s*[:=]\s*|:-)[\"']?" + _VERSION,
        rb"apache/airflow:(?:slim-)?" + _VERSION,
        rb"puckel/docker-airflow:" + _VERSION,
        rb"composer-[\w.]+-airflow-" + _VERSION,
        rb"airflowversion:\s*[\"']?" + _VERSION,
        rb"apache[-_]airflow(?:-core)?(?:\[[^\]]*\])?\s*>=\s*" + _VERSION,
    )
)
_ASTRO = re.compile(rb"(?:astro-runtime|astrocrpublic\.azurecr\.io/runtime):(\d+)\.(\d+)")
_ASTRO_AIRFLOW = {
    4: "2.2.5", 5: "2.3.4", 6: "2.4.3", 7: "2.5.3", 8: "2.6.3", 9: "2.7.3", 10: "2.8.4", 11: "2.9.3",
    12: "2.10.5",
    13: "2.11.0",
}  # fmt: skip
"""Major version of the Astro Runtime image -> Airflow in it; from 3.0 on it is Airflow's own number."""

_OLDEST, _TOO_NEW = (1, 7), (4,)


def _numbers(version: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(b"."))


class Eras:
    """The eras of commits of one repository."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._pins: dict[str, str] = {}
        self._bounds: dict[str, tuple[era.Release, era.Release]] = {}

    def of(self, tree: str, files: Sequence[str]) -> str:
        """A version of Airflow, ``2.10.5``; "" where nothing at all speaks for one.

        ``files`` are the blob ids of the commit's DAG files. What only they speak for is a likely one,
        ``~2.10.5``: a file that cannot be for it has an era of its own.
        """
        return self._pinned(tree) or self._used(files)

    def _pinned(self, tree: str) -> str:
        found = sorted(self._candidates(tree, b"", 0), key=lambda one: (one[0], one[1]))
        for _, _, entry in found:
            if entry.oid not in self._pins:
                self._pins[entry.oid] = self._pin(entry)
            if self._pins[entry.oid]:
                return self._pins[entry.oid]
        return ""

    def _candidates(
        self, tree: str, prefix: bytes, depth: int
    ) -> Iterator[tuple[int, bytes, Entry]]:
        """(rank, path, entry) of the files that may say it: at the top, and one folder below."""
        folders = 0
        for name, entry in self._repo.tree(tree).items():
            if entry.is_file:
                rank = next((i for i, names in enumerate(_FILES) if names.fullmatch(name)), None)
                if rank is not None:
                    yield rank + len(_FILES) * depth, prefix + name, entry
            elif entry.is_tree and depth < _FOLDERS_DEEP and folders < _MOST_FOLDERS:
                folders += 1
                yield from self._candidates(entry.oid, prefix + name + b"/", depth + 1)

    def _pin(self, entry: Entry) -> str:
        data = self._repo.blob(entry.oid)[:_LARGEST]
        for pattern in _PINS:
            pinned = pattern.search(data)
            if pinned is not None and _OLDEST <= _numbers(pinned[1]) < _TOO_NEW:
                return pinned[1].decode()
        astro = _ASTRO.search(data)
        if astro is not None:
            major, minor = int(astro[1]), int(astro[2])
            return _ASTRO_AIRFLOW.get(major, f"{major}.{minor}" if major == 3 else "")
        return ""

    def _used(self, files: Sequence[str]) -> str:
        """By what the files of the commit use: what one of them needs, all of them are given."""
        first, last, said = era.FIRST, era.LAST, False
        for oid in files:
            if oid not in self._bounds:
                source = self._repo.blob(oid).decode("utf-8", "replace")
                self._bounds[oid] = era.bounds(source)
            since, until = self._bounds[oid]
            said = said or (since, until) != (era.FIRST, era.LAST)
            first = max(first, since)
            last = min(last, until) if until >= first else last
        return era.LIKELY + era.pick(first, max(first, last)) if said else ""
