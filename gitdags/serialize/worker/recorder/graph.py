"""Nodes and edges: what `>>`, `set_upstream`, labels, groups and `chain` make of a DAG.

The rules are Airflow's (`airflow.sdk.definitions`: mixins, node, taskgroup, edges): an edge to a
group goes to its roots, from a group from its leaves; teardown tasks are no leaves, and what is
before them is. A label between nodes of different groups is kept at the groups' joints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from . import era, notes, standin


class DuplicateTaskIdFound(Exception):
    """Two tasks or groups of one DAG have the same id."""


class AirflowException(Exception):
    """As in Airflow: what it raises of its own."""


class Context:
    """The DAGs and groups whose ``with`` blocks the program is in, the last one innermost."""

    dags: list[Any] = []
    groups: list[Any] = []
    entered: dict[int, Any] = {}
    """every DAG that was ever entered, by identity: from 2.4 on these need no global name"""

    @classmethod
    def clear(cls) -> None:
        """Begin a file."""
        cls.dags.clear()
        cls.groups.clear()
        cls.entered.clear()

    @classmethod
    def dag(cls) -> Any:
        """The innermost DAG, or None."""
        return cls.dags[-1] if cls.dags else None

    @classmethod
    def group(cls, dag: Any) -> Any:
        """The innermost group, or the DAG's own."""
        if cls.groups and (dag is None or cls.groups[-1].dag is dag):
            return cls.groups[-1]
        return dag.task_group if dag is not None else None


def listed(items: Any) -> list[Any]:
    """One node or several, as a list of those that are nodes; stand-ins among them are left out."""
    several = items if isinstance(items, (list, tuple)) else [items]
    if isinstance(items, (set, frozenset)) or type(items).__name__ in ("dict_values", "dict_keys"):
        several = list(items)
    found = []
    for item in several:
        if isinstance(item, Node):
            found.append(item)
        elif isinstance(item, (list, tuple)):
            found += listed(item)
        elif standin.is_standin(item):
            notes.guess(f"{item} is taken to be no task where it stands between tasks")
        elif item is not None:
            raise TypeError(
                f"Relationships can only be set between Operators; received {type(item).__name__}"
            )
    return found


class Node:
    """What can stand beside ``>>``: tasks, groups, results of tasks, labels."""

    @property
    def roots(self) -> list[Any]:
        """The tasks an edge into this leads to."""
        raise NotImplementedError

    @property
    def leaves(self) -> list[Any]:
        """The tasks an edge out of this comes from."""
        raise NotImplementedError

    def set_upstream(self, other: Any, edge_modifier: Any = None) -> None:
        """Other, one or several, before this."""
        for node in listed(other):
            connect(node, self, edge_modifier)

    def set_downstream(self, other: Any, edge_modifier: Any = None) -> None:
        """Other, one or several, after this."""
        for node in listed(other):
            connect(self, node, edge_modifier)

    def __rshift__(self, other: Any) -> Any:
        self.set_downstream(other)
        return other

    def __lshift__(self, other: Any) -> Any:
        self.set_upstream(other)
        return other

    def __rrshift__(self, other: Any) -> Any:
        self.set_upstream(other)
        return self

    def __rlshift__(self, other: Any) -> Any:
        self.set_downstream(other)
        return self


def connect(before: Node, after: Node, label: Any = None) -> None:
    """Edges from the leaves of one to the roots of another, in the DAG they share."""
    # A result hands a label on to its task; a label keeps the results it is given.
    if isinstance(before, EdgeModifier):
        before.set_downstream(task_of(after))
        return
    if isinstance(after, EdgeModifier):
        after.set_upstream(task_of(before))
        return
    sources = before.sources() if isinstance(before, TaskGroup) else before.leaves
    targets = after.roots
    dags = {id(dag): dag for task in (*sources, *targets) if (dag := task.__dict__.get("dag"))}
    if len(dags) > 1:
        names = sorted(str(dag.dag_id) for dag in dags.values())
        raise AirflowException(
            f"Tried to set relationships between tasks in more than one DAG: {', '.join(names)}"
        )
    dag = next(iter(dags.values()), None)
    if dag is None and sources and targets:
        raise AirflowException(
            "Tried to create relationships between tasks that don't have DAGs yet. Set the DAG for "
            f"at least one task and try again: {[t.task_id for t in (*sources, *targets)]}"
        )
    for task in (*sources, *targets):
        if task.__dict__.get("dag") is None and dag is not None:
            dag.add_task(task)
    for source in sources:
        for target in targets:
            source.downstream_task_ids.add(target.task_id)
            target.upstream_task_ids.add(source.task_id)
    if isinstance(after, TaskGroup):  # an empty group hands on what came before it
        after.upstream_task_ids |= {task.task_id for task in sources}
    if label is not None:
        dag = dag or getattr(before, "dag", None)
        if dag is not None:
            starts = [before.downstream_join_id] if isinstance(before, TaskGroup) else _ids(sources)
            ends = [after.upstream_join_id] if isinstance(after, TaskGroup) else _ids(targets)
            for start in starts:
                for end in ends:
                    dag.edge_info[start, end] = label.label


