"""A DAG object as a document: the fields of ``gitdags/dag@1``, unsorted, paths not yet replaced.

`gitdags.serialize.document` on the other side sorts, normalises, checks and hashes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .engine import params
from .values import Encoder, class_name, is_function, tagged

_CALLBACKS = (
    "on_execute_callback", "on_failure_callback", "on_success_callback", "on_retry_callback",
    "on_skipped_callback", "sla_miss_callback",
)  # fmt: skip

# Operator fields that a document has elsewhere, or that say nothing about the task.
_TASK_FIELDS_ELSEWHERE = {
    *_CALLBACKS, "task_id", "dag", "task_group", "default_args", "trigger_rule", "doc_md",
    "params", "label", "upstream_task_ids", "downstream_task_ids", "start_from_trigger",
    "task_display_name",
    "kwargs_to_upstream",  # TaskFlow's own copy of op_args and op_kwargs
    "is_setup", "is_teardown", "on_failure_fail_dagrun",
}  # fmt: skip

_DAG_FIELDS_ELSEWHERE = {
    *_CALLBACKS, "dag_id", "description", "doc_md", "schedule", "schedule_interval", "timetable",
    "dataset_triggers", "start_date", "end_date", "timezone", "catchup", "max_active_runs", "tags",
    "params", "default_args", "fileloc", "relative_fileloc", "task_dict", "task_group",
    "edge_info", "last_loaded", "partial", "auto_register", "has_on_success_callback",
    "has_on_failure_callback", "safe_dag_id", "task_count", "dag_display_name", "parent_dag",
}  # fmt: skip


def dag(dag: Any, airflow: Any, root: str, path: str) -> dict[str, Any]:
    """The document of one DAG that was found in the file ``path`` below ``root``."""
    encode = Encoder(root, path, airflow.handlers)
    tasks = [_task(task, dag, airflow, encode) for task in dag.task_dict.values()]
    extra = {
        name.lstrip("_"): json
        for name, value in vars(dag).items()
        if not name.startswith("_DAG__")
        and name.lstrip("_") not in _DAG_FIELDS_ELSEWHERE
        and (json := encode(value)) != airflow.plain_dag.get(name)
    }
    shown = getattr(dag, "dag_display_name", dag.dag_id)
    if shown != dag.dag_id:
        extra["dag_display_name"] = shown
    start, end = getattr(dag, "start_date", None), getattr(dag, "end_date", None)
    return {
        "schema": "gitdags/dag@1",
        "dag_id": dag.dag_id,
        "description": dag.description,
        "doc_md": dag.doc_md,
        "schedule": _schedule(dag, airflow, encode),
        "start_date": encode(start),
        "end_date": encode(end),
        "timezone": encode(dag.timezone),
        "catchup": bool(dag.catchup),
        "max_active_runs": dag.max_active_runs,
        "tags": [str(tag) for tag in dag.tags or ()],
        "owners": list({str(task.owner) for task in dag.task_dict.values()}),
        "params": params(encode, dag.params),
        "default_args": encode(dag.default_args),
        "attrs": extra,
        "callbacks": _callbacks(vars(dag), encode),
        "tasks": tasks,
        "groups": list(_groups(dag.task_group, encode)),
        "edges": [
            [task.task_id, below, _label(dag, task, dag.task_dict[below])]
            for task in dag.task_dict.values()
            for below in task.downstream_task_ids
        ],
    }


def _label(dag: Any, start: Any, end: Any) -> Any:
    """The label of an edge; Airflow keeps one into or out of a group at the group's joint."""
    for above in (start.task_id, *(g.downstream_join_id for g in _groups_around(start))):
        for below in (end.task_id, *(g.upstream_join_id for g in _groups_around(end))):
            label = dag.get_edge_info(above, below).get("label")
            if label is not None:
                return label
    return None


