"""How people name what documents hold. Pure."""

from __future__ import annotations


def operator_name(operator: str) -> str:
    """An operator as its author wrote it: TaskFlow's classes as the decorators they are behind."""
    if operator.startswith("_") and operator.endswith("DecoratedOperator"):
        kind = operator[1:].removesuffix("DecoratedOperator")
        return "@task" if kind == "Python" else f"@task ({kind})"
    return operator