def _ids(tasks: Iterable[Any]) -> list[str]:
    return [task.task_id for task in tasks]


class EdgeModifier(Node):
    """``Label("…")`` between two sides; waits until it has both."""

    def __init__(self, label: Any = None) -> None:
        self.label = label
        self._before: list[Any] = []
        self._after: list[Any] = []

    @property
    def roots(self) -> list[Any]:
        """What comes after the label."""
        return self._after

    @property
    def leaves(self) -> list[Any]:
        """What comes before the label."""
        return self._before

    def set_upstream(self, other: Any, edge_modifier: Any = None) -> None:
        """Take the side before the label."""
        nodes = listed(other)
        self._before += nodes
        self._widen()
        for node in self._after:
            self._join(nodes, [node])

    def set_downstream(self, other: Any, edge_modifier: Any = None) -> None:
        """Take the side after the label."""
        nodes = listed(other)
        self._after += nodes
        self._widen()
        for node in self._before:
            self._join([node], nodes)

    def _widen(self) -> None:
        """With both sides there, and in different groups, tasks stand for their groups: since 2.5."""
        if not (self._before and self._after and era.at_least(2, 5)):
            return
        around = {id(_group_of(node)) for node in (*self._before, *self._after)}
        if len(around) > 1:
            self._before = [_widened(node) for node in self._before]
            self._after = [_widened(node) for node in self._after]

    def _join(self, before: Sequence[Any], after: Sequence[Any]) -> None:
        for start in before:
            for end in after:
                connect(start, end, self)


def task_of(node: Any) -> Any:
    """The task whose result a node is; a node that is no result is itself."""
    return node.operator if "parts" in node.__dict__ else node


def _group_of(node: Any) -> Any:
    return node if isinstance(node, TaskGroup) else task_of(node).__dict__.get("task_group")


def _widened(node: Any) -> Any:
    group = None if isinstance(node, TaskGroup) else node.__dict__.get("task_group")
    return node if group is None or group.is_root else group


