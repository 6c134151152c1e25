"""Which Airflow a commit is for: requirements first, then what its DAG files use."""

from __future__ import annotations

import pytest

from gitdags import git
from gitdags.serialize.era import Eras
from gitdags.serialize.worker.recorder import era
from tests.conftest import Repo


def of(repo: Repo, sha: str) -> str:
    opened = git.Repository(repo.path)
    tree = opened.commit(sha).tree
    files = [entry.oid for path, entry in opened.walk(tree) if path.endswith(b".py")]
    return Eras(opened).of(tree, files)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("requirements.txt", "pandas==1\napache-airflow[celery, google]==2.3.4\n", "2.3.4"),
        ("requirements.in", "apache_airflow ~= 2.9.1", "2.9.1"),
        ("constraints.txt", "apache-airflow==1.10.15\n", "1.10.15"),
        ("pyproject.toml", 'dependencies = ["apache-airflow-core==3.0.6"]', "3.0.6"),
        ("pyproject.toml", 'apache-airflow = {version = "^2.7.3", extras = ["http"]}', "2.7.3"),
        ("poetry.lock", '[[package]]\nname = "apache-airflow"\nversion = "2.8.4"\n', "2.8.4"),
        ("Pipfile.lock", '{"apache-airflow": {"hashes": [], "version": "==2.2.5"}}', "2.2.5"),
        ("Dockerfile", "FROM apache/airflow:slim-2.10.5-python3.11\n", "2.10.5"),
        ("Dockerfile", "FROM puckel/docker-airflow:1.10.9\n", "1.10.9"),
        ("docker/Dockerfile", "ARG AIRFLOW_VERSION=2.6.3\n", "2.6.3"),
        ("Dockerfile", "FROM quay.io/astronomer/astro-runtime:9.1.0\n", "2.7.3"),
        ("Dockerfile", "FROM astrocrpublic.azurecr.io/runtime:3.1-4\n", "3.1"),
        ("docker-compose.yml", "image: ${IMAGE:-apache/airflow:2.5.1}", "2.5.1"),
        ("chart/values.yaml", 'airflowVersion: "2.11.0"', "2.11.0"),
        (".env", "AIRFLOW_VERSION=2.4.3", "2.4.3"),
        ("requirements.txt", "apache-airflow-providers-http==4.1.0\n", ""),
        ("a/b/c/requirements.txt", "apache-airflow==2.3.4\n", ""),
    ],
)
def test_pinned(repo: Repo, name: str, text: str, expected: str) -> None:
    assert of(repo, repo.commit({name: text})) == expected


def test_a_lock_file_is_believed_before_an_image(repo: Repo) -> None:
    sha = repo.commit(
        {"Dockerfile": "FROM apache/airflow:2.1.0", "requirements.txt": "apache-airflow==2.9.3"}
    )
    assert of(repo, sha) == "2.9.3"


def test_by_what_all_its_files_use(repo: Repo) -> None:
    first = repo.commit({"dags/a.py": "from airflow import DAG\nDAG('a', schedule_interval=None)"})
    assert of(repo, first) == "~2.10.5"
    old = repo.commit({"dags/b.py": "from airflow.operators.bash_operator import BashOperator"})
    assert of(repo, old) == "~1.10.15"
    new = repo.commit({"dags/b.py": "from airflow.decorators import task\nDAG('b', schedule=None)"})
    assert of(repo, new) == "~2.10.5"
    newest = repo.commit({"dags/c.py": "from airflow.sdk import DAG", "dags/a.py": None})
    assert of(repo, newest) == "~3.3.2"


def test_nothing_speaks_for_any(repo: Repo) -> None:
    assert of(repo, repo.commit({"dags/a.py": "from airflow import DAG"})) == ""


@pytest.mark.parametrize("version", ["1.10.15", "2.2.5", "2.3.4", "2.10.5", "3.3.2"])
def test_picking_gives_a_release_within(version: str) -> None:
    release = (int(version.split(".")[0]), int(version.split(".")[1]))
    assert era.pick(release, release) == version
    assert era.pick(era.FIRST, release) == version