def _groups_around(task: Any) -> Any:
    group = getattr(task, "task_group", None)
    while group is not None and group.group_id is not None:
        yield group
        group = group.parent_group if hasattr(group, "parent_group") else group.task_group


def _task(task: Any, dag: Any, airflow: Any, encode: Encoder) -> dict[str, Any]:
    mapped = isinstance(task, airflow.mapped_class)
    given = _given(task, mapped, airflow.base_fields)
    fields = list(task.template_fields or ())
    attrs, templated = {}, {}
    for name, value in given.items():
        if name in _TASK_FIELDS_ELSEWHERE or name.startswith("_") or name in fields:
            continue
        json = encode(value)
        if name in airflow.plain_operator and json == airflow.plain_operator[name]:
            continue
        if name in ("start_date", "end_date") and json == encode(getattr(dag, name, None)):
            continue  # handed down from the DAG
        attrs[name] = json
    for name in fields:
        if mapped:
            if name in given:
                templated[name] = encode(given[name])
        else:
            templated[name] = encode(_attribute(task, name))
    for name in ("is_setup", "is_teardown", "on_failure_fail_dagrun"):
        if getattr(task, name, False) is True:
            attrs[name] = True
    own = given.get("params")
    if own:
        # Airflow hands the DAG's params down to every task; only what a task adds is the task's.
        mine = params(encode, own) if isinstance(own, Mapping) else {}
        inherited = params(encode, dag.params)
        mine = {name: value for name, value in mine.items() if inherited.get(name) != value}
        if mine:
            attrs["params"] = mine
    group = getattr(task, "task_group", None)
    shown = given.get("task_display_name")
    if shown and shown != task.task_id:
        attrs["task_display_name"] = shown
    return {
        "task_id": task.task_id,
        "operator": task.task_type,
        "module": encode.module(_module(task, mapped)),
        "group": group.group_id if group is not None else None,
        "trigger_rule": _rule(task.trigger_rule),
        "upstream": list(task.upstream_task_ids),
        "downstream": list(task.downstream_task_ids),
        "mapped": _expansion(task.expand_input, encode, task) if mapped else None,
        "template_fields": fields,
        "templated": templated,
        "attrs": attrs,
        "callbacks": _callbacks(given, encode),
        "ui_color": task.ui_color,
        "ui_fgcolor": task.ui_fgcolor,
        "doc_md": task.doc_md,
    }


def _given(task: Any, mapped: bool, base_fields: frozenset[str]) -> dict[str, Any]:
    """What the author gave a task: constructor arguments and base fields, as they are now.

    Values come from the instance's own dictionary where they are there, so that no property of a
    foreign class runs.
    """
    if mapped:
        given = {k: v for k, v in task.partial_kwargs.items() if type(v).__name__ != "ArgNotSet"}
        if hasattr(task, "python_callable"):  # a mapped TaskFlow task keeps it beside
            given["python_callable"] = task.python_callable
        return given
    own = vars(task)
    given = dict(own.get("_BaseOperator__init_kwargs") or {})
    for name, value in own.items():
        if name in given or name in base_fields:
            given[name] = value
    return given


def _attribute(task: Any, name: str) -> Any:
    if name in vars(task):
        return vars(task)[name]
    try:
        return getattr(task, name)
    except Exception as error:  # a property of a foreign class
        return tagged(class_name(type(error)), str(error))


def _module(task: Any, mapped: bool) -> str:
    kind = task.operator_class if mapped else type(task)
    return str(getattr(kind, "__module__", None) or getattr(task, "_task_module", ""))


def _rule(rule: Any) -> str:
    return str(getattr(rule, "value", rule))


def _expansion(given: Any, encode: Encoder, task: Any) -> dict[str, Any]:
    """``{"type", "value"}`` of an expand_input; a decorated task keeps its own beside it."""
    name = getattr(task, "_expand_input_attr", "expand_input")
    given = getattr(task, name, given) if name != "expand_input" else given
    kind = getattr(given, "EXPAND_INPUT_TYPE", None)
    if kind is None:
        kind = "list-of-dicts" if "ListOfDicts" in type(given).__name__ else "dict-of-lists"
    return {"type": str(kind), "value": encode(given.value)}


