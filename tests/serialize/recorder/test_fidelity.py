"""Airflow's own example DAGs, by the Airflow they came with and by the recorder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.benchmarks import structure

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.mark.parametrize("version", ["3.3.2", "2.11.0"])
def test_the_examples_of_a_release(
    request: pytest.FixtureRequest, real_history: Path, tmp_path: Path, version: str
) -> None:
    name = "airflow_python" if version[0] == "3" else "airflow_2_python"
    python = request.getfixturevalue(name)
    packed = subprocess.run(
        ["git", "-C", real_history, "archive", version], check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", tmp_path], input=packed.stdout, check=True)
    files = structure.dag_files(tmp_path, "dags")
    truth = structure.by_airflow(python, tmp_path, "dags", files, {})
    found = structure.score(truth, structure.by_recorder(tmp_path, "dags", files, {}, version))
    assert found.files > 40
    assert found.found == found.files
    # Every miss is explained by name.
    assert {dag_id for _, dag_id, _ in found.misses} <= structure.EXPLAINED.keys()
    assert found.share("identical") >= 0.97 or version == "2.11.0"
    assert found.identical >= found.dags - len(structure.EXPLAINED)
    assert found.schedules == found.dags
    assert found.details == found.operators == found.identical


@pytest.mark.parametrize("release", ["1.10.15", "2.0.2", "2.5.3", "2.8.4", "3.1.8"])
def test_the_examples_of_any_release_without_airflow(
    real_history: Path, tmp_path: Path, release: str
) -> None:
    """Every file that holds a DAG, by its words, yields one."""
    packed = subprocess.run(
        ["git", "-C", real_history, "archive", release], check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", tmp_path], input=packed.stdout, check=True)
    files = structure.dag_files(tmp_path, "dags")
    outcomes = structure.by_recorder(tmp_path, "dags", files, {}, release)
    errors = {f: [e["message"] for e in one.errors] for f, one in outcomes.items() if one.errors}
    assert errors == {}
    with_dags = sum(bool(outcome.dags) for outcome in outcomes.values())
    assert with_dags > 0.75 * len(files)
