"""Values that a DAG is given: assets, params, timetables, the words of Airflow's enumerations, dates."""

from __future__ import annotations

import datetime
import enum
from typing import Any

from . import standin
from .standin import Meta, Unknown

# ── assets ────────────────────────────────────────────────────────────────────────────────────


class AssetLike(metaclass=Meta):
    """What may stand in a schedule and beside ``&`` and ``|``."""

    def __and__(self, other: Any) -> Any:
        return AssetAll(self, other)

    def __or__(self, other: Any) -> Any:
        return AssetAny(self, other)


class Asset(AssetLike):
    """An asset of 3.x, or a dataset of 2.x."""

    def __init__(
        self,
        name: Any = None,
        uri: Any = None,
        *,
        group: Any = "asset",
        extra: Any = None,
        watchers: Any = None,
        **_: Any,
    ) -> None:
        self.name = name if name is not None else uri
        self.uri = str(uri if uri is not None else name)
        self.group, self.extra, self.watchers = group, extra or {}, watchers or []

    @classmethod
    def ref(cls, *, name: Any = None, uri: Any = None) -> Any:
        """An asset by name or URI only."""
        return AssetRef(name=name, uri=uri)

    def iter_datasets(self) -> Any:
        """Itself, by URI."""
        return iter([(self.uri, self)])

    def __fspath__(self) -> str:
        return self.uri

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and (self.name, self.uri) == (other.name, other.uri)

    def __hash__(self) -> int:
        return hash((str(self.name), self.uri))


class Dataset(Asset):
    """A dataset of 2.4 to 2.11."""

    def __init__(self, uri: Any = None, extra: Any = None, **kwargs: Any) -> None:
        super().__init__(name=kwargs.pop("name", None) or uri, uri=uri, extra=extra, **kwargs)


class AssetAlias(AssetLike):
    """A name that assets are found under when a task has run."""

    def __init__(self, name: Any = None, group: Any = "asset", **_: Any) -> None:
        self.name, self.group = name, group


class AssetRef(AssetLike):
    """An asset named before it is defined."""

    def __init__(self, name: Any = None, uri: Any = None, **_: Any) -> None:
        self.name, self.uri = name, uri


class _Condition(AssetLike):
    def __init__(self, *objects: Any) -> None:
        self.objects: list[Any] = []
        for one in objects:
            self.objects += getattr(one, "objects", []) if type(one) is type(self) else [one]


class AssetAll(_Condition):
    """All of several assets."""


class AssetAny(_Condition):
    """Any of several assets."""


class Metadata(Unknown):
    """What a task says of an asset it wrote."""


# ── params ────────────────────────────────────────────────────────────────────────────────────


class Param(metaclass=Meta):
    """A parameter of a DAG."""

    def __init__(self, default: Any = None, description: Any = None, **schema: Any) -> None:
        self.value, self.description = default, description
        self.schema = schema.pop("schema", None) or schema

    def resolve(self, value: Any = None, **_: Any) -> Any:
        """The value given, or the default."""
        return self.value if value is None else value

    def dump(self) -> dict[str, Any]:
        """Its parts."""
        return {"value": self.value, "description": self.description, "schema": self.schema}


class ParamsDict(dict):  # type: ignore[type-arg]
    """Params by name."""

    def __init__(self, dict_obj: Any = None, suppress_exception: bool = False) -> None:
        super().__init__(dict_obj or {})


# ── timetables ────────────────────────────────────────────────────────────────────────────────


