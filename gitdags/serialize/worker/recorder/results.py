"""The results of tasks: what stands for them where they are given to others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .graph import Node, references
from .setups import Scope


class XComArg(Node):
    """The result of a task, or what ``map``, ``zip`` and ``concat`` make of several."""

    def __init__(
        self, operator: Any, key: Any = "return_value", kind: str = "", parts: Any = None
    ) -> None:
        self.operator, self.key, self.kind = operator, key, kind
        self.parts: dict[str, Any] = parts or {}

    def references(self) -> list[Any]:
        """The tasks it comes from."""
        return [self.operator] if not self.kind else references(self.parts)

    @property
    def roots(self) -> list[Any]:
        """The tasks it comes from."""
        return self.references()

    leaves = roots

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            raise ValueError(f"XComArg only supports str lookup, received {type(key).__name__}")
        return XComArg(self.operator, key)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("'XComArg' object is not iterable")

    def __str__(self) -> str:
        pull = (
            f"task_ids='{self.operator.task_id}', dag_id='{self.operator.dag_id}', key='{self.key}'"
        )
        return f"{{{{ task_instance.xcom_pull({pull}) }}}}"

    def __repr__(self) -> str:
        return f"XComArg({self.operator!r})"

    def map(self, f: Any) -> Any:
        """Each value through a function."""
        return XComArg(self.operator, kind="map", parts={"arg": self, "callables": [f]})

    def zip(self, *others: Any, fillvalue: Any = None) -> Any:
        """Values side by side."""
        return XComArg(self.operator, kind="zip", parts={"args": [self, *others]})

    def concat(self, *others: Any) -> Any:
        """Values one after the other."""
        return XComArg(self.operator, kind="concat", parts={"args": [self, *others]})

    def as_setup(self) -> Any:
        """Make its task a setup."""
        self.operator.as_setup()
        return self

    def as_teardown(self, **kwargs: Any) -> Any:
        """Make its task a teardown."""
        self.operator.as_teardown(**kwargs)
        return self

    def __enter__(self) -> Any:
        return Scope.enter([self.operator])

    def __exit__(self, *_: Any) -> None:
        Scope.leave()

    def __getattr__(self, name: str) -> Any:
        if name in ("is_setup", "is_teardown", "on_failure_fail_dagrun", "task_id"):
            return getattr(self.operator, name)
        raise AttributeError(f"'XComArg' object has no attribute {name!r}")
