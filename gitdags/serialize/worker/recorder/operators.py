"""Operators: the base every task stands on, sensors, and operators of packages that are missing.

As in Airflow, every constructor of an operator class takes what it was not given from default_args:
of the DAG, the group and the call, each before the one named first.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

from . import era, notes, standin
from .graph import AirflowException, Context, DuplicateTaskIdFound, Node, connect, references
from .results import XComArg
from .setups import Scope
from .standin import Meta, Unknown

BASE_FIELDS: dict[str, Any] = {
    "owner": "airflow", "email": None, "email_on_retry": True, "email_on_failure": True, "retries": 0,
    "retry_delay": None, "retry_exponential_backoff": False, "max_retry_delay": None, "start_date": None,
    "end_date": None, "depends_on_past": False, "ignore_first_depends_on_past": False,
    "wait_for_downstream": False, "wait_for_past_depends_before_skipping": False, "priority_weight": 1,
    "weight_rule": "downstream", "queue": "default", "pool": "default_pool", "pool_slots": 1,
    "sla": None, "execution_timeout": None, "on_execute_callback": None, "on_failure_callback": None,
    "on_success_callback": None, "on_retry_callback": None, "on_skipped_callback": None,
    "trigger_rule": "all_success", "resources": None, "run_as_user": None, "task_concurrency": None,
    "max_active_tis_per_dag": None, "max_active_tis_per_dagrun": None, "executor": None,
    "executor_config": None, "do_xcom_push": True, "multiple_outputs": False, "inlets": None,
    "outlets": None, "doc": None, "doc_md": None, "doc_json": None, "doc_yaml": None, "doc_rst": None,
    "task_display_name": None, "logger_name": None, "allow_nested_operators": True, "params": None,
    "map_index_template": None, "render_template_as_native_obj": None, "pre_execute": None,
    "post_execute": None,
}  # fmt: skip
"""Arguments of every operator, and what they are where nobody gives them."""

_NOT_ARGUMENTS = ("dag", "task_group", "default_args", "_mapped")


_TASK_METHODS = (
    "__rshift__", "__lshift__", "__rrshift__", "__rlshift__", "__enter__", "__exit__", "__hash__",
    "__eq__", "__lt__", "__repr__", "__setattr__", "__copy__", "__deepcopy__",
)  # fmt: skip


class OperatorMeta(Meta):
    """Wraps the constructors of operator classes, as Airflow does, and knows ``partial``."""

    def __new__(cls, name: str, bases: Any, namespace: Any, **kwargs: Any) -> Any:
        if any(issubclass(one, Unknown) for one in bases):  # beside a stand-in it is a task first
            for method in _TASK_METHODS:
                namespace.setdefault(method, getattr(BaseOperator, method))
        own = namespace.get("__init__")
        if own is not None and not getattr(own, "_recorder_wrapped", False):
            base = "_recorder_task" in namespace
            namespace["__init__"] = _with_defaults(own, (*BASE_FIELDS,) if base else ())
        return super().__new__(cls, name, bases, namespace, **kwargs)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return type.__call__(cls, *args, **kwargs)


def _with_defaults(func: Callable[..., Any], more: tuple[str, ...] = ()) -> Callable[..., Any]:
    """A constructor that takes what it was not given, by its names and ``more``, from default_args."""
    try:
        parameters = dict(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        parameters = {}
    names = [n for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)][
        1:
    ]
    names += more
    anything = any(p.kind == p.VAR_KEYWORD for p in parameters.values())

    @functools.wraps(func)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if args:
            raise AirflowException("Use keyword arguments when initializing operators")
        dag = kwargs.get("dag")
        if dag is None:
            dag = Context.dag()
        group = kwargs.get("task_group")
        if group is None and dag is not None:
            group = Context.group(dag)
        defaults = merged_defaults(dag, group, kwargs.pop("default_args", None))
        for name in names:
            if name not in kwargs and name in defaults and name != "task_id":
                kwargs[name] = defaults[name]
        if anything or "default_args" in names:
            kwargs["default_args"] = defaults
        for name, value in (("dag", dag), ("task_group", group)):
            if value is not None and name not in kwargs and (anything or name in names):
                kwargs[name] = value
        given = self.__dict__.setdefault("_given", {})
        func(self, **kwargs)
        for name, value in kwargs.items():
            if name not in _NOT_ARGUMENTS:
                given[name] = value
        if type(self).__init__ is init and "_done" not in self.__dict__:
            self._finish()

    init._recorder_wrapped = True  # type: ignore[attr-defined]
    return init


def merged_defaults(dag: Any, group: Any, own: Any) -> dict[str, Any]:
    """default_args of the DAG, then of its groups, then of the call."""
    found: dict[str, Any] = {}
    for source in (getattr(dag, "default_args", None), getattr(group, "default_args", None), own):
        if isinstance(source, dict):
            found.update(source)
    return found


class BaseOperator(Node, metaclass=OperatorMeta):
    """A task."""

    _recorder_task = True
    template_fields: Any = ()
    template_ext: Any = ()
    template_fields_renderers: Any = {}
    ui_color: Any = "#fff"
    ui_fgcolor: Any = "#000"
    operator_extra_links: Any = ()
    shallow_copy_attrs: Any = ()
    is_setup = False
    is_teardown = False
    on_failure_fail_dagrun = False
    mapped: Any = None
    # Of the instance, set without __setattr__.
    task_id: str
    dag: Any
    upstream_task_ids: set[str]
    downstream_task_ids: set[str]
    _given: dict[str, Any]

    def __init__(
        self, task_id: Any = None, dag: Any = None, task_group: Any = None, **kwargs: Any
    ) -> None:
        kwargs.pop("default_args", None)
        if task_id is None:
            raise TypeError("missing keyword argument 'task_id'")
        state = self.__dict__
        state["upstream_task_ids"], state["downstream_task_ids"] = set(), set()
        state.setdefault("_given", {})
        for name, value in BASE_FIELDS.items():
            state[name] = kwargs.pop(name, value)
        state["trigger_rule"] = getattr(state["trigger_rule"], "value", state["trigger_rule"])
        state["params"] = dict(state["params"]) if isinstance(state["params"], dict) else {}
        for name, value in kwargs.items():
            if name.isidentifier() and not isinstance(getattr(type(self), name, None), property):
                state.setdefault(name, value)
        place(self, str(task_id), dag, task_group)

    def _finish(self) -> None:
        """Once, after the outermost constructor: edges from the results it was given."""
        self.__dict__["_done"] = True
        for task in references(self._given):
            if task is not self:
                connect(task, self)
        Scope.add(self)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if "_done" in self.__dict__:
            if name in self._given or name in BASE_FIELDS:
                self._given[name] = value
            if isinstance(value, (XComArg, list, dict, tuple)):
                for task in references(value):
                    if task is not self:
                        connect(task, self)

    @property
    def node_id(self) -> str:
        """As `task_id`."""
        return str(self.task_id)

    @property
    def label(self) -> str:
        """The id without the group's prefix."""
        group = self.__dict__.get("task_group")
        prefix = f"{group.group_id}." if group is not None and group.prefix_group_id else ""
        return (
            self.node_id[len(prefix) :]
            if prefix and self.node_id.startswith(prefix)
            else self.node_id
        )

    @property
    def task_type(self) -> str:
        """The class's name."""
        return type(self).__name__

    operator_name = task_type

    @property
    def dag_id(self) -> str:
        """Of its DAG."""
        dag = self.__dict__.get("dag")
        return str(dag.dag_id) if dag is not None else "adhoc_airflow"

    def has_dag(self) -> bool:
        """Whether it is in one."""
        return self.__dict__.get("dag") is not None

    def get_dag(self) -> Any:
        """Its DAG."""
        return self.__dict__.get("dag")

    @property
    def log(self) -> Any:
        """A logger."""
        import logging

        return logging.getLogger("airflow.task.operators")

    @property
    def output(self) -> Any:
        """Its result."""
        return XComArg(self)

    @property
    def roots(self) -> list[Any]:
        """Itself."""
        return [self]

    leaves = roots

    @property
    def upstream_list(self) -> list[Any]:
        """Tasks before it."""
        return [self.dag.task_dict[key] for key in sorted(self.upstream_task_ids)]

    @property
    def downstream_list(self) -> list[Any]:
        """Tasks after it."""
        return [self.dag.task_dict[key] for key in sorted(self.downstream_task_ids)]

    def get_direct_relative_ids(self, upstream: bool = False) -> Any:
        """Ids of the tasks before or after it."""
        return self.upstream_task_ids if upstream else self.downstream_task_ids

    def get_direct_relatives(self, upstream: bool = False) -> Any:
        """The tasks before or after it."""
        return self.upstream_list if upstream else self.downstream_list

    def add_inlets(self, inlets: Any) -> None:
        """More inlets."""
        self.inlets: Any = [*(self.__dict__["inlets"] or ()), *inlets]

    def add_outlets(self, outlets: Any) -> None:
        """More outlets."""
        self.outlets: Any = [*(self.__dict__["outlets"] or ()), *outlets]

    def as_setup(self) -> Any:
        """Make it a setup task."""
        self.__dict__["is_setup"] = True
        return self

    def as_teardown(self, *, setups: Any = None, on_failure_fail_dagrun: Any = None) -> Any:
        """Make it a teardown task, of the setups named."""
        self.__dict__["is_teardown"] = True
        self.__dict__["trigger_rule"] = "all_done_setup_success"
        if on_failure_fail_dagrun is not None:
            self.__dict__["on_failure_fail_dagrun"] = on_failure_fail_dagrun
        for one in [setups] if isinstance(setups, Node) else setups or ():
            task = one.operator if isinstance(one, XComArg) else one
            task.__dict__["is_setup"] = True
            connect(task, self)
        return self

    def __enter__(self) -> Any:
        return Scope.enter([self])

    def __exit__(self, *_: Any) -> None:
        Scope.leave()

    def __lt__(self, other: Any) -> bool:
        return self.node_id < getattr(other, "node_id", "")

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.__dict__.get("task_id")))

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<Task({self.task_type}): {self.__dict__.get('task_id')}>"

    def __copy__(self) -> Any:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        for name in ("upstream_task_ids", "downstream_task_ids", "_given"):
            made.__dict__[name] = copy.copy(self.__dict__[name])
        return made

    def __deepcopy__(self, memo: Any) -> Any:
        return self.__copy__()

    def execute(self, context: Any) -> Any:
        """Never runs here."""

    def render_template_fields(self, *_: Any, **__: Any) -> None:
        """Never runs here."""

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """The first half of mapping."""
        return standin.makers["mapped"](cls, kwargs)

    @classmethod
    def get_serialized_fields(cls) -> frozenset[str]:
        """Names of the arguments of every operator."""
        return frozenset(BASE_FIELDS)


