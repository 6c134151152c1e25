"""TaskFlow: ``@task`` and its kinds, ``@task_group``, ``@setup`` and ``@teardown``."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from . import notes
from .graph import Context, TaskGroup, unique_task_id
from .mapping import Expansion, MappedOperator
from .operators import (
    BASE_FIELDS,
    BaseSensorOperator,
    Fields,
    OperatorMeta,
    StandInOperator,
    merged_defaults,
)
from .results import XComArg

# Names of Airflow's own classes, by decorator.
_KINDS = {
    "python": "_PythonDecoratedOperator",
    "virtualenv": "_PythonVirtualenvDecoratedOperator",
    "external_python": "_PythonExternalDecoratedOperator",
    "branch": "_BranchPythonDecoratedOperator",
    "branch_virtualenv": "_BranchPythonVirtualenvDecoratedOperator",
    "branch_external_python": "_BranchExternalPythonDecoratedOperator",
    "short_circuit": "_ShortCircuitDecoratedOperator",
    "sensor": "DecoratedSensorOperator",
    "bash": "_BashDecoratedOperator",
    "docker": "_DockerDecoratedOperator",
    "kubernetes": "_KubernetesDecoratedOperator",
    "kubernetes_cmd": "_KubernetesCmdDecoratedOperator",
    "pyspark": "_PySparkDecoratedOperator",
    "llm": "_LLMDecoratedOperator",
}
_COLOURS = {"bash": "#f0ede4"}
_MODULES = {
    "python": "python", "virtualenv": "python_virtualenv", "external_python": "external_python",
    "branch": "branch_python", "branch_virtualenv": "branch_virtualenv",
    "branch_external_python": "branch_external_python", "short_circuit": "short_circuit",
    "sensor": "sensor", "bash": "bash",
}  # fmt: skip

_classes: dict[str, Any] = {}


def _operator(kind: str) -> Any:
    """The class of the tasks that a kind of ``@task`` makes."""
    from . import era

    if kind not in _classes:
        name = (
            _KINDS.get(kind) or f"_{''.join(p.title() for p in kind.split('_'))}DecoratedOperator"
        )
        if kind in _MODULES:
            home = (
                "airflow.providers.standard.decorators"
                if era.at_least(3, 0)
                else "airflow.decorators"
            )
            module = f"{home}.{_MODULES[kind]}"
        else:
            module = f"airflow.providers.decorators.{kind}"
        base = BaseSensorOperator if kind == "sensor" else StandInOperator
        fields = ("op_args", "op_kwargs") + (("bash_command", "env") if kind == "bash" else ())
        _classes[kind] = OperatorMeta(
            name,
            (base,),
            {
                "__module__": module,
                "template_fields": Fields(fields),
                "ui_color": _COLOURS.get(kind, "#e6f1f2" if kind == "sensor" else "#ffefeb"),
                "custom_operator_name": "@task" if kind == "python" else f"@task.{kind}",
                "decorated": True,
            },
        )
    return _classes[kind]


class TaskDecorator:
    """A function under ``@task``: called, it makes a task and gives its result."""

    is_setup = False
    is_teardown = False
    on_failure_fail_dagrun = False

    def __init__(self, function: Any, kind: str, kwargs: dict[str, Any]) -> None:
        self.function, self.kind, self.kwargs = function, kind, dict(kwargs)
        self.kwargs.setdefault("task_id", getattr(function, "__name__", kind))
        if self.kwargs.get("multiple_outputs") is None:
            self.kwargs["multiple_outputs"] = _gives_mapping(function)
        functools.update_wrapper(self, function)

    @property
    def operator_class(self) -> Any:
        """The class of the tasks it makes."""
        return _operator(self.kind)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given, dag, group = self._given()
        try:
            inspect.signature(self.function).bind_partial(*args, **kwargs)
        except ValueError:
            notes.guess(f"the arguments of {self.kwargs['task_id']} are not known")
        made = self.operator_class(
            python_callable=self.function, op_args=list(args),
            op_kwargs=_filled(self.function, kwargs, dag, group),
            dag=dag, task_group=group, **given,
        )  # fmt: skip
        return self._finished(made)

    def _given(self) -> tuple[dict[str, Any], Any, Any]:
        given = dict(self.kwargs)
        dag = given.pop("dag", None) or Context.dag()
        group = given.pop("task_group", None) or (Context.group(dag) if dag is not None else None)
        given["task_id"] = unique_task_id(str(given["task_id"]), dag, group)
        if self.is_teardown:
            given["trigger_rule"] = "all_done_setup_success"
        return given, dag, group

    def _finished(self, made: Any) -> Any:
        state = made.__dict__
        state["is_setup"], state["is_teardown"] = self.is_setup, self.is_teardown
        state["on_failure_fail_dagrun"] = state.pop(
            "on_failure_fail_dagrun", self.on_failure_fail_dagrun
        )
        documented = any(state.get(f"doc{kind}") for kind in ("", "_md", "_json", "_yaml", "_rst"))
        if self.function.__doc__ and not documented:
            state["doc_md"] = self.function.__doc__
        if self.is_setup or self.is_teardown:
            from .setups import Scope

            for scope in Scope.open:
                scope.work = [task for task in scope.work if task is not made]
        return XComArg(made)

    def expand(self, **kwargs: Any) -> Any:
        """Map over lists and mappings by name."""
        if not kwargs:
            raise TypeError("no arguments to expand against")
        return self._mapped(Expansion("dict-of-lists", kwargs))

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """Map over a list of mappings."""
        return self._mapped(Expansion("list-of-dicts", kwargs))

    def _mapped(self, expansion: Expansion) -> Any:
        given, dag, group = self._given()
        inner = given.pop("op_kwargs", {})
        given["python_callable"] = self.function
        given["op_kwargs"] = _filled(self.function, inner, dag, group, expansion.value)
        made = MappedOperator(
            self.operator_class, {**given, "dag": dag, "task_group": group}, expansion
        )
        return self._finished(made)

    def partial(self, **kwargs: Any) -> TaskDecorator:
        """With some arguments given."""
        inner = {**self.kwargs.get("op_kwargs", {}), **kwargs}
        return self._like({**self.kwargs, "op_kwargs": inner})

    def override(self, **kwargs: Any) -> TaskDecorator:
        """With other arguments for the operator."""
        return self._like({**self.kwargs, **kwargs})

    def _like(self, kwargs: dict[str, Any]) -> TaskDecorator:
        made = TaskDecorator(self.function, self.kind, kwargs)
        made.is_setup, made.is_teardown = self.is_setup, self.is_teardown
        made.on_failure_fail_dagrun = self.on_failure_fail_dagrun
        return made


def _filled(
    function: Any, kwargs: Mapping[str, Any], dag: Any, group: Any, mapped: Any = None
) -> dict[str, Any]:
    """Arguments of a function, with what default_args has of them."""
    found = dict(kwargs)
    defaults = merged_defaults(dag, group, None)
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return found
    taken = mapped if isinstance(mapped, dict) else {}
    for name in names:
        if name not in found and name in defaults and name not in BASE_FIELDS and name not in taken:
            found[name] = defaults[name]
    return found


def _gives_mapping(function: Any) -> bool:
    """Whether a function is annotated to return a mapping: then each key is a result of its own."""
    annotation = getattr(function, "__annotations__", {}).get("return")
    if isinstance(annotation, str):
        return bool(annotation.strip("'\"").lower().startswith(("dict", "mapping", "typing.dict")))
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)


class TaskCollection:
    """``task``: a decorator itself, with one for every kind as an attribute."""

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("__"):
            raise AttributeError(kind)
        if kind in ("run_if", "skip_if"):
            return lambda *_, **__: lambda inner: inner
        if kind not in _KINDS:
            notes.guess(f"@task.{kind} makes a task")
        return functools.partial(self._decorate, kind)

    def __call__(self, function: Any = None, **kwargs: Any) -> Any:
        return self._decorate("python", function, **kwargs)

    def _decorate(self, kind: str, function: Any = None, **kwargs: Any) -> Any:
        if function is None:
            return lambda inner: TaskDecorator(_plain(inner), kind, kwargs)
        if not callable(function):
            raise TypeError("No args allowed while using @task, use kwargs instead")
        return TaskDecorator(_plain(function), kind, kwargs)


def _plain(function: Any) -> Any:
    return function.function if isinstance(function, TaskDecorator) else function


task = TaskCollection()


def setup(function: Any) -> Any:
    """``@setup``, above or instead of ``@task``."""
    made = task(function) if isinstance(function, types.FunctionType) else function
    made.is_setup = True
    return made


def teardown(function: Any = None, *, on_failure_fail_dagrun: bool = False) -> Any:
    """``@teardown``, above or instead of ``@task``."""
    if function is None:
        return lambda inner: teardown(inner, on_failure_fail_dagrun=on_failure_fail_dagrun)
    made = task(function) if isinstance(function, types.FunctionType) else function
    made.is_teardown = True
    made.on_failure_fail_dagrun = on_failure_fail_dagrun
    return made


# ── groups ────────────────────────────────────────────────────────────────────────────────────


class MappedArgument:
    """What a function under ``@task_group`` is given for an argument it is mapped over."""

    def __init__(self, expansion: Expansion, key: str) -> None:
        self.expansion, self.key = expansion, key

    def references(self) -> list[Any]:
        """The tasks whose results it is mapped over."""
        from .graph import references

        return references(self.expansion.value)

    def __getitem__(self, key: Any) -> MappedArgument:
        return MappedArgument(self.expansion, f"{self.key}[{key!r}]")

    def __str__(self) -> str:
        return self.key


class GroupDecorator:
    """A function under ``@task_group``: called, it makes a group of what it makes."""

    def __init__(
        self, function: Any, kwargs: dict[str, Any], partial: dict[str, Any] | None = None
    ) -> None:
        self.function, self.kwargs, self.partial_kwargs = function, dict(kwargs), partial or {}
        self.kwargs.setdefault("group_id", function.__name__)
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._make(None, args, kwargs)

    def _make(self, expansion: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        group = TaskGroup(**{"add_suffix_on_collision": True, **self.kwargs})
        group.mapped = expansion
        with group:
            if self.function.__doc__:
                group.tooltip = group.tooltip or self.function.__doc__
                group.doc_md = group.doc_md or self.function.__doc__
            result = self.function(*args, **{**self.partial_kwargs, **kwargs})
        return group if result is None else result

    def override(self, **kwargs: Any) -> GroupDecorator:
        """With other arguments for the group."""
        return GroupDecorator(self.function, {**self.kwargs, **kwargs}, self.partial_kwargs)

    def partial(self, **kwargs: Any) -> GroupDecorator:
        """With some arguments of the function given."""
        return GroupDecorator(self.function, self.kwargs, {**self.partial_kwargs, **kwargs})

    def expand(self, **kwargs: Any) -> Any:
        """Map the group over lists and mappings by name."""
        expansion = Expansion("dict-of-lists", kwargs)
        return self._make(expansion, (), {name: MappedArgument(expansion, name) for name in kwargs})

    def expand_kwargs(self, kwargs: Any) -> Any:
        """Map the group over a list of mappings."""
        expansion = Expansion("list-of-dicts", kwargs)
        names = [
            n for n in inspect.signature(self.function).parameters if n not in self.partial_kwargs
        ]
        return self._make(expansion, (), {name: MappedArgument(expansion, name) for name in names})


def task_group(function: Any = None, **kwargs: Any) -> Any:
    """``@task_group`` and ``@task_group(…)``."""
    if callable(function):
        return GroupDecorator(function, kwargs)
    if function is not None:
        kwargs["group_id"] = function
    return lambda inner: GroupDecorator(inner, kwargs)
