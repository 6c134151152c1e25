"""Which Airflow a file is for, and what differed there.

The other side may know from the commit's requirements. Where it does not, what a file imports and
calls says enough: the earliest release that has all of it, or the last that still has it.
"""

from __future__ import annotations

import re

Release = tuple[int, int]
FIRST, LAST = (1, 10), (3, 99)
UNKNOWN = "3.3.2"
_REPRESENTATIVES = {
    (1, 10): "1.10.15",
    (2, 2): "2.2.5",
    (2, 3): "2.3.4",
    (2, 10): "2.10.5",
    (3, 3): "3.3.2",
}

# What a file says, and the releases (first, last) that it can be for.
_SIGNS: list[tuple[re.Pattern[str], tuple[int, int], tuple[int, int]]] = [
    (re.compile(pattern, re.M), first, last)
    for pattern, first, last in (
        (r"^\s*(?:from|import)\s+airflow\.sdk\b", (3, 0), (3, 99)),
        (r"^\s*(?:from|import)\s+airflow\.providers\.standard\b", (2, 10), (3, 99)),
        (r"\blogical_date\b", (2, 2), (3, 99)),
        (r"^\s*(?:from|import)\s+airflow\.datasets\b", (2, 4), (2, 11)),
        (r"\bschedule\s*=", (2, 4), (3, 99)),
        (r"\bschedule_interval\s*=", (1, 10), (2, 11)),
        (r"\bdays_ago\b", (1, 10), (2, 11)),
        (r"\bSubDagOperator\b", (1, 10), (2, 11)),
        (r"\bEmptyOperator\b", (2, 3), (3, 99)),
        (r"\.(?:expand|expand_kwargs)\(", (2, 3), (3, 99)),
        (r"^\s*from\s+airflow\.utils\.edgemodifier\b", (2, 1), (2, 11)),
        (r"^\s*from\s+airflow\.utils\.task_group\b", (2, 0), (2, 11)),
        (r"^\s*from\s+airflow\.decorators\b", (2, 0), (3, 99)),
        (r"^\s*(?:from|import)\s+airflow\.providers\b", (2, 0), (3, 99)),
        (
            r"^\s*from\s+airflow\.operators\."
            r"(?:bash|python|dummy|email|latest_only|subdag|trigger_dagrun|branch|datetime)\b",
            (2, 0),
            (2, 11),
        ),
        (
            r"^\s*from\s+airflow\.sensors\."
            r"(?:base|external_task|filesystem|python|time_delta|date_time)\b",
            (2, 0),
            (2, 11),
        ),
        (r"\bDummyOperator\b", (1, 10), (2, 3)),
        (r"^\s*(?:from|import)\s+airflow\.contrib\b", (1, 10), (1, 10)),
        (
            r"^\s*from\s+airflow\.(?:operators|sensors|hooks)\.\w+_(?:operator|sensor|hook)s?\b",
            (1, 10),
            (1, 10),
        ),
        (r"^\s*from\s+airflow\.(?:operators|sensors)\s+import\b", (1, 10), (1, 10)),
        (r"\bprovide_context\s*=", (1, 10), (1, 10)),
    )
]  # fmt: skip

version = UNKNOWN
current: Release = (3, 3)
pinned = False
"""Whether the era is what the commit's requirements say, rather than a guess"""


LIKELY = "~"
"""Before a version that is told: what the other files of the commit are for, rather than a pin."""


def choose(told: str, source: str) -> str:
    """Take the era that is told (a version, or ""), else the one the source is for; its version.

    A likely one is taken where the source can be for it.
    """
    global version, current, pinned
    first, last = bounds(source)
    likely = told.startswith(LIKELY)
    told = told.removeprefix(LIKELY)
    pinned = bool(told) and not likely
    if told and (not likely or first <= release(told) <= last):
        version = told
    else:
        version = pick(first, last)
    current = release(version)
    return version


def release(text: str) -> Release:
    """(major, minor) of a version."""
    numbers = [int(part) for part in re.findall(r"\d+", text)[:2]]
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def at_least(major: int, minor: int) -> bool:
    """Whether the era is that release or later."""
    return current >= (major, minor)


def bounds(source: str) -> tuple[Release, Release]:
    """The releases (first, last) that a file can be for, by what it imports and calls."""
    first, last = FIRST, LAST
    for pattern, since, until in _SIGNS:
        if not pattern.search(source):
            continue
        # The new is proof, the old may be a leftover that still works: signs are in that order.
        if since > last:
            continue
        first = max(first, since)
        if until >= first:
            last = min(last, until)
    return first, last


def pick(first: Release, last: Release) -> str:
    """The version that stands for a range: the newest release of it that changed something."""
    for release, text in sorted(_REPRESENTATIVES.items(), reverse=True):
        if first <= release <= last:
            return text
    return next(
        (text for release, text in sorted(_REPRESENTATIVES.items()) if release >= first), UNKNOWN
    )


# ── what was called what ──────────────────────────────────────────────────────────────────────

# Modules of Airflow itself that did not exist before, or do not since: an import of one fails.
_MODULES: tuple[tuple[str, tuple[int, int], tuple[int, int]], ...] = (
    ("airflow.sdk", (3, 0), (9, 0)),
    ("airflow.assets", (3, 0), (9, 0)),
    ("airflow.datasets", (2, 4), (9, 0)),
    ("airflow.decorators", (2, 0), (9, 0)),
    ("airflow.timetables", (2, 2), (9, 0)),
    ("airflow.utils.task_group", (2, 0), (9, 0)),
    ("airflow.utils.edgemodifier", (2, 1), (9, 0)),
    ("airflow.utils.setup_teardown", (2, 7), (9, 0)),
    ("airflow.models.param", (2, 2), (9, 0)),
    ("airflow.models.mappedoperator", (2, 3), (9, 0)),
    ("airflow.operators.empty", (2, 3), (9, 0)),
    ("airflow.contrib", (1, 8), (2, 11)),
    ("airflow.jobs.base_job", (1, 8), (2, 5)),
    ("airflow.jobs.job", (2, 6), (9, 0)),
    ("airflow.models.taskfail", (1, 8), (2, 11)),
    ("airflow.operators.subdag", (2, 0), (2, 11)),
    ("airflow.operators.subdag_operator", (1, 8), (2, 11)),
    ("airflow.hooks.base_hook", (1, 8), (2, 11)),
    ("airflow.sensors.base_sensor_operator", (1, 8), (2, 11)),
    ("airflow.operators.bash_operator", (1, 8), (2, 11)),
    ("airflow.operators.python_operator", (1, 8), (2, 11)),
    ("airflow.operators.dummy_operator", (1, 8), (2, 11)),
)


def has_module(name: str) -> bool:
    """Whether a module of Airflow is there in the era; one that no table names is."""
    for prefix, first, last in _MODULES:
        if name == prefix or name.startswith(prefix + "."):
            return first <= current <= last
    return True
