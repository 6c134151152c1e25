"""The Airflow that is installed here: 2.x or 3.x, without a metadata database.

Where the two eras differ, this module knows; the rest of the worker does not.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.util
import inspect
import os
import re
import tempfile
import warnings
from typing import Any

from . import values


def load(plugins: bool) -> Airflow:
    """Import Airflow and what every parse needs. Raises whatever that import raises.

    ``plugins``: the children will load plugins of the repository, so none may be loaded here.
    """
    airflow = Airflow()
    if not plugins:
        airflow.warm()
    return airflow


def _first(*names: str) -> Any:
    """The first of several ``module:attribute`` that exists; a place that moved between versions."""
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"this Airflow has none of {', '.join(names)}")


class Airflow:
    """One installed Airflow, imported."""

    exact = True
    """whether it is Airflow that parses, rather than a stand-in"""

    def __init__(self) -> None:
        import airflow

        self.version: str = airflow.__version__
        self.major = int(self.version.split(".")[0])
        self._settings: Any = importlib.import_module("airflow.settings")
        self._configuration: Any = importlib.import_module("airflow.configuration")
        self._bag = _first("airflow.dag_processing.dagbag:DagBag", "airflow.models.dagbag:DagBag")
        self._serialization = _first(
            "airflow.serialization.serialized_objects:DagSerialization",
            "airflow.serialization.serialized_objects:SerializedDAG",
        )
        self.dag_class = _first("airflow.sdk:DAG", "airflow.models.dag:DAG")
        self.operator_class = _first(
            "airflow.sdk.bases.operator:BaseOperator", "airflow.models.baseoperator:BaseOperator"
        )
        self.mapped_class = _first(
            "airflow.sdk.definitions.mappedoperator:MappedOperator",
            "airflow.models.mappedoperator:MappedOperator",
        )
        self.plain_timetable = _first(
            "airflow.sdk.definitions.dag:_create_timetable", "airflow.models.dag:create_timetable"
        )
        """(cron expression or timedelta, time zone) -> the timetable that a bare value stands for"""
        self.handlers = self._handlers()
        self.files: list[str] = []
        """files made here that children need"""
        self._without_database()
        plain = self.operator_class(task_id="plain")
        dag = self.dag_class("plain", schedule=None)
        encode = values.Encoder("/nowhere", "/nowhere", self.handlers)
        self.plain_operator = {k: encode(v) for k, v in vars(plain).items()}
        """field -> JSON of an operator that was given nothing: what a value must differ from"""
        self.plain_dag = {k: encode(v) for k, v in vars(dag).items()}
        self.base_fields: frozenset[str] = self.operator_class.get_serialized_fields()

    # ── parsing ───────────────────────────────────────────────────────────────────────────

    def place(self, root: str, dags: str, plugins: str | None) -> None:
        """Say where this deployment's folders are; Airflow read them when it was imported."""
        self._configuration.AIRFLOW_HOME = root
        self._settings.AIRFLOW_HOME = root
        self._settings.DAGS_FOLDER = dags
        if plugins is not None:
            os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = plugins
            self._settings.PLUGINS_FOLDER = plugins
        self._dags = dags

    def parse(self, path: str, era: str = "") -> tuple[list[Any], list[dict[str, str]]]:
        """(DAG objects sorted by id, errors) of a DAG file, as Airflow itself imports it.

        ``era``, the version that the file was written for, changes nothing: this one parses.
        """
        options: dict[str, Any] = {"dag_folder": self._dags, "collect_dags": False}
        known = inspect.signature(self._bag.__init__).parameters
        for name, value in (
            ("include_examples", False),
            ("read_dags_from_db", False),
            ("bundle_path", self._dags),
        ):
            if name in known:
                options[name] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bag = self._bag(**options)
            bag.process_file(path, only_if_updated=False, safe_mode=False)
        errors = [_error(text) for text in bag.import_errors.values()]
        return [bag.dags[key] for key in sorted(bag.dags)], errors

    def serialize(self, dag: Any) -> Any:
        """Airflow's own JSON of a DAG."""
        return self._serialization.to_dict(dag)

    def warm(self) -> None:
        """Serialize a DAG once: what Airflow imports and caches on the way, no child does again."""
        asset = _first("airflow.sdk:Asset", "airflow.datasets:Dataset")("file:///warm")
        start = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)
        self.serialize(self.dag_class("assets", schedule=[asset], start_date=start))
        dag = self.dag_class("warm", schedule="@daily", start_date=start)
        first = self.operator_class(task_id="first", dag=dag)
        first.set_downstream(self.operator_class(task_id="second", dag=dag))
        self.serialize(dag)

    def _without_database(self) -> None:
        """Keep Variables and Connections that are nowhere in the environment from asking a database.

        An absent one is then absent, as on a fresh Airflow, instead of "no such table".
        """
        backend = _first("airflow.secrets.metastore:MetastoreBackend")
        for name in ("get_variable", "get_connection"):
            setattr(backend, name, lambda *_, **__: None)
        if self.major < 3:
            # Some DAG files of 2.x ask for datasets or pools while they are imported: an empty
            # database in memory answers that there are none.
            folder = tempfile.mkdtemp(prefix="airflow-db-")
            url = f"sqlite:///{folder}/empty.db"
            os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = url
            self._settings.SQL_ALCHEMY_CONN = url
            self._settings.configure_orm()
            base = _first("airflow.models.base:Base")
            importlib.import_module("airflow.models").import_all_models()
            for users in (  # a note of a task instance refers to the table of users
                "airflow.providers.fab.auth_manager.models",
                "airflow.www.fab_security.sqla.models",
            ):
                if importlib.util.find_spec(users.rpartition(".")[0].rpartition(".")[0]):
                    importlib.import_module(users)
                    break
            base.metadata.create_all(self._settings.engine)
            self._settings.engine.dispose()
            self.files.append(f"{folder}/empty.db")

    # ── the JSON of Airflow's own classes ─────────────────────────────────────────────────

    def _handlers(self) -> list[tuple[Any, values.Handler]]:
        wanted: list[tuple[tuple[str, ...], values.Handler]] = [
            (
                ("airflow.sdk.definitions.xcom_arg:XComArg", "airflow.models.xcom_arg:XComArg"),
                _xcom,
            ),
            (
                (
                    "airflow.sdk.definitions._internal.abstractoperator:AbstractOperator",
                    "airflow.models.abstractoperator:AbstractOperator",
                ),
                lambda _, v, __: values.tagged("task", v.task_id),
            ),
            (
                (
                    "airflow.sdk.definitions.taskgroup:TaskGroup",
                    "airflow.utils.task_group:TaskGroup",
                ),
                lambda _, v, __: values.tagged("task_group", v.group_id),
            ),
            (
                ("airflow.sdk:DAG", "airflow.models.dag:DAG"),
                lambda _, v, __: values.tagged("dag", v.dag_id),
            ),
            (
                ("airflow.sdk.definitions.param:Param", "airflow.models.param:Param"),
                lambda encode, v, depth: encode(
                    {"value": _raw_param(v), "description": v.description, "schema": v.schema},
                    depth,
                ),
            ),
            (
                ("airflow.sdk.definitions.param:ParamsDict", "airflow.models.param:ParamsDict"),
                lambda encode, v, depth: params(encode, v, depth),
            ),
            (("airflow.sdk.definitions.asset:Asset", "airflow.datasets:Dataset"), _asset),
            (("airflow.sdk.definitions.asset:AssetAll", "airflow.datasets:DatasetAll"), _condition),
            (("airflow.sdk.definitions.asset:AssetAny", "airflow.datasets:DatasetAny"), _condition),
            (
                ("airflow.sdk.definitions.asset:AssetAlias", "airflow.datasets:DatasetAlias"),
                lambda encode, v, depth: values.tagged("asset_alias", _named(v)),
            ),
            (
                (
                    "airflow.sdk.definitions._internal.types:ArgNotSet",
                    "airflow.utils.types:ArgNotSet",
                ),
                lambda *_: None,
            ),
        ]
        found = [(_first(*names), handler) for names, handler in wanted]
        if self.major >= 3:  # assets named before they are defined
            refs = _first("airflow.sdk.definitions.asset:AssetRef")
            found.append((refs, lambda encode, v, depth: values.tagged("asset_ref", _named(v))))
        for name, handler in (  # what timetables of 3.2 and later turn assets into
            ("SerializedAsset", _asset),
            ("SerializedAssetBooleanCondition", _condition),
            ("SerializedAssetAlias", lambda _, v, __: values.tagged("asset_alias", _named(v))),
        ):
            try:
                found.append((_first(f"airflow.serialization.definitions.assets:{name}"), handler))
            except ImportError:
                break
        return found


