"""Mapped tasks: ``Operator.partial(…).expand(…)``."""

from __future__ import annotations

from typing import Any

from . import standin
from .graph import Context, connect, references
from .operators import BASE_FIELDS, BaseOperator, make_operator, merged_defaults
from .setups import Scope


class Expansion:
    """What a task or group is mapped over: ``kind`` as Airflow names it, and the value."""

    def __init__(self, kind: str, value: Any) -> None:
        self.kind, self.value = kind, value


class OperatorPartial:
    """``Operator.partial(…)``."""

    def __init__(self, operator: Any, kwargs: dict[str, Any]) -> None:
        self.operator_class, self.kwargs = operator, kwargs

    def expand(self, **kwargs: Any) -> Any:
        """Map over lists and mappings by name."""
        return MappedOperator(self.operator_class, self.kwargs, Expansion("dict-of-lists", kwargs))

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """Map over a list of mappings."""
        return MappedOperator(self.operator_class, self.kwargs, Expansion("list-of-dicts", kwargs))


class MappedOperator(BaseOperator):
    """A task that is as many tasks as what it is mapped over has values."""

    operator_class: Any

    def __init__(self, operator: Any, kwargs: dict[str, Any], expansion: Expansion) -> None:
        kwargs = dict(kwargs)
        dag = kwargs.pop("dag", None) or Context.dag()
        group = kwargs.pop("task_group", None) or (Context.group(dag) if dag is not None else None)
        defaults = merged_defaults(dag, group, kwargs.pop("default_args", None))
        task_id = kwargs.pop("task_id")
        for name in BASE_FIELDS:
            if name not in kwargs and name in defaults and name != "params":
                kwargs[name] = defaults[name]
        state = self.__dict__
        state["operator_class"], state["mapped"] = operator, expansion
        BaseOperator.__init__.__wrapped__(  # type: ignore[attr-defined]  # functools.wraps sets it
            self, task_id=task_id, dag=dag, task_group=group, **kwargs
        )
        state["_given"] = kwargs
        state["_done"] = True
        for task in references([kwargs, expansion.value]):
            if task is not self:
                connect(task, self)
        Scope.add(self)

    __init__._recorder_wrapped = True  # type: ignore[attr-defined]  # takes its default_args itself

    @property
    def task_type(self) -> str:
        """The class's name."""
        return str(self.operator_class.__name__)

    operator_name = task_type

    @property
    def template_fields(self) -> Any:
        """Of the class."""
        return self.operator_class.template_fields

    @property
    def ui_color(self) -> Any:
        """Of the class."""
        return self.operator_class.ui_color

    @property
    def ui_fgcolor(self) -> Any:
        """Of the class."""
        return self.operator_class.ui_fgcolor


def _as_partial(kind: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``kind.partial(…)`` makes, where kind is a class of a missing module."""
    if "task_id" not in kwargs:
        return standin.value(f"{kind.__module__}.{kind.__qualname__}.partial()")
    return OperatorPartial(make_operator(kind.__name__, kind.__module__), kwargs)


standin.makers.update({"partial": _as_partial, "mapped": OperatorPartial})
