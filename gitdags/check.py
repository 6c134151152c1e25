"""Whether a commit's DAGs may be merged: they import, fit the budget, are stable, and do not clash."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gitdags.catalog import Catalog
from gitdags.git import split_range
from gitdags.model import (
    CheckReport,
    Commit,
    Finding,
    Json,
    ListedDag,
    Listing,
    ParseFailure,
    RegisteredRepository,
)
from gitdags.reading import ParsedFile
from gitdags.timeline import by_id

_LINE = re.compile(r'File "<repo>/(?P<file>[^"]+)", line (?P<line>\d+)')
_OTHER_SEED = "1"  # documents in the store were made with seed 0


def check(
    catalog: Catalog, repo: RegisteredRepository, target: str = "HEAD", *, parse: bool = True
) -> CheckReport:
    """Check a revision, or of a range ``A..B`` what B has and A had not.

    Of a range, only files that the change touches, or whose failure is new, are objected to; no
    commit between the two is needed. Parses the files looked at once more, in a process with
    another hash seed. Raises what `Catalog.dags` and `Catalog.compare` raise.
    """
    ends = split_range(target)
    new = target if ends is None else ends[1]
    commit = catalog.commit(repo, new)
    base = catalog.commit(repo, ends[0]) if ends is not None else None
    comparison = None
    if base is not None:
        comparison = catalog.compare(repo, base.sha, commit.sha, parse=parse)
        before: Listing | None = _read(catalog.dags(repo, base.sha, parse=False))
    else:
        before = None
    listing = _read(catalog.dags(repo, commit.sha, parse=parse))
    known = {_made_of(row) for row in before.dags} if before is not None else set()
    rows = [row for row in listing.dags if _made_of(row) not in known]
    files = sorted({row.file for row in rows})
    budget = catalog.settings(repo)["size_budget"]
    findings = [
        *_imports(listing.errors, before),
        *_clashes(listing.dags, set(files) if before is not None else None),
        *_sizes(catalog, rows, budget),
        *(_unstable(catalog, repo, commit, listing, rows) if files and parse else ()),
    ]
    return CheckReport(
        repo.name,
        commit.sha,
        None if base is None else base.sha,
        len({row.dag_id for row in rows}),
        len({*files, *(finding.file for finding in findings)}),
        tuple(findings),
        comparison,
        catalog.history(repo).engines[0] if parse else "airflow",
    )


def _read(listing: Listing) -> Listing:
    """Without the rows that a stand-in for Airflow gave where Airflow itself failed."""
    rows = tuple(row for row in listing.dags if row.environment == listing.environment)
    return dataclasses.replace(listing, dags=rows)


def _made_of(row: ListedDag) -> tuple[str, str, str]:
    """What must be the same for a DAG to be untouched by a change."""
    return row.dag_id, row.dag_hash, row.code_hash


def _imports(errors: Iterable[ParseFailure], before: Listing | None) -> Iterable[Finding]:
    known = {(e.file, e.type, e.message) for e in before.errors} if before is not None else set()
    for error in errors:
        if (error.file, error.type, error.message) in known:
            continue
        places = [m for m in _LINE.finditer(error.traceback) if m["file"] == error.file]
        lost = f" (it defined {', '.join(error.dag_ids)})" if error.dag_ids else ""
        yield Finding(
            "import",
            error.file,
            f"{error.type}: {error.message}{lost}",
            line=int(places[-1]["line"]) if places else None,
            detail=error.traceback,
        )


def _clashes(rows: Sequence[ListedDag], files: set[str] | None) -> Iterable[Finding]:
    for dag_id, same in by_id(rows).items():
        if len(same) > 1 and (files is None or any(row.file in files for row in same)):
            listed = " and ".join(row.file for row in same)
            yield Finding("clash", same[-1].file, f"{dag_id} is defined by {listed}", dag_id)


def _sizes(catalog: Catalog, rows: Sequence[ListedDag], budget: int) -> Iterable[Finding]:
    for row in rows:
        size = len(catalog.document_text(row.dag_hash).encode())
        if size > budget:
            yield Finding(
                "size",
                row.file,
                f"the document of {row.dag_id} has {size:,} bytes; the budget is {budget:,} "
                "(size_budget)",
                row.dag_id,
            )


@dataclass(frozen=True, slots=True)
class _Key:
    dag_id: str
    file: str


def _unstable(
    catalog: Catalog,
    repo: RegisteredRepository,
    commit: Commit,
    listing: Listing,
    rows: Sequence[ListedDag],
) -> Iterable[Finding]:
    """DAGs whose second parse, elsewhere and with another hash seed, gives other bytes."""
    history = catalog.history(repo)
    again: dict[_Key, ParsedFile] = {}
    for parsed in history.parse(commit, hash_seed=_OTHER_SEED, only={row.file for row in rows}):
        for document in parsed.documents:
            again[_Key(document.dag_id, parsed.file)] = parsed
    first_keys = {_Key(row.dag_id, row.file) for row in rows}
    known = {_Key(row.dag_id, row.file) for row in listing.dags}
    for key in sorted(again.keys() - first_keys - known, key=lambda k: (k.file, k.dag_id)):
        message = f"{key.dag_id} is there in a second parse only"
        yield Finding("unstable", key.file, message, key.dag_id)
    for row in rows:
        parsed_again = again.get(_Key(row.dag_id, row.file))
        if parsed_again is None:
            yield Finding(
                "unstable", row.file, f"{row.dag_id} is not there in a second parse", row.dag_id
            )
            continue
        second = next(d for d in parsed_again.documents if d.dag_id == row.dag_id)
        if second.dag_hash == row.dag_hash:
            continue
        first = json.loads(catalog.document_text(row.dag_hash))
        field, was, now = _first_difference(first, json.loads(second.text))
        yield Finding(
            "unstable",
            row.file,
            f"{row.dag_id} differs between two parses in {field}: {was} and {now}",
            row.dag_id,
        )


def _first_difference(a: Json, b: Json, path: str = "") -> tuple[str, str, str]:
    """(field, one value, other value) of the first place where two documents differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                return _first_difference(a.get(key), b.get(key), f"{path}.{key}" if path else key)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            if x != y:
                name = x.get("task_id", i) if isinstance(x, dict) else i
                return _first_difference(x, y, f"{path}[{name}]")
    return path or "the document", _brief(a), _brief(b)


def _brief(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
