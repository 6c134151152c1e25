"""Starting a run pinned to a commit: by Airflow's API where that can, else past it.

Airflow 3.3.2 pins a run to the bundle version it last parsed, and its API takes no other. What happens
past the API is done by Airflow's own code in Airflow's own interpreter (`launch_script`).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from gitdags.airflow_api import AirflowApi
from gitdags.errors import GitdagsError, shown
from gitdags.model import Json

_BODY = "TriggerDAGRunPostBody"
_FIELD = "bundle_version"
_SCRIPT = Path(__file__).parent / "launch_script.py"


class CannotPin(GitdagsError):
    """Airflow does not take a commit for a new run."""


class CannotLaunch(GitdagsError):
    """Airflow did not make the run."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A run to be made. ``file`` and ``downstream`` are the DAG's at that commit."""

    dag_id: str
    run_id: str
    commit: str
    conf: Mapping[str, Json]
    file: str
    """path in the repository"""
    downstream: Mapping[str, tuple[str, ...]]
    """task -> the tasks after it: what of Airflow's stored versions of the DAG must agree"""


def by_api(api: AirflowApi, launch: Launch) -> str:
    """Make the run by Airflow's API; its run id. Raises CannotPin where the API takes no version."""
    if _FIELD not in api.fields(_BODY):
        raise CannotPin(
            f"Airflow at {api.url} takes no bundle version for a new run: its API always starts what "
            "it parsed last",
            hint=f"gitdags run {shown(launch.dag_id)} --at {launch.commit[:12]} --unsupported"
            "   # on a host of Airflow's",
        )
    body = {
        "dag_run_id": launch.run_id, "logical_date": None, "conf": dict(launch.conf),
        _FIELD: launch.commit,
    }  # fmt: skip
    made = api.call("POST", f"dags/{quote(launch.dag_id, safe='')}/dagRuns", body)
    if made.get(_FIELD) != launch.commit:
        raise CannotLaunch(
            f"Airflow made {shown(made['dag_run_id'])}, but at {made.get(_FIELD)}",
            hint=f"gitdags runs {shown(launch.dag_id)}",
        )
    return str(made["dag_run_id"])


def by_hand(python: str, launch: Launch) -> tuple[str, list[str]]:
    """Make the run in Airflow's database, with the Airflow of an interpreter; (run id, what to note).

    The environment must be that of Airflow's scheduler. Raises CannotLaunch.
    """
    done = subprocess.run(
        [python, str(_SCRIPT)],
        input=json.dumps(asdict(launch)),
        capture_output=True,
        text=True,
        check=False,
    )
    last = (done.stdout.strip().splitlines() or [""])[-1]
    try:
        answer = json.loads(last)
    except ValueError:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise CannotLaunch(
            f"Airflow in {python} failed: {shown(why, 300)}", hint=f"{python} -m airflow db check"
        ) from None
    if "error" in answer:
        raise CannotLaunch(answer["error"], hint=answer.get("hint", ""))
    return str(answer["run_id"]), list(answer["notes"])
