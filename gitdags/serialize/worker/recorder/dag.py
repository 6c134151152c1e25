"""The DAG: what it was given, its tasks by id, its groups, the labels of its edges."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from . import era, standin
from .graph import Context, TaskGroup
from .operators import duplicate
from .standin import Meta

_POSITIONAL = ("dag_id", "description", "schedule_interval", "start_date", "end_date")
MISSING = object()


class DAG(metaclass=Meta):
    """A DAG. Takes the arguments of every era; the first ones may be positional, as in 1.10."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = {**dict(zip(_POSITIONAL, args)), **kwargs}
        if (
            era.pinned
            and era.at_least(3, 0)
            and ("schedule_interval" in kwargs or "timetable" in kwargs)
        ):
            name = "schedule_interval" if "schedule_interval" in kwargs else "timetable"
            raise TypeError(f"DAG.__init__() got an unexpected keyword argument {name!r}")
        if given.get("dag_id") is None:
            raise TypeError("DAG.__init__() missing 1 required positional argument: 'dag_id'")
        self.dag_id = str(given.pop("dag_id"))
        self.given = given
        self.default_args = dict(given.get("default_args") or {})
        self.params = given.get("params") or {}
        inner = self.default_args.pop("params", None)
        if isinstance(inner, dict):
            self.params = {**inner, **dict(self.params)}
        self.task_dict: dict[str, Any] = {}
        self.edge_info: dict[tuple[str, str], Any] = {}
        self.task_group = TaskGroup(dag=self)
        self.task_group.default_args = {}
        self.subdags: list[Any] = []
        self.parent_dag: Any = None
        self.tags = given.get("tags") or []
        self.doc_md = given.get("doc_md")
        self.auto_register = given.get("auto_register", True)
        self.fileloc = ""

    @property
    def schedule(self) -> Any:
        """What it was given as its schedule, whatever the argument was called; MISSING if nothing."""
        for name in ("schedule", "schedule_interval", "timetable"):
            value = self.given.get(name, MISSING)
            if value is not MISSING:
                return value
        return MISSING

    schedule_interval = schedule

    @property
    def start_date(self) -> Any:
        """Its own, or of its default_args."""
        return self.given.get("start_date") or self.default_args.get("start_date")

    @property
    def end_date(self) -> Any:
        """Its own, or of its default_args."""
        return self.given.get("end_date") or self.default_args.get("end_date")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "given" not in self.__dict__:
            raise AttributeError(f"'DAG' object has no attribute {name!r}")
        if name in self.given:
            return self.given[name]
        return standin.value(f"dag.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        given = self.__dict__.get("given")
        if given is not None and name in _SETTABLE:
            given[name] = value
            return
        object.__setattr__(self, name, value)

    # ── tasks ─────────────────────────────────────────────────────────────────────────────

    @property
    def tasks(self) -> list[Any]:
        """In the order they were added."""
        return list(self.task_dict.values())

    @property
    def task_ids(self) -> list[str]:
        """In the order they were added."""
        return list(self.task_dict)

    @property
    def task_count(self) -> int:
        """How many there are."""
        return len(self.task_dict)

    @property
    def roots(self) -> list[Any]:
        """Tasks with nothing before them."""
        return [task for task in self.task_dict.values() if not task.upstream_task_ids]

    @property
    def leaves(self) -> list[Any]:
        """Tasks with nothing after them."""
        return [task for task in self.task_dict.values() if not task.downstream_task_ids]

    def add_task(self, task: Any) -> None:
        """Take a task in, and into its group."""
        state = task.__dict__
        if state.get("task_group") is None:
            group = Context.group(self)
            if group.dag is not self:
                group = self.task_group
            state["task_group"] = group
            state["task_id"] = group.child_id(state["task_id"])
        known = self.task_dict.get(state["task_id"])
        if (known is not None and known is not task) or state["task_id"] in self.task_group.used:
            duplicate(task)
        self.task_dict[state["task_id"]] = task
        state["task_group"].children[state["task_id"]] = task
        state["dag"] = self
        subdag = state.get("subdag")
        if isinstance(subdag, DAG):
            subdag.parent_dag = self
            self.subdags.append(subdag)

    def add_tasks(self, tasks: Any) -> None:
        """Take several in."""
        for task in tasks:
            self.add_task(task)

    def get_task(self, task_id: str, include_subdags: bool = False) -> Any:
        """By id."""
        return self.task_dict[task_id]

    def has_task(self, task_id: str) -> bool:
        """Whether there is one of that id."""
        return task_id in self.task_dict

    def set_dependency(self, upstream_task_id: str, downstream_task_id: str) -> None:
        """An edge by ids."""
        self.task_dict[upstream_task_id].set_downstream(self.task_dict[downstream_task_id])

    def sub_dag(self, *_: Any, **__: Any) -> Any:
        """Part of it; here, all of it."""
        return self

    partial_subset = sub_dag

    def set_edge_info(self, upstream_task_id: str, downstream_task_id: str, info: Any) -> None:
        """A label by ids."""
        self.edge_info[upstream_task_id, downstream_task_id] = info.get("label")

    def add_result(self, *_: Any, **__: Any) -> None:
        """Names the task whose result is the DAG's."""

    # ── with ──────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> DAG:
        Context.dags.append(self)
        Context.groups.append(self.task_group)
        Context.entered[id(self)] = self
        return self

    def __exit__(self, *_: Any) -> None:
        Context.dags.pop()
        Context.groups.pop()

    def __repr__(self) -> str:
        return f"<DAG: {self.dag_id}>"

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __lt__(self, other: Any) -> bool:
        return str(self.dag_id) < str(other.dag_id)

    def __deepcopy__(self, memo: Any) -> Any:
        made = copy.copy(self)
        memo[id(self)] = made
        return made


_SETTABLE = (
    "schedule", "schedule_interval", "timetable", "start_date", "end_date", "catchup", "description",
    "max_active_runs", "timezone", "on_failure_callback", "on_success_callback", "sla_miss_callback",
)  # fmt: skip


def dag_decorator(*args: Any, **kwargs: Any) -> Any:
    """``@dag`` and ``@dag(…)``: a function whose calls make a DAG each, named after it."""
    import functools
    import inspect

    def wrap(function: Callable[..., Any], given: dict[str, Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def factory(*call_args: Any, **call_kwargs: Any) -> DAG:
            signature = inspect.signature(function)
            bound = signature.bind_partial(*call_args, **call_kwargs)
            bound.apply_defaults()
            named = {**given}
            named.setdefault("dag_id", function.__name__)
            if function.__doc__ and "doc_md" not in named:
                named["doc_md"] = function.__doc__
            params = {name: standin.value(f"params.{name}") for name in signature.parameters}
            made = DAG(**named)
            made.params = {**dict(made.params or {}), **bound.arguments}
            with made:
                function(**params)
            return made

        return factory

    if args and callable(args[0]) and not isinstance(args[0], str):
        return wrap(args[0], kwargs)
    given = {**dict(zip(_POSITIONAL, args)), **kwargs}
    return lambda function: wrap(function, given)
