"""A recorded DAG as a document: the fields of ``gitdags/dag@1``, as `worker.describe` gives them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from .. import values
from ..values import Encoder, class_name, is_function, tagged
from . import era, graph, mapping, operators, placeholders, results, standin, taskflow, things
from .dag import DAG, MISSING

_CALLBACKS = (
    "on_execute_callback", "on_failure_callback", "on_success_callback", "on_retry_callback",
    "on_skipped_callback", "sla_miss_callback",
)  # fmt: skip
_TASK_ELSEWHERE = {
    *_CALLBACKS, "task_id", "dag", "task_group", "default_args", "trigger_rule", "doc_md", "params",
    "is_setup",
    "is_teardown", "on_failure_fail_dagrun", "task_display_name", "kwargs_to_upstream",
}  # fmt: skip
_DAG_ELSEWHERE = {
    *_CALLBACKS, "dag_id", "description", "doc_md", "schedule", "schedule_interval", "timetable",
    "start_date",
    "end_date", "catchup", "max_active_runs", "tags", "params", "default_args", "dag_display_name",
    "timezone",
}  # fmt: skip


def dag(found: DAG, root: str, path: str) -> dict[str, Any]:
    """The document of one DAG that was found in the file ``path`` below ``root``."""
    encode = Encoder(root, path, _HANDLERS)
    given = found.given
    tasks = list(found.task_dict.values())
    start, end = found.start_date, found.end_date
    zone = getattr(start, "tzinfo", None)
    attrs = {k: encode(v) for k, v in given.items() if k not in _DAG_ELSEWHERE and v is not None}
    shown = given.get("dag_display_name")
    if shown and shown != found.dag_id:
        attrs["dag_display_name"] = encode(shown)
    catchup = given.get("catchup")
    return {
        "schema": "gitdags/dag@1",
        "dag_id": found.dag_id,
        "description": _text(given.get("description")),
        "doc_md": _text(found.doc_md),
        "schedule": schedule(found.schedule, encode),
        "start_date": _moment(encode, start),
        "end_date": _moment(encode, end),
        "timezone": encode(zone) if zone is not None else "UTC",
        "catchup": (not era.at_least(3, 0)) if catchup is None else bool(catchup),
        "max_active_runs": _whole(given.get("max_active_runs"), 16),
        "tags": [str(tag) for tag in _several(found.tags)],
        "owners": sorted({str(task.__dict__.get("owner")) for task in tasks}),
        "params": _params(encode, found.params),
        "default_args": encode(found.default_args),
        "attrs": attrs,
        "callbacks": _callbacks(given, encode),
        "tasks": [_task(task, found, encode) for task in tasks],
        "groups": list(_groups(found.task_group, encode)),
        "edges": [
            [task.task_id, below, _label(found, task, found.task_dict[below])]
            for task in tasks
            for below in task.downstream_task_ids
            if below in found.task_dict
        ],
    }


def _text(value: Any) -> Any:
    return value if value is None else str(value)


def _whole(value: Any, otherwise: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return otherwise


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else []


def _moment(encode: Encoder, value: Any) -> Any:
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=datetime.timezone.utc)  # Airflow's default zone
    return encode(value)


def _label(found: DAG, start: Any, end: Any) -> Any:
    """The label of an edge: its own, or of a joint of the groups around its ends."""
    above = [start.task_id, *(group.downstream_join_id for group in _around(start))]
    below = [end.task_id, *(group.upstream_join_id for group in _around(end))]
    for one in above:
        for other in below:
            label = found.edge_info.get((one, other))
            if label is not None:
                return str(label)
    return None


def _around(task: Any) -> Any:
    group = task.__dict__.get("task_group")
    while group is not None and group.group_id is not None:
        yield group
        group = group.parent_group


def _task(task: Any, found: DAG, encode: Encoder) -> dict[str, Any]:
    state = task.__dict__
    mapped = isinstance(task, mapping.MappedOperator)
    kind = task.operator_class if mapped else type(task)
    given = state["_given"]
    fields = [str(name) for name in _several(_attribute(task, "template_fields"))]
    attrs: dict[str, Any] = {}
    templated: dict[str, Any] = {}
    for name, value in given.items():
        if name in _TASK_ELSEWHERE or name in fields or name.startswith("_"):
            continue
        if name in operators.BASE_FIELDS and _same(value, operators.BASE_FIELDS[name]):
            continue
        if name in ("start_date", "end_date") and value == getattr(found, name):
            continue
        if value is None or (name == "multiple_outputs" and value is False):
            continue
        attrs[name] = _moment(encode, value)
    for name in fields:
        if name in given:
            templated[name] = encode(given[name])
        elif not mapped:
            templated[name] = encode(_attribute(task, name))
    for name in ("is_setup", "is_teardown", "on_failure_fail_dagrun"):
        if state.get(name) is True:
            attrs[name] = True
    own = given.get("params")
    if own:
        mine = _params(encode, own)
        inherited = _params(encode, found.params)
        mine = {name: value for name, value in mine.items() if inherited.get(name) != value}
        if mine:
            attrs["params"] = mine
    shown = given.get("task_display_name")
    if shown and shown != task.task_id:
        attrs["task_display_name"] = str(shown)
    group = state.get("task_group")
    return {
        "task_id": task.task_id,
        "operator": kind.__name__,
        "module": encode.module(str(kind.__module__)),
        "group": group.group_id if group is not None else None,
        "trigger_rule": str(state.get("trigger_rule")),
        "upstream": list(task.upstream_task_ids),
        "downstream": list(task.downstream_task_ids),
        "mapped": _expansion(task.mapped, encode) if mapped else None,
        "template_fields": fields,
        "templated": templated,
        "attrs": attrs,
        "callbacks": _callbacks(given, encode),
        "ui_color": _colour(kind, "ui_color", "#fff"),
        "ui_fgcolor": _colour(kind, "ui_fgcolor", "#000"),
        "doc_md": _text(state.get("doc_md")),
    }


def _same(value: Any, usual: Any) -> bool:
    return type(value) is type(usual) and bool(value == usual)


def _colour(kind: Any, name: str, otherwise: str) -> str:
    found = getattr(kind, name, otherwise)
    return found if isinstance(found, str) else otherwise


def _attribute(task: Any, name: str) -> Any:
    if name in task.__dict__:
        return task.__dict__[name]
    try:
        found = getattr(task, name)
    except Exception as error:  # a property of the author's, or nothing of that name
        return (
            None
            if isinstance(error, AttributeError)
            else tagged(class_name(type(error)), str(error))
        )
    return None if standin.is_standin(found) and name != "template_fields" else found


def _expansion(found: Any, encode: Encoder) -> dict[str, Any]:
    return {"type": found.kind, "value": encode(found.value)}


def _callbacks(given: Mapping[str, Any], encode: Encoder) -> dict[str, Any]:
    found = {}
    for name in _CALLBACKS:
        value = given.get(name)
        if value is None or value == [] or value == "":
            continue
        several = list(value) if isinstance(value, (list, tuple)) else [value]
        found[name] = [
            encode.callable(one) if is_function(one) or isinstance(one, type) else encode(one)
            for one in several
        ]
    return found


def _groups(group: Any, encode: Encoder) -> Any:
    for child in group.children.values():
        if not isinstance(child, graph.TaskGroup):
            continue
        yield {
            "group_id": child.group_id,
            "parent": child.parent_group.group_id if child.parent_group is not None else None,
            "label": _text(child.label),
            "tooltip": _text(child.tooltip) or "",
            "doc_md": _text(child.doc_md),
            "mapped": None if child.mapped is None else _expansion(child.mapped, encode),
            "ui_color": str(child.ui_color),
            "ui_fgcolor": str(child.ui_fgcolor),
        }
        yield from _groups(child, encode)


def _params(encode: Encoder, value: Any) -> dict[str, Any]:
    """Params by name: ``{"value", "description", "schema"}``."""
    if not isinstance(value, Mapping):
        return {}
    return {
        str(name): encode(one if isinstance(one, things.Param) else things.Param(one))
        for name, one in value.items()
    }


def schedule(value: Any, encode: Encoder) -> dict[str, Any]:
    """``{"type", "value"}``: none, once, continuous, cron, timedelta, assets or timetable."""
    if value is MISSING:
        value = None if era.at_least(3, 0) else datetime.timedelta(days=1)
    if isinstance(value, str) and not isinstance(value, placeholders.Placeholder):
        value = (
            value.strip()
            if value.strip() in ("@once", "@continuous") or value.strip() in things.PRESETS
            else value
        )
    if value is None or type(value).__name__ == "NullTimetable":
        return {"type": "none", "value": None}
    if value == "@once" or type(value).__name__ == "OnceTimetable":
        return {"type": "once", "value": None}
    if value == "@continuous" or type(value).__name__ == "ContinuousTimetable":
        return {"type": "continuous", "value": None}
    if isinstance(value, str):
        return {"type": "cron", "value": things.PRESETS.get(value, str(value))}
    if isinstance(value, datetime.timedelta):
        return {"type": "timedelta", "value": encode(value)}
    if isinstance(value, things.AssetLike):
        return {
            "type": "assets",
            "value": encode(value if hasattr(value, "objects") else things.AssetAll(value)),
        }
    if isinstance(value, (list, tuple, set)) and all(
        isinstance(v, things.AssetLike) for v in value
    ):
        return {"type": "assets", "value": encode(things.AssetAll(*value))}
    if isinstance(value, things.Timetable):
        return _timetable(value, encode)
    if type(value).__name__ == "relativedelta" or standin.is_standin(value):
        return {
            "type": "timetable",
            "value": {"class": class_name(type(value)), "fields": encode(value)},
        }
    return (
        {
            "type": "timetable",
            "value": {"class": class_name(type(value)), "fields": encode(vars(value))},
        }
        if hasattr(value, "__dict__")
        else {"type": "cron", "value": str(value)}
    )


def _timetable(value: Any, encode: Encoder) -> dict[str, Any]:
    name = type(value).__name__
    fields = {k.lstrip("_"): v for k, v in vars(value).items() if k != "_path"}
    plain = "CronTriggerTimetable" if era.at_least(3, 0) else "CronDataIntervalTimetable"
    if (
        name == plain
        and str(fields.get("timezone")) == "UTC"
        and set(fields) <= {"cron", "timezone"}
    ):
        return schedule(fields["cron"], encode)
    plain = "DeltaTriggerTimetable" if era.at_least(3, 0) else "DeltaDataIntervalTimetable"
    if name == plain and set(fields) == {"delta"}:
        return schedule(fields["delta"], encode)
    if "cron" in fields:
        fields["expression"] = things.PRESETS.get(fields["cron"], fields.pop("cron"))
        fields.pop("cron", None)
    for which in ("assets", "datasets"):
        if which in fields:
            inner = fields.pop("timetable", None)
            shown = {"assets": schedule(fields.pop(which), encode)["value"]}
            if isinstance(inner, things.Timetable):
                shown["timetable"] = _timetable(inner, encode)["value"]
            return {
                "type": "timetable",
                "value": {"class": class_name(type(value)), "fields": shown},
            }
    return {
        "type": "timetable",
        "value": {"class": class_name(type(value)), "fields": encode(fields)},
    }


# ── the JSON of our own classes ───────────────────────────────────────────────────────────────


def _xcom(encode: Encoder, value: Any, depth: int) -> Any:
    if not value.kind:
        return tagged("xcom", {"task_id": value.operator.task_id, "key": value.key})
    return tagged(
        "xcom", {"kind": value.kind, **{k: encode(v, depth) for k, v in value.parts.items()}}
    )


def _asset(encode: Encoder, value: Any, depth: int) -> Any:
    fields = {"name": value.name or value.uri, "uri": value.uri, "extra": value.extra or {}}
    if value.group and value.group != "asset":
        fields["group"] = value.group
    if value.watchers:
        fields["watchers"] = [
            {"name": encode(w.name), "trigger": str(w.trigger)} for w in value.watchers
        ]
    return tagged("asset", encode(fields, depth))


def _named(value: Any) -> dict[str, Any]:
    found = {}
    for name in ("name", "uri", "group"):
        own = getattr(value, name, None)
        if own and (name, own) != ("group", "asset"):
            found[name] = str(own)
    return found


_HANDLERS: list[tuple[Any, values.Handler]] = [
    (results.XComArg, _xcom),
    (operators.BaseOperator, lambda _, v, __: tagged("task", v.__dict__.get("task_id"))),
    (graph.TaskGroup, lambda _, v, __: tagged("task_group", v.group_id)),
    (DAG, lambda _, v, __: tagged("dag", v.dag_id)),
    (
        things.Param,
        lambda encode, v, depth: encode(
            {"value": v.value, "description": v.description, "schema": v.schema}, depth
        ),
    ),
    (things.Asset, _asset),
    (
        things.AssetAll,
        lambda encode, v, depth: tagged("asset_all", [encode(o, depth) for o in v.objects]),
    ),
    (
        things.AssetAny,
        lambda encode, v, depth: tagged("asset_any", [encode(o, depth) for o in v.objects]),
    ),
    (things.AssetAlias, lambda _, v, __: tagged("asset_alias", _named(v))),
    (things.AssetRef, lambda _, v, __: tagged("asset_ref", _named(v))),
    (taskflow.MappedArgument, lambda _, v, __: tagged("mapped_argument", str(v))),
    (taskflow.TaskDecorator, lambda encode, v, __: encode.callable(v.function)),
    (placeholders.MissingJson, lambda _, v, __: tagged("placeholder", str(v))),
    (standin.Unknown, lambda encode, v, depth: _unknown(encode, v, depth)),
    (standin.StandInModule, lambda _, v, __: tagged("stand-in", v.__name__)),
]


def _unknown(encode: Encoder, value: Any, depth: int) -> Any:
    """A value nobody knows, or an object of a missing class with what it was given."""
    if type(value) is standin.Unknown:
        return tagged("stand-in", standin.path_of(value))
    own = {k: v for k, v in value.__dict__.items() if not k.startswith("_")}
    return tagged(
        class_name(type(value)), {name: encode(one, depth) for name, one in sorted(own.items())}
    )
