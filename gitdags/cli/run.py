"""gitdags run: start a run of a DAG at a commit."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime

from gitdags.cli.context import Context
from gitdags.cli.words import add_airflow, add_dag, add_revision
from gitdags.errors import UsageError, shown


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_dag(parser)
    add_revision(parser, "--at", "the commit", required=True)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--airflow-api",
        metavar="URL",
        help="where Airflow's pages are: http://user:pw@host:8080; default: setting airflow_api",
    )
    how.add_argument(
        "--unsupported",
        action="store_true",
        help="write the run into Airflow's database with Airflow's own code, which Airflow does not "
        "support: on a host of Airflow's, in its scheduler's environment",
    )
    parser.add_argument("--run-id", metavar="ID", help="default: gitdags__TIME")
    parser.add_argument("--conf", metavar="JSON", default="{}", help="the run's configuration")
    add_airflow(parser)


def run(context: Context, args: argparse.Namespace) -> int:
    """The run id and its commit. Workers take the DAG's file from that commit."""
    from gitdags.airflow import launch
    from gitdags.airflow_api import AirflowApi

    url = args.airflow_api or context.settings["airflow_api"]
    if not url and not args.unsupported:
        raise UsageError(
            "which Airflow? Give --airflow-api, or --unsupported on a host of Airflow's",
            hint=f"gitdags run {shown(args.dag)} --at {shown(args.at)} --airflow-api http://…:8080",
        )
    catalog, repo = context.catalog, context.repository
    commit = catalog.resolve(repo, args.at).commit
    shown_document = catalog.document(repo, args.dag, commit)
    if shown_document.stale_from is not None:
        raise launch.CannotLaunch(
            f"{args.dag} fails to import at {commit[:12]}",
            hint=f"gitdags show {shown(args.dag)} --at {commit[:12]}",
        )
    wanted = launch.Launch(
        dag_id=args.dag,
        run_id=args.run_id or f"gitdags__{datetime.now(UTC).isoformat()}",
        commit=commit,
        conf=_conf(args.conf),
        file=shown_document.row.file,
        downstream={
            task["task_id"]: tuple(task["downstream"]) for task in shown_document.document["tasks"]
        },
    )
    if args.unsupported:
        context.note(
            "this writes to Airflow's database past its API, which Airflow does not support"
        )
        run_id, notes = launch.by_hand(context.settings["python"] or sys.executable, wanted)
        for note in notes:
            context.note(note)
    else:
        run_id = launch.by_api(AirflowApi(url, context.settings["airflow_token"]), wanted)
    airflow = args.airflow or context.settings["airflow_name"]
    told = {"airflow": airflow, "dag_id": args.dag, "run_id": run_id, "repo": repo.name}
    catalog.spool.append(
        {"kind": "stamp", **told, "commit": commit, "state": "queued", "source": "manual"}
    )
    if context.json:
        context.write_json({**told, "commit": commit})
    else:
        context.out.print(f"{args.dag} {run_id}: queued, pinned to {commit[:12]}")
    return 0


def _conf(text: str) -> dict[str, object]:
    try:
        conf = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--conf is no JSON: {error}", hint="--conf '{}'") from None
    if not isinstance(conf, dict):
        raise UsageError("--conf is no JSON object", hint="--conf '{}'")
    return conf
