"""Airflow's serialized DAGs compared: what is of the DAG counts, what is of the place does not."""

from __future__ import annotations

import copy

from gitdags.executed import differences
from gitdags.model import Difference

DAG = {
    "__version": 3,
    "dag": {
        "dag_id": "sales",
        "fileloc": "/opt/airflow/dags/sales.py",
        "tags": ["b", "a"],
        "default_args": {"__type": "dict", "__var": {"retries": 2}},
        "tasks": [
            {"__type": "operator", "__var": {"task_id": "load", "downstream_task_ids": ["x", "y"]}},
            {"__type": "operator", "__var": {"task_id": "x", "_task_type": "BashOperator"}},
        ],
    },
}


def test_the_same() -> None:
    assert differences(DAG, copy.deepcopy(DAG)) == []


def test_places_and_orders_without_meaning() -> None:
    other = copy.deepcopy(DAG)
    other["dag"]["fileloc"] = "/elsewhere"  # type: ignore[index]
    other["dag"]["tags"].reverse()  # type: ignore[index]
    other["dag"]["tasks"].reverse()  # type: ignore[index]
    assert differences(DAG, other) == []


def test_what_differs_is_named_by_its_path() -> None:
    other = copy.deepcopy(DAG)
    other["dag"]["default_args"]["__var"]["retries"] = 3  # type: ignore[index]
    other["dag"]["tasks"][1]["__var"]["_task_type"] = "EmptyOperator"  # type: ignore[index]
    assert differences(DAG, other) == [
        Difference("default_args.retries", 2, 3),
        Difference("tasks.x._task_type", "BashOperator", "EmptyOperator"),
    ]


def test_of_two_that_have_nothing_in_common_not_everything_is_told() -> None:
    many = {"dag": {str(n): n for n in range(1_000)}}
    assert len(differences(many, {"dag": {}})) == 200


def test_what_is_no_dag() -> None:
    assert differences(None, None) == []
    assert differences([1], "x") == [Difference("", [1], "x")]
