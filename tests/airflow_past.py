"""Fills a real metadata database of Airflow 3 with two runs: run by the tests, in a process of its own."""

import os
import sys
from pathlib import Path

home, folder, sha = sys.argv[1:]
os.environ |= {
    "AIRFLOW_HOME": home,
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": folder,
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
}

from airflow._shared.timezones import timezone  # noqa: E402 - after the settings above
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db  # noqa: E402
from airflow.models.dagbag import DBDagBag  # noqa: E402
from airflow.models.dagbundle import DagBundleModel  # noqa: E402
from airflow.utils.db import initdb  # noqa: E402
from airflow.utils.session import create_session  # noqa: E402
from airflow.utils.state import DagRunState  # noqa: E402
from airflow.utils.types import DagRunTriggeredByType, DagRunType  # noqa: E402

with create_session() as session:
    initdb(session=session)
with create_session() as session:
    session.add(DagBundleModel(name="dags"))
bag = BundleDagBag(dag_folder=folder, bundle_path=Path(folder), bundle_name="dags", safe_mode=False)
sync_bag_to_db(bag, "dags", sha)
with create_session() as session:
    for run_id, version, state in (("versioned", sha, "success"), ("plain", None, "failed")):
        dag = DBDagBag().get_latest_version_of_dag("sales", session=session)
        run = dag.create_dagrun(
            run_id=run_id,
            run_after=timezone.utcnow(),
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.REST_API,
            state=DagRunState.QUEUED,
            session=session,
        )
        run.bundle_version, run.start_date, run._state = version, timezone.utcnow(), state
