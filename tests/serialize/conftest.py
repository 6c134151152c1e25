"""What the serializer's tests share: pools, catalogs of a module's own, programs run elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.model import RegisteredRepository


@contextmanager
def opened_catalog(
    home: Path, where: Path, python: str, **flags: str
) -> Iterator[tuple[Catalog, RegisteredRepository]]:
    """A catalog in a folder of its own, and a repository registered in it."""
    settings = Settings({"home": str(home), "jobs": "2", "python": python, **flags}, {}, None, None)
    with Catalog(settings) as catalog:
        yield catalog, catalog.registry.add(str(where), name="repo")


def run_in(python: str, code: str, given: Any, folder: Path, **environ: str) -> Any:
    """What a program prints as JSON; it gets its input as JSON, in an interpreter with Airflow."""
    done = subprocess.run(
        [python, "-B", "-W", "ignore", "-c", code],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
            **environ,
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
