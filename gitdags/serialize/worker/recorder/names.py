"""What a name stands for in a module of Airflow, or of a provider, in whichever era.

The same class has had many paths; so the name decides, and the path only where it must.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import (
    chains,
    dag,
    era,
    graph,
    inputs,
    mapping,
    operators,
    results,
    setups,
    standin,
    surroundings,
    taskflow,
    things,
)

# Operators of Airflow itself: template fields, colour of the box, colour of its text.
_PYTHON = ("templates_dict", "op_args", "op_kwargs")
_CORE: dict[str, tuple[tuple[str, ...], str, str]] = {
    "BashOperator": (("bash_command", "env", "cwd"), "#f0ede4", "#000"),
    "PythonOperator": (_PYTHON, "#ffefeb", "#000"),
    "BranchPythonOperator": (_PYTHON, "#ffefeb", "#000"),
    "ShortCircuitOperator": (_PYTHON, "#ffefeb", "#000"),
    "PythonVirtualenvOperator": ((*_PYTHON, "requirements"), "#ffefeb", "#000"),
    "ExternalPythonOperator": ((*_PYTHON, "python"), "#ffefeb", "#000"),
    "BranchPythonVirtualenvOperator": ((*_PYTHON, "requirements"), "#ffefeb", "#000"),
    "BranchExternalPythonOperator": ((*_PYTHON, "python"), "#ffefeb", "#000"),
    "EmptyOperator": ((), "#e8f7e4", "#000"),
    "DummyOperator": ((), "#e8f7e4", "#000"),
    "EmailOperator": (("to", "subject", "html_content", "files"), "#e6faf9", "#000"),
    "LatestOnlyOperator": ((), "#e9ffdb", "#000"),
    "SubDagOperator": ((), "#555", "#fff"),
    "TriggerDagRunOperator": (
        ("trigger_dag_id", "trigger_run_id", "logical_date", "conf"), "#ffefeb", "#000",
    ),
    "BranchDateTimeOperator": ((), "#fff", "#000"),
    "BranchDayOfWeekOperator": ((), "#fff", "#000"),
    "ExternalTaskSensor": (
        ("external_dag_id", "external_task_id", "external_task_ids", "external_task_group_id"), "#4db7db",
        "#000",
    ),
    "ExternalTaskMarker": (("external_dag_id", "external_task_id", "logical_date"), "#4db7db", "#000"),
    "PythonSensor": (_PYTHON, "#e6f1f2", "#000"),
    "BashSensor": (("bash_command", "env"), "#e6f1f2", "#000"),
    "FileSensor": (("filepath",), "#91818a", "#000"),
    "DateTimeSensor": (("target_time",), "#e6f1f2", "#000"),
    "DateTimeSensorAsync": (("target_time",), "#e6f1f2", "#000"),
    "TimeSensor": ((), "#e6f1f2", "#000"),
    "TimeDeltaSensor": ((), "#e6f1f2", "#000"),
    "HttpOperator": (("endpoint", "data", "headers"), "#f4a460", "#000"),
    "SimpleHttpOperator": (("endpoint", "data", "headers"), "#f4a460", "#000"),
    "KubernetesPodOperator": (
        (
            "image", "cmds", "annotations", "arguments", "env_vars", "labels", "config_file",
            "pod_template_file", "namespace",
        ),
        "#fff", "#000",
    ),
    "SQLExecuteQueryOperator": (("sql", "parameters"), "#cdaaed", "#000"),
    "PostgresOperator": (("sql",), "#ededed", "#000"),
    "MySqlOperator": (("sql", "parameters"), "#ededed", "#000"),
}  # fmt: skip

# Old names whose class has another name since a release.
_RENAMED = {
    "DummyOperator": ((2, 4), "EmptyOperator"),
    "XCom": ((1, 10), "BaseXCom"),
    "ImportError": ((2, 9), "ParseImportError"),
}


def _branch_operator() -> Any:
    return operators.make_operator("BaseBranchOperator", "airflow.operators.branch")


def _label(label: Any = None) -> Any:
    return graph.EdgeModifier(label)


def _apply_defaults(function: Any) -> Any:
    return function


class _AssetDecorator:
    """``@asset``: a function that is a DAG of one task, which updates an asset."""

    def __call__(self, function: Any = None, /, **kwargs: Any) -> Any:
        if callable(function):
            return self._make(function, kwargs, None)
        return lambda inner: self._make(inner, kwargs, None)

    def multi(self, **kwargs: Any) -> Any:
        """Of several assets at once."""
        return lambda inner: self._make(inner, kwargs, kwargs.pop("outlets", []))

    @staticmethod
    def _make(function: Any, kwargs: dict[str, Any], outlets: Any) -> Any:
        name = kwargs.pop("name", None) or function.__name__
        given = {k: v for k, v in kwargs.items() if k not in ("uri", "extra", "group", "watchers")}
        dag_id = kwargs.pop("dag_id", None) or (name if outlets is None else function.__name__)
        given.pop("dag_id", None)
        made = dag.DAG(dag_id=dag_id, **{"schedule": None, "catchup": False, **given})
        asset = things.Asset(
            name, kwargs.get("uri"), group=kwargs.get("group", "asset"), extra=kwargs.get("extra")
        )
        kind = operators.make_operator(
            "_AssetMainOperator", "airflow.sdk.definitions.asset.decorators"
        )
        with made:
            kind(
                task_id=function.__name__, python_callable=function, outlets=outlets or [asset],
                inlets=[things.AssetRef(name=n) for n in _parameters(function) if n not in _NO_INLETS],
            )  # fmt: skip
        return asset


_NO_INLETS = ("self", "context", "outlet_events")


def _parameters(function: Any) -> list[str]:
    import inspect

    return list(inspect.signature(function).parameters)


NAMES: dict[str, Any] = {
    "DAG": dag.DAG, "dag": dag.dag_decorator, "TaskGroup": graph.TaskGroup, "task": taskflow.task,
    "task_group": taskflow.task_group, "setup": taskflow.setup, "teardown": taskflow.teardown,
    "BaseOperator": operators.BaseOperator, "AbstractOperator": operators.BaseOperator,
    "BaseSensorOperator": operators.BaseSensorOperator, "MappedOperator": mapping.MappedOperator,
    "XComArg": results.XComArg, "PlainXComArg": results.XComArg,
    "Label": _label, "EdgeModifier": graph.EdgeModifier, "DAGNode": graph.Node, "TaskMixin": graph.Node,
    "DependencyMixin": graph.Node,
    "chain": chains.chain, "chain_linear": chains.chain_linear, "cross_downstream": chains.cross_downstream,
    "apply_defaults": _apply_defaults, "days_ago": things.days_ago,
    "AirflowException": graph.AirflowException, "DuplicateTaskIdFound": graph.DuplicateTaskIdFound,
    "Variable": inputs.Variable, "Connection": inputs.Connection, "BaseHook": inputs.BaseHook,
    "conf": surroundings.conf,
    "Asset": things.Asset, "Dataset": things.Dataset, "AssetAlias": things.AssetAlias,
    "DatasetAlias": things.AssetAlias,
    "AssetAll": things.AssetAll, "AssetAny": things.AssetAny, "DatasetAll": things.AssetAll,
    "DatasetAny": things.AssetAny,
    "AssetRef": things.AssetRef, "Param": things.Param, "ParamsDict": things.ParamsDict,
    "asset": _AssetDecorator(),
    "TriggerRule": things.TriggerRule, "WeightRule": things.WeightRule, "State": things.State,
    "TaskInstanceState": things.TaskInstanceState, "DagRunState": things.DagRunState,
    "DagRunType": things.DagRunType,
    "context_wrapper": setups.ContextWrapper, "ContextWrapper": setups.ContextWrapper,
    "SetupTeardownContext": setups.Scope, "XCOM_RETURN_KEY": "return_value", "cron_presets": things.PRESETS,
    **things.TIMETABLES,
}  # fmt: skip
"""What a name means wherever below ``airflow`` it is imported from."""

_HERE_ONLY = {
    # names too common to mean this everywhere: where they do
    "dag": (
        "airflow.decorators",
        "airflow.sdk",
        "airflow.sdk.definitions.dag",
        "airflow.models.dag",
    ),
    "task": (
        "airflow.decorators",
        "airflow.sdk",
        "airflow.sdk.definitions.decorators",
        "airflow.operators.python",
    ),
    "setup": ("airflow.decorators", "airflow.sdk", "airflow.decorators.setup_teardown"),
    "teardown": ("airflow.decorators", "airflow.sdk", "airflow.decorators.setup_teardown"),
    "asset": ("airflow.sdk", "airflow.sdk.definitions.asset.decorators", "airflow.assets"),
    "task_group": ("airflow.decorators", "airflow.sdk", "airflow.decorators.task_group"),
    "State": ("airflow.utils.state", "airflow.utils", "airflow.sdk.api.datamodels._generated"),
}

# Of Airflow's packages, those whose lower-case names are modules.
_PACKAGES = re.compile(
    r"^airflow(\.(operators|sensors|hooks|models|utils|contrib(\.\w+)?|providers(\.\w+)*|decorators|macros|timetables|"
    r"example_dags|plugins|executors|secrets|security|lineage|listeners|serialization|api(\.\w+)*|www|kubernetes|"
    r"sdk(\.(definitions|bases|execution_time|types))?|triggers|notifications|callbacks|task|jobs))?$"
)
_OPERATOR = re.compile(r"(?:Operator|Sensor|OperatorAsync|SensorAsync|Transfer)$")
_OLD_OPERATORS = re.compile(r"\.(?:operators|sensors|transfers)(?:\.|$)")
_NO_OPERATORS = re.compile(
    r"(?:Hook|Link|Config|Error|Exception|Mixin|Trigger|Format|Mode|State|Status|Type|Generator|Context|Result|Options?|Enum|Order|Source|Helper|Client)$"
)
_SPECIAL: dict[str, Callable[[], dict[str, Any]]] = {}


def look_up(module: str, name: str) -> Any:
    """What a name is in a module of Airflow; raises AttributeError where the era has none."""
    if name in NAMES and (name not in _HERE_ONLY or module in _HERE_ONLY[name]):
        if module == "airflow.models" and name == "Connection":
            return inputs.Connection
        return NAMES[name]
    known = _SPECIAL.get(module)
    if known is not None:
        found = known()
        if name in found:
            return found[name]
    if standin.looks_like_class(name):
        if (_OPERATOR.search(name) and not name.startswith("Base")) or name in _CORE:
            return operator(name, module)
        if name in ("BaseBranchOperator",):
            return _branch_operator()
        if name.endswith("Timetable") and ".timetables" in module:
            return things.TIMETABLES.get(name) or standin.make_class(name, module)
        if (
            _OLD_OPERATORS.search(module)
            and not _NO_OPERATORS.search(name)
            and name.startswith("Base")
        ):
            return operator(name, module)
        if name.endswith("Hook"):
            return hook(name, module)
        if module.startswith("airflow.models") and name in _RENAMED:
            since, now = _RENAMED[name]
            return standin.make_model(now if era.current >= since else name, module)
        return standin.make_class(name, module)
    if (_PACKAGES.match(module) and name.islower()) or module == "airflow":
        return None  # a module below this one
    return standin.member(module, name)


def operator(name: str, module: str) -> Any:
    """The class of an operator, by the name it has in the era."""
    since, now = _RENAMED.get(name, ((9, 9), name))
    name = now if era.current >= since else name
    fields, colour, text = _CORE.get(name, ((), "", ""))
    if not colour:
        return operators.make_operator(name, module)
    return operators.make_operator(
        name,
        home(module),
        template_fields=operators.Fields(fields),
        ui_color=colour,
        ui_fgcolor=text,
    )


_hooks: dict[tuple[str, str], Any] = {}


def hook(name: str, module: str) -> Any:
    """A hook of a package that is not installed: it knows connections."""
    if (name, module) not in _hooks:
        space = {"__module__": module, "__standin__": True}
        _hooks[name, module] = standin.Meta(name, (inputs.BaseHook,), space)
    return _hooks[name, module]


def home(module: str) -> str:
    """Where the era keeps a core operator, whichever older path it was imported by."""
    parts = module.split(".")
    if len(parts) == 3 and parts[1] in ("operators", "sensors") and era.at_least(2, 0):
        last = re.sub(r"_(?:operator|sensor)$", "", parts[2])
        last = {
            "dummy": "empty" if era.at_least(2, 4) else "dummy",
            "dagrun": "trigger_dagrun",
        }.get(last, last)
        place = "airflow.providers.standard" if era.at_least(3, 0) else "airflow"
        return f"{place}.{parts[1]}.{last}"
    return module


def _top() -> dict[str, Any]:
    return {"__version__": era.version, "version": None}


def _exceptions() -> dict[str, Any]:
    base = graph.AirflowException
    names = (
        "AirflowSkipException", "AirflowFailException", "AirflowNotFoundException", "AirflowSensorTimeout",
        "AirflowRescheduleException", "AirflowBadRequest", "AirflowTaskTimeout", "TaskDeferred",
        "DagNotFound",
        "AirflowConfigException", "AirflowOptionalProviderFeatureException",
    )  # fmt: skip
    return {name: type(name, (base,), {"__module__": "airflow.exceptions"}) for name in names}


_SPECIAL.update(
    {
        "airflow.utils.timezone": lambda: things.TIMEZONE,
        "airflow.sdk.timezone": lambda: things.TIMEZONE,
        "airflow.utils.dates": lambda: {"days_ago": things.days_ago, "timezone": None},
        "airflow.version": lambda: {"version": era.version},
        "airflow.exceptions": _exceptions,
        "airflow.sdk.exceptions": _exceptions,
    }
)