def _callbacks(given: Mapping[str, Any], encode: Encoder) -> dict[str, Any]:
    found = {}
    for name in _CALLBACKS:
        value = given.get(name)
        if not value:
            continue
        several = list(value) if isinstance(value, (list, tuple)) else [value]
        found[name] = [
            encode.callable(one) if is_function(one) or isinstance(one, type) else encode(one)
            for one in several
        ]
    return found


def _groups(group: Any, encode: Encoder) -> Any:
    for child in group.children.values():
        if not hasattr(child, "children"):
            continue
        expansion = getattr(child, "_expand_input", None)
        parent = child.parent_group if hasattr(child, "parent_group") else child.task_group
        yield {
            "group_id": child.group_id,
            "parent": parent.group_id if parent is not None else None,
            "label": child.label,
            "tooltip": child.tooltip,
            "doc_md": getattr(child, "doc_md", None),
            "mapped": None if expansion is None else _expansion(expansion, encode, child),
            "ui_color": child.ui_color,
            "ui_fgcolor": child.ui_fgcolor,
        }
        yield from _groups(child, encode)


_SCHEDULES = {
    "NullTimetable": "none",
    "OnceTimetable": "once",
    "ContinuousTimetable": "continuous",
    "CronDataIntervalTimetable": "cron",
    "CronTriggerTimetable": "cron",
    "DeltaDataIntervalTimetable": "timedelta",
    "DeltaTriggerTimetable": "timedelta",
    "AssetTriggeredTimetable": "assets",
    "DatasetTriggeredTimetable": "assets",
}


def _schedule(dag: Any, airflow: Any, encode: Encoder) -> dict[str, Any]:
    """``{"type", "value"}``: none, once, continuous, cron, timedelta, assets or timetable.

    ``cron`` and ``timedelta`` are what a bare value stands for; a timetable that differs from that
    in anything (its time zone, its interval) is a ``timetable`` with all its fields.
    """
    timetable = dag.timetable
    kind = _SCHEDULES.get(type(timetable).__name__, "timetable")
    if kind in ("none", "once", "continuous"):
        return {"type": kind, "value": None}
    if kind == "assets":
        condition = getattr(timetable, "asset_condition", None) or timetable.dataset_condition
        return {"type": kind, "value": encode(condition)}
    fields = _timetable_fields(timetable, encode)
    if kind in ("cron", "timedelta"):
        names = ("expression", "_expression") if kind == "cron" else ("delta", "_delta")
        value = next(own for name in names if (own := getattr(timetable, name, None)) is not None)
        plain = airflow.plain_timetable(value, dag.timezone)
        if type(plain) is type(timetable) and _timetable_fields(plain, encode) == fields:
            return {"type": kind, "value": encode(value)}
    name = class_name(type(timetable))
    return {"type": "timetable", "value": {"class": name, "fields": fields}}


def _timetable_fields(timetable: Any, encode: Encoder) -> Any:
    condition = getattr(timetable, "asset_condition", getattr(timetable, "dataset_condition", None))
    inner = getattr(timetable, "timetable", None)
    if condition is not None and inner is not None:  # assets or time, whichever comes first
        own = {"class": class_name(type(inner)), "fields": _timetable_fields(inner, encode)}
        return {"assets": encode(condition), "timetable": own}
    described = getattr(type(timetable), "__attrs_attrs__", None)
    if described is not None:
        return {a.name.lstrip("_"): encode(getattr(timetable, a.name, None)) for a in described}
    try:
        return encode(timetable.serialize())
    except Exception:  # an author's own timetable that cannot be serialized
        own = getattr(timetable, "__dict__", {})
        return {name.lstrip("_"): encode(own[name]) for name in sorted(own)}
