"""Random DAG programs, run by real Airflow and by the recorder: the same structure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitdags.serialize.pool import Limits, Pool, Request, Surroundings
from scripts.benchmarks import structure

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

PROGRAMS = int(os.environ.get("GITDAGS_TEST_PROGRAMS", "0"))
"""How many programs, each time others; 0: the same few each time."""

HEAD = """
from airflow.sdk import DAG, Label, TaskGroup, chain, cross_downstream, task, task_group
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator

@task
def flow(x=None, y=None):
    return x

@task.short_circuit
def gate(x=None):
    return x

@task_group
def grouped(x):
    a = flow(x)
    return flow(a)

with DAG("d", schedule=None, default_args={"retries": 2, "trigger_rule": "all_done"}) as dag:
    nodes = []
    results = []
"""


@st.composite
def programs(draw: st.DrawFn) -> str:
    """The body of a DAG: statements that make nodes and join earlier ones with later ones.

    Edges lead from lower to higher numbers only, so that there is no cycle; names are unique except
    where TaskFlow numbers them itself.
    """
    lines: list[str] = []
    count = 0
    kinds: list[str] = []

    def node(depth: int, indent: str) -> None:
        nonlocal count
        kind = draw(
            st.sampled_from(
                ["empty", "bash", "flow", "flow", "gate", "mapped", "expand", "setup", "grouped"]
                + (["group"] if depth < 3 else [])
            )
        )
        number = count
        if kind == "group":
            prefix = draw(st.booleans())
            lines.append(
                f"{indent}with TaskGroup('g{number}', prefix_group_id={prefix}) as g{number}:"
            )
            lines.append(f"{indent}    EmptyOperator(task_id='in{number}')")
            count += 1
            for _ in range(draw(st.integers(0, 3))):
                node(depth + 1, indent + "    ")
            lines.append(f"{indent}nodes.append(g{number})")
            kinds.append("group")
            return
        count += 1
        given = draw(st.sampled_from(["", "results[-1]"])) if kinds else ""
        argument = f"{given} if results else None" if given else "None"
        text = {
            "empty": f"EmptyOperator(task_id='t{number}', trigger_rule='none_failed')",
            "bash": f"BashOperator(task_id='t{number}', bash_command='x', env={{'a': [{argument}]}})",
            "flow": f"flow({argument}, y=[{argument}])",
            "gate": f"gate({argument})",
            "mapped": f"BashOperator.partial(task_id='t{number}').expand(bash_command=['a', 'b'])",
            "expand": f"flow.partial(y={argument}).expand(x=[1, 2])",
            "setup": f"EmptyOperator(task_id='t{number}').as_setup()",
            "grouped": f"grouped({argument})",
        }[kind]
        lines.append(f"{indent}made = {text}")
        lines.append(f"{indent}nodes.append(made)")
        if kind in ("flow", "gate", "grouped"):
            lines.append(f"{indent}results.append(made)")
        kinds.append(kind)

    for _ in range(draw(st.integers(1, 8))):
        node(0, "    ")
    total = len(kinds)
    for _ in range(draw(st.integers(0, 8))):
        a, b = sorted(draw(st.lists(st.integers(0, total - 1), min_size=2, max_size=2)))
        if a == b or "group" in (kinds[a], kinds[b]):
            # A group's members were numbered inside it: an edge could lead back into it.
            a, b = 0, total - 1
            if total < 2 or kinds[a] == kinds[b] == "group" or a == b:
                continue
        form = draw(
            st.sampled_from(
                [
                    "nodes[{a}] >> nodes[{b}]", "nodes[{b}] << nodes[{a}]", "[nodes[{a}]] >> nodes[{b}]",
                    "nodes[{a}].set_downstream(nodes[{b}])", "nodes[{b}].set_upstream([nodes[{a}]])",
                    "nodes[{a}] >> Label('l') >> nodes[{b}]", "chain(nodes[{a}], nodes[{b}])",
                    "cross_downstream([nodes[{a}]], [nodes[{b}]])", "chain([nodes[{a}]], [nodes[{b}]])",
                ]
            )
        )  # fmt: skip
        lines.append("    " + form.format(a=a, b=b))
    return HEAD + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def pools(
    airflow_python: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pool, Pool, Path]]:
    """Airflow, the recorder in the same interpreter, and a folder for both."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "dags").mkdir()
    with (
        Pool(Surroundings(airflow_python), Limits(), 1) as exact,
        Pool(Surroundings(airflow_python, engine="recorder"), Limits(), 1) as recorder,
    ):
        yield exact, recorder, folder


@given(program=programs())
@settings(
    max_examples=PROGRAMS or 60, deadline=None, derandomize=not PROGRAMS,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_both_engines_see_one_structure(pools: tuple[Pool, Pool, Path], program: str) -> None:
    exact, recorder, folder = pools
    (folder / "dags" / "a.py").write_text(program)
    request = Request(folder, b"dags/a.py", (), "3.3.2")
    theirs, mine = (next(pool.run([request])) for pool in (exact, recorder))
    assert [e["type"] for e in mine.errors] == [e["type"] for e in theirs.errors], program
    found = [
        {d["document"]["dag_id"]: _plain(d["document"]) for d in outcome.dags}
        for outcome in (theirs, mine)
    ]
    assert found[1] == found[0], program


def _plain(document: dict[str, object]) -> dict[str, object]:
    plain = structure.of_document(document)
    plain["edges"] = sorted(plain["edges"], key=str)
    return plain