class TaskGroup(Node):
    """Tasks and groups under one name."""

    mapped: Any = None

    def __init__(
        self,
        group_id: Any = None,
        prefix_group_id: bool = True,
        parent_group: Any = None,
        dag: Any = None,
        default_args: Any = None,
        tooltip: Any = "",
        ui_color: Any = "CornflowerBlue",
        ui_fgcolor: Any = "#000",
        add_suffix_on_collision: bool = False,
        **kwargs: Any,
    ) -> None:
        self.prefix_group_id = prefix_group_id
        self.children: dict[str, Any] = {}
        self.upstream_task_ids: set[str] = set()
        self.tooltip, self.ui_color, self.ui_fgcolor = tooltip, ui_color, ui_fgcolor
        self.doc_md = kwargs.get("doc_md")
        self.group_display_name = kwargs.get("group_display_name") or ""
        self._group_id = None if group_id is None else str(group_id)
        self.parent_group = None
        self.dag = dag
        self.default_args = dict(default_args or {})
        if self._group_id is None:
            self.used: set[str] = set()
            return
        if parent_group is None:
            self.dag = dag or Context.dag()
            if self.dag is None:
                raise AirflowException("TaskGroup can only be used inside a dag")
            if Context.groups and (dag is None or dag is Context.dag()):
                parent_group = Context.groups[-1]
            else:
                parent_group = self.dag.task_group
        else:
            self.dag = dag or parent_group.dag
        self.parent_group = parent_group
        self.default_args = {**parent_group.default_args, **self.default_args}
        self.used = parent_group.used
        if self.group_id in self.used or self.group_id in self.dag.task_dict:
            if not add_suffix_on_collision:
                raise DuplicateTaskIdFound(
                    f"group_id '{self._group_id}' has already been added to the DAG"
                )
            self._group_id = _suffixed(self._group_id, self.group_id, self.used)
        parent_group.children[self.group_id] = self
        self.used.add(self.group_id)

    @property
    def group_id(self) -> Any:
        """The id with the prefixes of the groups around it; None for a DAG's own."""
        if self._group_id is None or self.parent_group is None:
            return self._group_id
        return self.parent_group.child_id(self._group_id)

    node_id = group_id

    @property
    def is_root(self) -> bool:
        """Whether it is a DAG's own."""
        return self._group_id is None

    @property
    def label(self) -> Any:
        """What it is shown as."""
        return self.group_display_name or self._group_id

    @property
    def task_group(self) -> Any:
        """The group around it."""
        return self.parent_group

    @property
    def upstream_join_id(self) -> str:
        """Where a label on edges into the group is kept."""
        return f"{self.group_id}.upstream_join_id"

    @property
    def downstream_join_id(self) -> str:
        """Where a label on edges out of the group is kept."""
        return f"{self.group_id}.downstream_join_id"

    def child_id(self, label: str) -> str:
        """The id of a member, prefixed if this group prefixes."""
        if self.prefix_group_id and self.group_id:
            return f"{self.group_id}.{label}"
        return label

    def add(self, task: Any) -> Any:
        """Take a task or group that was made outside."""
        old = task.__dict__.get("task_group") if not isinstance(task, TaskGroup) else None
        if old is not None and old is not self:
            old.children.pop(task.node_id, None)
        self.children[task.node_id] = task
        if isinstance(task, TaskGroup):
            task.parent_group = self
        else:
            task.task_group = self
        return task

    def __enter__(self) -> TaskGroup:
        Context.groups.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        Context.groups.pop()
        if self.mapped is not None:
            for task in references(self.mapped.value):
                connect(task, self)

    def __iter__(self) -> Iterator[Any]:
        for child in list(self.children.values()):
            if isinstance(child, TaskGroup):
                yield from child
            else:
                yield child

    def __getitem__(self, label: str) -> Any:
        return self.children[self.child_id(label)]

    def get_child_by_label(self, label: str) -> Any:
        """A member by its id without prefix."""
        return self[label]

    def has_task(self, task: Any) -> bool:
        """Whether a task is in here, at any depth."""
        return any(one is task for one in self)

    @property
    def roots(self) -> list[Any]:
        """Tasks with nothing of the group before them."""
        tasks = list(self)
        ids = {task.task_id for task in tasks}
        return [task for task in tasks if task.upstream_task_ids.isdisjoint(ids)]

    @property
    def leaves(self) -> list[Any]:
        """Tasks with nothing of the group after them; of a teardown, the work before it."""
        tasks = {task.task_id: task for task in self}
        found: dict[str, Any] = {}
        for task in tasks.values():
            if task.downstream_task_ids.isdisjoint(tasks):
                for leaf in [task] if not task.is_teardown else _before_teardown(task, tasks):
                    found[leaf.task_id] = leaf
        return list(found.values())

    def get_roots(self) -> list[Any]:
        """As `roots`."""
        return self.roots

    def get_leaves(self) -> list[Any]:
        """As `leaves`."""
        return self.leaves

    def sources(self) -> list[Any]:
        """Its leaves; of an empty group, what was set before it, or the group's around it."""
        group: Any = self
        while group is not None:
            leaves = list(group.leaves)
            if leaves:
                return leaves
            if group.upstream_task_ids:
                return [self.dag.task_dict[key] for key in sorted(group.upstream_task_ids)]
            group = group.parent_group
        return []


def _before_teardown(task: Any, group: dict[str, Any]) -> Iterator[Any]:
    for key in sorted(task.upstream_task_ids):
        above = group.get(key)
        if above is None:
            continue
        if above.is_teardown:
            yield from _before_teardown(above, group)
        elif not (task.is_teardown and above.is_setup) and not any(
            below != task.task_id and below in group and not group[below].is_teardown
            for below in above.downstream_task_ids
        ):
            yield above


def _suffixed(name: str, whole: str, used: Iterable[str]) -> str:
    """``name__N`` with the next N that is free."""
    base = re.split(r"__\d+$", name)[0]
    stem = re.escape(re.split(r"__\d+$", whole)[0])
    taken = [int(m[1]) for one in used if one and (m := re.match(rf"^{stem}__(\d+)$", one))]
    return f"{base}__{max(taken, default=0) + 1}"


def unique_task_id(task_id: str, dag: Any, group: Any) -> str:
    """The id of a TaskFlow task: a number is appended where the DAG has it already."""
    if dag is None:
        return task_id
    group = group or Context.group(dag)
    whole = group.child_id(task_id) if group is not None else task_id
    if whole not in dag.task_dict:
        return task_id
    return _suffixed(task_id, whole, dag.task_dict)


def references(value: Any, depth: int = 0) -> list[Any]:
    """The tasks whose results stand in a value, at any depth of its containers."""
    found: list[Any] = []
    if depth > 20:
        return found
    own = getattr(type(value), "references", None)
    if own is not None and not isinstance(value, type):
        found += own(value)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            found += references(item, depth + 1)
    elif isinstance(value, dict):
        for item in value.values():
            found += references(item, depth + 1)
    return list({id(task): task for task in found}.values())
