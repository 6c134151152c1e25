"""Run and commit: events as they come from the spool, and the runs and tries that are made of them.

Pure. Events are facts and all kept; what is shown of a run follows from all its events, so the order
in which spools of several hosts are drained does not matter.

Who is believed: the scheduler first, for it has the run's bundle version from before any DAG code
ran, which could forge the worker's word; then whoever was nearer to what ran. Nobody is silenced:
whatever names another commit makes a conflict, which is shown.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from gitdags.model import RunStamp, Runtime, Stamp, StampSource, Try

RANK: Mapping[str, int] = {
    source: rank
    for rank, source in enumerate(
        (
            "scheduler",
            "worker",
            "path",
            "imported",
            "manual",
            "refresh",
            "deployment",
            "checkout",
            "date",
        )
    )
}
"""The best source first."""
_SKEW = timedelta(seconds=5)
"""By which the clocks of a scheduler and its workers may differ."""
UNKNOWN = "unknown"
"""The state of whoever says which commit it was, and nothing of how it went."""
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_HEX = frozenset("0123456789abcdef")
_LIMITS = {"airflow": 128, "dag_id": 768, "run_id": 768, "task_id": 768, "commit": 255, "repo": 255}
"""Bytes of texts that indexes hold: an index row of PostgreSQL's has 2,704, Airflow's ids 250 characters."""
_LONGEST = 4_096
"""Bytes of any other text."""


class BadRecord(ValueError):
    """A record that is no stamp: its message says why."""


def from_record(record: Mapping[str, Any], now: datetime) -> Stamp:
    """The event that a record of the spool, or of the API, holds.

    ``now`` stands in for a time that is missing or impossible. Raises BadRecord.
    """
    source = record.get("source", "manual")
    if source not in get_args(StampSource):
        raise BadRecord(f"source {source!r} is none of {', '.join(get_args(StampSource))}")
    task_id = _text(record, "task_id")
    return Stamp(
        id=_id(record),
        airflow=_text(record, "airflow") or "default",
        dag_id=_needed(record, "dag_id"),
        run_id=_needed(record, "run_id"),
        state=_text(record, "state") or "running",
        source=source,
        at=_moment(record.get("at"), now),
        task_id=task_id,
        map_index=_number(record, "map_index", -1),
        try_number=_number(record, "try_number", 0),
        ti_id=_text(record, "ti_id"),
        run_uid=_text(record, "run_uid"),
        repo=_text(record, "repo"),
        commit=_commit(_text(record, "commit")),
        bundle=_text(record, "bundle"),
        path=_text(record, "path"),
        dirty=record.get("dirty") is True,
        runtime=Runtime(
            _text(record, "airflow_version") or "",
            _text(record, "python") or "",
            _text(record, "image") or "",
            _text(record, "packages") or "",
        ),
    )


def derive(events: Sequence[Stamp]) -> list[RunStamp]:
    """The runs, one a generation, that the events of one run id make.

    ``events`` are all there are of one (airflow, dag_id, run_id), in order of arrival.
    """
    numbered = sorted(enumerate(events), key=lambda pair: (pair[1].at, pair[0]))
    ordered = [event for _, event in numbered]
    generations = _generations(ordered)
    arrival = {event.id: number for number, event in enumerate(events)}
    return [_run(number, part, arrival) for number, part in enumerate(generations, 1)]


def _generations(ordered: Sequence[Stamp]) -> list[list[Stamp]]:
    """The events apart by the row that Airflow had for the run, oldest first.

    An event that does not know the row belongs to the one there was at its time.
    """
    begins: dict[str, datetime] = {}
    for event in ordered:
        if event.run_uid is not None:
            begins.setdefault(event.run_uid, event.at)
    if len(begins) < 2:
        return [list(ordered)]
    uids = list(begins)
    parts: dict[str, list[Stamp]] = {uid: [] for uid in uids}
    for event in ordered:
        uid = event.run_uid
        if uid is None:
            uid = next((u for u in reversed(uids) if begins[u] <= event.at), uids[0])
        parts[uid].append(event)
    return list(parts.values())


def _run(generation: int, ordered: Sequence[Stamp], arrival: Mapping[str, int]) -> RunStamp:
    own = [event for event in ordered if event.task_id is None]
    tried: dict[tuple[str, int, int], list[Stamp]] = {}
    for event in ordered:
        if event.task_id is not None:
            key = (event.task_id, event.map_index, event.try_number)
            tried.setdefault(key, []).append(event)
    said = [event for event in own if event.source == "scheduler" and event.commit]
    stood = list(dict.fromkeys(event.commit for event in said))
    best = _best(own) or _best(ordered) or (own or ordered)[0]
    tries = tuple(_try(events, said, arrival) for _, events in sorted(tried.items()))
    conflict = any(t.conflict for t in tries) or _contradicted(own, said)
    return RunStamp(
        airflow=best.airflow,
        dag_id=best.dag_id,
        run_id=best.run_id,
        generation=generation,
        repo=best.repo
        or next((e.repo for e in ordered if e.repo and e.commit == best.commit), None),
        commit=best.commit,
        source=best.source,
        stamped_at=ordered[0].at,
        state=_state(own, arrival) if own else "running",
        bundle=best.bundle or next((e.bundle for e in ordered if e.bundle), None),
        conflict=conflict,
        dirty=any(e.dirty for e in ordered if e.commit == best.commit),
        moved_to=tuple(c for c in stood if c is not None and c != best.commit),
        tries=tries,
    )


def _contradicted(own: Sequence[Stamp], said: Sequence[Stamp]) -> bool:
    """Whether somebody names another commit for the run than the scheduler had for it then.

    A run goes to another commit when it is cleared, and then begins anew: a scheduler that names
    another one in the midst of it contradicts itself. A row that was imported may be of any time.
    """
    if not said:
        return len({event.commit for event in own if event.commit}) > 1
    for before, after in itertools.pairwise(said):
        if before.commit != after.commit and after.state in ENDED:
            return True
    stood = {event.commit for event in said}
    for event in own:
        if event.commit is not None and event.source != "scheduler":
            allowed = stood if event.source == "imported" else _in_force(said, event.at)
            if event.commit not in allowed:
                return True
    return False


def _in_force(said: Sequence[Stamp], at: datetime) -> set[str | None]:
    """The commit that the scheduler had for the run at a time, or had first.

    Hosts' clocks differ a little: what it had a moment later may be meant as well.
    """
    before = [event.commit for event in said if event.at <= at]
    soon = [event.commit for event in said if at < event.at <= at + _SKEW]
    return {before[-1] if before else said[0].commit, *soon}


def _try(events: Sequence[Stamp], said: Sequence[Stamp], arrival: Mapping[str, int]) -> Try:
    best = _best(events) or events[0]
    named = {event.commit for event in events if event.commit}
    return Try(
        task_id=best.task_id or "",
        map_index=best.map_index,
        try_number=best.try_number,
        repo=best.repo,
        commit=best.commit,
        state=_ended(events, arrival) or _state(events, arrival),
        source=best.source,
        stamped_at=events[0].at,
        ti_id=next((e.ti_id for e in events if e.ti_id), None),
        conflict=len(named) > 1
        or bool(said and best.commit and best.commit not in _in_force(said, events[0].at)),
        dirty=any(event.dirty for event in events),
        runtime=next((e.runtime for e in events if e.runtime != Runtime()), Runtime()),
    )


def _best(events: Iterable[Stamp]) -> Stamp | None:
    """The first event of the best source that names a commit."""
    named = [event for event in events if event.commit]
    return min(named, key=lambda event: RANK[event.source], default=None)


def _state(events: Sequence[Stamp], arrival: Mapping[str, int]) -> str:
    """The newest state. Where clocks and the order of arrival disagree, one that ends it wins."""
    told = [event for event in events if event.state != UNKNOWN]
    if not told:
        return UNKNOWN
    by_clock = told[-1].state
    by_arrival = max(told, key=lambda event: arrival[event.id]).state
    if by_clock != by_arrival and by_arrival in ENDED and by_clock not in ENDED:
        return by_arrival
    return by_clock


def _ended(events: Sequence[Stamp], arrival: Mapping[str, int]) -> str | None:
    """A try ends once: the state it ended in, the last that arrived where several say so."""
    ends = [event for event in events if event.state in ENDED]
    return max(ends, key=lambda event: arrival[event.id]).state if ends else None


def manual_id(event: Stamp) -> str:
    """An id made of what a stamp says but its time: the same one twice is one."""
    told = dataclasses.replace(event, id="", at=datetime(1970, 1, 1, tzinfo=UTC))
    return hashlib.sha256(repr(told).encode()).hexdigest()


# ── reading a record ──────────────────────────────────────────────────────────────────────────


def _id(record: Mapping[str, Any]) -> str:
    number = record.get("id")
    if not isinstance(number, str) or not number:
        raise BadRecord("it has no id")
    plain = len(number) <= 64 and number.isascii() and number.isprintable()
    return number if plain else hashlib.sha256(number.encode("utf-8", "surrogatepass")).hexdigest()


def _text(record: Mapping[str, Any], name: str) -> str | None:
    """A text of the record, clean and not too long; None for an empty one. Raises BadRecord."""
    value = record.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str | int | float):
        raise BadRecord(f"its {name} is no text")
    text = clean(str(value))
    most = _LIMITS.get(name, _LONGEST)
    if len(text.encode()) > most:
        raise BadRecord(f"its {name} is longer than {most:,} bytes")
    return text


def clean(text: str) -> str:
    """The text as any database holds it: PostgreSQL refuses NUL, UTF-8 lone surrogates."""
    return text.replace("\0", "␀").encode("utf-8", "backslashreplace").decode()


def _needed(record: Mapping[str, Any], name: str) -> str:
    found = _text(record, name)
    if found is None:
        raise BadRecord(f"it has no {name}")
    return found


def _commit(text: str | None) -> str | None:
    """As it was said, which may be no commit at all: that is shown, not dropped."""
    return text.lower() if text is not None and set(text.lower()) <= _HEX else text


def _number(record: Mapping[str, Any], name: str, default: int) -> int:
    value = record.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < 1 << 31:
        raise BadRecord(f"its {name} is no number")
    return value


def _moment(value: Any, now: datetime) -> datetime:
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return now
    return now