class Timetable(Unknown):
    """A schedule that is an object: kept as it was given."""

    _names: tuple[str, ...] = ()
    _defaults: dict[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fields = {**self._defaults, **dict(zip(self._names, args)), **kwargs}
        self.__dict__.update(fields)


def _timetable(name: str, module: str, *names: str, **defaults: Any) -> Any:
    """A class of Airflow's: its positional arguments, by the name of the field, and defaults."""
    space = {"__module__": f"airflow.timetables.{module}", "_names": names, "_defaults": defaults}
    return Meta(name, (Timetable,), space)


class _Several(Timetable):
    def __init__(self, *crons: Any, **kwargs: Any) -> None:
        super().__init__(expressions=list(crons), **{"timezone": "UTC", **kwargs})


TIMETABLES = {
    "Timetable": Timetable,
    "NullTimetable": _timetable("NullTimetable", "simple"),
    "OnceTimetable": _timetable("OnceTimetable", "simple"),
    "ContinuousTimetable": _timetable("ContinuousTimetable", "simple"),
    "CronTriggerTimetable": _timetable("CronTriggerTimetable", "trigger", "cron", timezone="UTC"),
    "CronDataIntervalTimetable": _timetable(
        "CronDataIntervalTimetable", "interval", "cron", "timezone"
    ),
    "DeltaDataIntervalTimetable": _timetable("DeltaDataIntervalTimetable", "interval", "delta"),
    "DeltaTriggerTimetable": _timetable("DeltaTriggerTimetable", "trigger", "delta"),
    "EventsTimetable": _timetable("EventsTimetable", "events", "event_dates"),
    "AssetOrTimeSchedule": _timetable("AssetOrTimeSchedule", "assets"),
    "DatasetOrTimeSchedule": _timetable("DatasetOrTimeSchedule", "datasets"),
    "PartitionedAssetTimetable": _timetable("PartitionedAssetTimetable", "simple"),
    "MultipleCronTriggerTimetable": Meta(
        "MultipleCronTriggerTimetable", (_Several,), {"__module__": "airflow.timetables.trigger"}
    ),
}

# ── words ─────────────────────────────────────────────────────────────────────────────────────


class _Word(str, enum.Enum):  # noqa: UP042  # StrEnum is younger than the Pythons this runs on
    """A word that shows as itself."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, how: str) -> str:
        return format(str(self.value), how)


def _words(name: str, *words: str) -> Any:
    make: Any = _Word
    return make(name, {word.upper(): word for word in words})


TriggerRule = _words(
    "TriggerRule", "all_success", "all_failed", "all_done", "all_done_setup_success",
    "all_done_min_one_success",
    "one_success", "one_failed", "one_done", "none_failed", "none_failed_or_skipped", "none_skipped", "dummy",
    "always", "none_failed_min_one_success", "all_skipped",
)  # fmt: skip
WeightRule = _words("WeightRule", "downstream", "upstream", "absolute")
_STATES = (
    "none", "removed", "scheduled", "queued", "running", "success", "restarting", "failed", "up_for_retry",
    "up_for_reschedule", "upstream_failed", "skipped", "deferred", "shutdown", "sensing",
)  # fmt: skip
State = _words("State", *_STATES)
TaskInstanceState = _words("TaskInstanceState", *_STATES)
DagRunState = _words("DagRunState", "queued", "running", "success", "failed")
DagRunType = _words(
    "DagRunType", "backfill", "scheduled", "manual", "dataset_triggered", "asset_triggered"
)

PRESETS = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@quarterly": "0 0 1 */3 *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
"""What Airflow takes them for (`airflow.timetables._cron`)."""


# ── dates ─────────────────────────────────────────────────────────────────────────────────────

UTC = datetime.timezone.utc


def _now() -> datetime.datetime:
    return datetime.datetime.now(UTC)


def days_ago(
    n: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0
) -> datetime.datetime:
    """Midnight, or another time of the day, n days ago."""
    today = _now().replace(hour=hour, minute=minute, second=second, microsecond=microsecond)
    return today - datetime.timedelta(days=int(n))


def _aware(value: Any, timezone: Any = None) -> Any:
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        return value.replace(tzinfo=timezone or UTC)
    return value


def _moment(*args: Any, **kwargs: Any) -> datetime.datetime:
    kwargs.setdefault("tzinfo", UTC)
    return datetime.datetime(*args, **kwargs)


def _parsed(text: Any, timezone: Any = None, **_: Any) -> Any:
    try:
        return _aware(datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")), timezone)
    except ValueError:
        return standin.value(f"date {text}")


def _zone(name: Any) -> Any:
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(str(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


TIMEZONE: dict[str, Any] = {
    "utc": UTC, "utcnow": _now, "datetime": _moment, "make_aware": _aware, "parse": _parsed,
    "convert_to_utc": _aware, "coerce_datetime": _aware, "parse_timezone": _zone,
    "is_localized": lambda v: v.tzinfo is not None,
    "is_naive": lambda v: v.tzinfo is None, "make_naive": lambda v, *_: v.replace(tzinfo=None),
    "beginning": _moment(1970, 1, 1),
}  # fmt: skip
"""What ``airflow.utils.timezone`` and ``airflow.sdk.timezone`` hold."""


# ── libraries for dates, where they are not installed ─────────────────────────────────────────


def _pendulum_moment(*args: Any, tz: Any = "UTC", **kwargs: Any) -> datetime.datetime:
    kwargs["tzinfo"] = tz if isinstance(tz, datetime.tzinfo) else _zone(tz)
    return datetime.datetime(*args, **kwargs)


def _duration(years: float = 0, months: float = 0, **kwargs: Any) -> datetime.timedelta:
    return datetime.timedelta(**kwargs) + datetime.timedelta(days=365 * years + 30 * months)


def _today(*_: Any, **__: Any) -> datetime.datetime:
    return days_ago(0)


LIBRARIES: dict[str, dict[str, Any]] = {
    "pendulum": {
        "datetime": _pendulum_moment, "DateTime": datetime.datetime, "timezone": _zone, "Timezone": _zone,
        "duration": _duration, "Duration": datetime.timedelta, "now": lambda *_, **__: _now(),
        "today": _today,
        "yesterday": lambda *_: days_ago(1), "tomorrow": lambda *_: days_ago(-1), "parse": _parsed,
        "instance": _aware, "UTC": UTC, "from_format": lambda text, *_, **__: standin.value(f"date {text}"),
    },
    "pytz": {"timezone": _zone, "utc": UTC, "UTC": UTC},
    "dateutil": {},
}  # fmt: skip
"""module -> names: just enough for start dates and schedules to be real dates and durations."""