def place(task: Any, task_id: str, dag: Any, group: Any) -> None:
    """Put a task into a DAG and a group, under the id that these make of it."""
    if dag is None:
        dag = Context.dag() if group is None else group.dag
    if group is None and dag is not None:
        group = Context.group(dag)
    state = task.__dict__
    state["task_id"] = group.child_id(task_id) if group is not None else task_id
    state["task_group"], state["dag"] = group, None
    if dag is not None:
        dag.add_task(task)


class SensorMixin:
    """What sensors have beside."""

    poke_interval: Any = 60
    mode: Any = "poke"
    ui_color: Any = "#e6f1f2"
    valid_modes = ("poke", "reschedule")


class BaseSensorOperator(SensorMixin, BaseOperator):
    """A task that waits."""

    def poke(self, context: Any) -> Any:
        """Never runs here."""


class StandInOperator(BaseOperator):
    """An operator of a package that is not installed: takes any argument, keeps each as its own."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        given = self.__dict__.get("_given", {})
        if name in given:
            return given[name]
        return standin.value(f"{type(self).__name__}.{name}")


class StandInSensor(SensorMixin, StandInOperator):
    """A sensor of a package that is not installed."""


class Fields(tuple):  # type: ignore[type-arg]
    """template_fields that may be added to, as a list or a tuple."""

    def __add__(self, other: Any) -> Any:
        return Fields((*self, *other))

    def __radd__(self, other: Any) -> Any:
        return Fields((*other, *self))


_operators: dict[tuple[str, str], Any] = {}


def make_operator(name: str, module: str, **namespace: Any) -> Any:
    """The operator class of that name in a module that is not installed; the same one each time."""
    key = (module, name)
    if key not in _operators:
        base = StandInSensor if name.endswith("Sensor") else StandInOperator
        namespace.setdefault("template_fields", Fields())
        _operators[key] = OperatorMeta(
            name, (base,), {"__module__": module, "__standin__": True, **namespace}
        )
    return _operators[key]


def _as_operator(kind: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``kind(task_id=…)`` makes, where kind is no operator by its name."""
    if isinstance(kind, type):
        name, module = kind.__name__, kind.__module__
        notes.guess(f"{module}.{name} is an operator: it is given a task_id")
        if "__standin__" not in kind.__dict__:  # a class of the author's over a stand-in
            mixed = OperatorMeta(
                name,
                (kind, StandInOperator),
                {"__module__": module, "__qualname__": kind.__qualname__},
            )
            made: Any = mixed(*args, **kwargs)
            if "_done" not in made.__dict__ and "task_id" in made.__dict__:
                made._finish()
            return made
    else:
        path = standin.path_of(kind).replace("()", "")
        module, _, name = path.rpartition(".")
        notes.guess(f"{path} is an operator: it is given a task_id")
    return make_operator(name, module)(**kwargs)


standin.makers.update({"operator": _as_operator, "class": make_operator})


def duplicate(task: Any) -> None:
    """What adding a task whose id the DAG has already is: an error since 2.0."""
    if era.at_least(2, 0):
        raise DuplicateTaskIdFound(f"Task id '{task.task_id}' has already been added to the DAG")
    notes.guess(f"task {task.task_id} was added twice; the last one stays")
