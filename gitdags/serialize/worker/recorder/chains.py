"""``chain``, ``chain_linear`` and ``cross_downstream``."""

from __future__ import annotations

from typing import Any

from . import standin
from .graph import AirflowException, Node


def chain(*tasks: Any) -> None:
    """Each before the next; two lists of one length in pairs."""
    for before, after in zip(tasks, tasks[1:]):
        if isinstance(before, Node):
            before.set_downstream(after)
        elif isinstance(after, Node):
            after.set_upstream(before)
        elif isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
            if len(before) != len(after):
                raise AirflowException(
                    "Chain not supported for different length Iterable. "
                    f"Got {len(before)} and {len(after)}."
                )
            for up, down in zip(before, after):
                up.set_downstream(down)
        elif not (standin.is_standin(before) or standin.is_standin(after)):
            raise TypeError(
                f"Chain not supported between {type(before).__name__} and {type(after).__name__}"
            )


def chain_linear(*elements: Any) -> None:
    """Every one of an element before every one of the next."""
    for before, after in zip(elements, elements[1:]):
        for task in [before] if isinstance(before, Node) else before:
            task >> after


def cross_downstream(from_tasks: Any, to_tasks: Any) -> None:
    """Every one of the first before every one of the second."""
    for task in from_tasks:
        task.set_downstream(to_tasks)
