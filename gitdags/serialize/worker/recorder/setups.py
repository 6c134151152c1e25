"""Setup and teardown tasks as context managers, by the rules of Airflow's SetupTeardownContext.

What is made inside is work: its roots come after the setup, its leaves before the teardown. The
teardown of a setup, and the setup of a teardown, are looked for along their edges.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .graph import connect, task_of


class Scope:
    """One ``with`` block over setup or teardown tasks."""

    open: list[Scope] = []

    def __init__(self, tasks: list[Any]) -> None:
        self.tasks = tasks
        self.work: list[Any] = []
        first = tasks[0]
        self.setups = tasks if first.is_setup else _find(first, "upstream_task_ids", "is_setup")
        self.teardowns = (
            tasks if first.is_teardown else _find(first, "downstream_task_ids", "is_teardown")
        )

    @classmethod
    def add(cls, task: Any) -> None:
        """Note a task that was made while blocks are open: it is work of the innermost one."""
        if cls.open and not task.is_setup and not task.is_teardown:
            cls.open[-1].work.append(task)

    @classmethod
    def add_task(cls, task: Any) -> None:
        """As Airflow's context has it: a task made elsewhere joins the block."""
        cls.add(task_of(task))

    @classmethod
    def enter(cls, tasks: list[Any]) -> type[Scope]:
        """Open a block."""
        if not tasks or any(not (t.is_setup or t.is_teardown) for t in tasks):
            raise RuntimeError("Only setup/teardown tasks can be used as context managers.")
        cls.open.append(Scope(tasks))
        return cls

    @classmethod
    def leave(cls) -> None:
        """Close the innermost block: edges around its work, and to the block around it."""
        scope = cls.open.pop()
        work = [task for task in scope.work if not task.is_setup and not task.is_teardown]
        if work:
            roots = [task for task in work if not task.upstream_task_ids] or work[:1]
            leaves = [task for task in work if not task.downstream_task_ids] or work[-1:]
            _all(scope.setups, roots)
            _all(leaves, scope.teardowns)
        if cls.open:
            outer = cls.open[-1]
            _all(outer.setups, scope.setups)
            _all(scope.teardowns, outer.teardowns)


def _all(before: Iterable[Any], after: Iterable[Any]) -> None:
    for one in before:
        for other in after:
            connect(one, other)


def _find(task: Any, way: str, what: str) -> list[Any]:
    """The nearest setups or teardowns reached from a task."""
    seen, layer = {task.task_id}, sorted(getattr(task, way))
    while layer:
        nodes = [task.dag.task_dict[key] for key in layer if key not in seen]
        seen.update(layer)
        found = [node for node in nodes if getattr(node, what)]
        if found:
            return found
        layer = sorted(
            {key for n in nodes for key in n.upstream_task_ids | n.downstream_task_ids} - seen
        )
    return []


class ContextWrapper(list):  # type: ignore[type-arg]
    """``with context_wrapper([a, b])``: several setups or teardowns at once."""

    def __init__(self, tasks: Iterable[Any]) -> None:
        super().__init__(tasks)

    def __enter__(self) -> type[Scope]:
        return Scope.enter([task_of(task) for task in self])

    def __exit__(self, *_: Any) -> None:
        Scope.leave()