def _asset(encode: values.Encoder, value: Any, depth: int) -> Any:
    """Name, URI and extra; group and watchers where there are any."""
    fields = {**_named(value), "uri": value.uri, "extra": getattr(value, "extra", None) or {}}
    fields["name"] = getattr(value, "name", None) or value.uri
    watchers = getattr(value, "watchers", None)
    if watchers:
        fields["watchers"] = [
            {"name": one.name, "trigger": values.class_name(type(one.trigger))} for one in watchers
        ]
    return values.tagged("asset", encode(fields, depth))


def _condition(encode: values.Encoder, value: Any, depth: int) -> Any:
    """All or any of several assets."""
    kind = "asset_all" if type(value).__name__.endswith("All") else "asset_any"
    return values.tagged(kind, [encode(one, depth) for one in value.objects])


def _named(value: Any) -> dict[str, Any]:
    """What an asset, alias or reference goes by; the group only where it is not the usual one."""
    found = {}
    for name in ("name", "uri", "group"):
        own = getattr(value, name, None)
        if own and (name, own) != ("group", "asset"):
            found[name] = own
    return found


def params(encode: values.Encoder, value: Any, depth: int = 0) -> dict[str, Any]:
    """Params by name: ``{"value", "description", "schema"}``."""
    inner = getattr(value, "_ParamsDict__dict", None)
    return {str(k): encode(v, depth) for k, v in (value if inner is None else inner).items()}


def _raw_param(param: Any) -> Any:
    return None if type(param.value).__name__ in ("ArgNotSet", "NOTSET") else param.value


def _xcom(encode: values.Encoder, value: Any, depth: int) -> Any:
    operator = getattr(value, "operator", None)
    if operator is not None:
        return values.tagged("xcom", {"task_id": operator.task_id, "key": value.key})
    kind = type(value).__name__.replace("XComArg", "").lower()
    fields = {
        name: encode(getattr(value, name), depth)
        for name in ("arg", "args", "callables", "fillvalue")
        if getattr(value, name, None) is not None
    }
    return values.tagged("xcom", {"kind": kind, **fields})


_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*))?$", re.S)


def _error(text: str) -> dict[str, str]:
    """Type and message out of the traceback, or the one line, that Airflow keeps of an error."""
    lines = text.rstrip().split("\n")
    last = max((i for i, line in enumerate(lines) if line.startswith("  ")), default=-1)
    found = _EXCEPTION.match("\n".join(lines[last + 1 :]).lstrip())
    if found is None:
        return {"type": "ImportError", "message": text.strip(), "traceback": ""}
    kind = found[1].rpartition(".")[2]
    return {
        "type": kind,
        "message": (found[2] or "").strip() or kind,
        "traceback": text if last >= 0 else "",
    }
