"""Makes a run pinned to a commit with Airflow's own code: its scheduler and workers do the rest.

A program of its own, in no need of gitdags: a Launch as JSON on stdin, one line of JSON on stdout,
``{"run_id", "notes"}`` or ``{"error", "hint"}``. Nothing is written unless everything fits: that Airflow
has the DAG with these tasks and edges, the bundle has the commit, and the file is where Airflow will
look for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

# This folder holds modules with names such as `plugin`, which are for nobody to import from here.
sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]


class Refused(Exception):
    """Why there is no run: message, hint."""


def main() -> int:
    """Read, make, answer."""
    launch = json.load(sys.stdin)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Airflow logs to stdout
            answer = make(launch)
    except Refused as error:
        answer = {"error": error.args[0], "hint": error.args[1]}
    print(json.dumps(answer))
    return 0


def make(launch: dict[str, Any]) -> dict[str, Any]:
    """The run, committed. Raises Refused."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbag import DBDagBag
    from airflow.utils.session import create_session

    with create_session() as session:
        model = session.get(DagModel, launch["dag_id"])
        if model is None or model.is_stale:
            raise Refused(f"Airflow has no DAG {launch['dag_id']!r}", "airflow dags list")
        look_at_file(model, launch)
        bag = DBDagBag()
        version, dag = matching(bag, launch, session)
        run = create(dag, launch, session)
        # What the API does not take: workers get the bundle at this version.
        run.bundle_version = launch["commit"]
        run.created_dag_version = version
        for instance in run.get_task_instances(session=session):
            instance.dag_version_id = version.id
        notes = ["the DAG is paused: the run waits until it is not"] if model.is_paused else []
        return {"run_id": run.run_id, "notes": notes}


def look_at_file(model: Any, launch: dict[str, Any]) -> None:
    """See that a worker will find the DAG's file. Raises Refused."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    try:
        bundle = DagBundlesManager().get_bundle(model.bundle_name, version=launch["commit"])
        bundle.initialize()
    except Exception as error:
        raise Refused(
            f"bundle {model.bundle_name} has no commit {launch['commit'][:12]}: {error}",
            "airflow config get-value dag_processor dag_bundle_config_list",
        ) from None
    if not (bundle.path / model.relative_fileloc).is_file():
        raise Refused(
            f"Airflow would look for {model.relative_fileloc}, but at {launch['commit'][:12]} the DAG "
            f"is in {launch['file']}, which Airflow cannot be told",
            f"gitdags log {launch['dag_id']}",
        )


def matching(bag: Any, launch: dict[str, Any], session: Any) -> tuple[Any, Any]:
    """The DagVersion, and its DAG, whose tasks and edges are the commit's; one of that very commit first.

    The scheduler goes by it. Raises Refused.
    """
    from airflow.models.dag_version import DagVersion
    from sqlalchemy import select

    wanted = {task: sorted(after) for task, after in launch["downstream"].items()}
    query = (
        select(DagVersion)
        .where(DagVersion.dag_id == launch["dag_id"])
        .order_by(DagVersion.version_number.desc())
    )
    versions = session.scalars(query).all()
    for version in sorted(versions, key=lambda v: v.bundle_version != launch["commit"]):
        dag = bag.get_dag(version_id=version.id, session=session)
        if dag is None:
            continue
        found = {t.task_id: sorted(t.downstream_task_ids) for t in dag.task_dict.values()}
        if found == wanted:
            return version, dag
    raise Refused(
        f"Airflow never had {launch['dag_id']} with the tasks and edges it has at "
        f"{launch['commit'][:12]}, and could not schedule it",
        f"gitdags show {launch['dag_id']} --at {launch['commit'][:12]}",
    )


def create(dag: Any, launch: dict[str, Any], session: Any) -> Any:
    """The run as Airflow makes a manual one. Raises Refused."""
    from airflow._shared.timezones import timezone
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import select

    taken = select(DagRun.id).where(
        DagRun.dag_id == launch["dag_id"], DagRun.run_id == launch["run_id"]
    )
    if session.scalar(taken) is not None:
        raise Refused(
            f"{launch['dag_id']} has a run {launch['run_id']!r} already",
            f"gitdags runs {launch['dag_id']}",
        )
    try:
        return dag.create_dagrun(
            run_id=launch["run_id"],
            run_after=timezone.utcnow(),
            conf=launch["conf"],
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.CLI,
            state=DagRunState.QUEUED,
            session=session,
        )
    except ValueError as error:  # a run id or params that Airflow does not take
        raise Refused(str(error), f"gitdags run {launch['dag_id']} --help") from None


if __name__ == "__main__":
    sys.exit(main())
