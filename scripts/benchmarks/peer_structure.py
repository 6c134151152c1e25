"""What Airflow itself makes of DAG files, from 1.10 on. Run by an interpreter that has it.

stdin: {"root", "dags", "files": [path below root], "environ"}. stdout, as JSON: path ->
{"error"} or {"dags": {dag_id: {"tasks", "edges", "groups", "schedule"}}}. A child per file.
"""

import importlib
import inspect
import json
import os
import re
import sys
import tempfile

given = json.load(sys.stdin)
root, dags = given["root"], os.path.join(given["root"], given["dags"])
home = tempfile.mkdtemp(prefix="gitdags-bench-")
os.environ.update(
    AIRFLOW_HOME=home,
    AIRFLOW__CORE__DAGS_FOLDER=dags,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__CORE__SQL_ALCHEMY_CONN="sqlite:///" + home + "/airflow.db",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:///" + home + "/airflow.db",
    AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT="120",
    AIRFLOW__CORE__PLUGINS_FOLDER=os.path.join(root, "plugins"),
    AIRFLOW__LOGGING__LOGGING_LEVEL="CRITICAL",
    AIRFLOW__CORE__LOGGING_LEVEL="CRITICAL",
)
os.environ.update(given["environ"])
sys.stdout.flush()
kept = os.dup(1)  # Airflow and DAG files print
os.dup2(2, 1)

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
try:
    from airflow.secrets.metastore import MetastoreBackend

    for _name in ("get_variable", "get_connection", "get_connections", "get_conn_value"):
        if hasattr(MetastoreBackend, _name):
            setattr(MetastoreBackend, _name, lambda *a, **k: None)
except ImportError:
    pass

for _folder in (dags, os.path.join(root, "plugins"), os.path.join(dags, "..", "plugins"), root):
    if _folder not in sys.path:
        sys.path.append(_folder)
os.chdir(root)

_TIMETABLES = {
    "NullTimetable": "none", "OnceTimetable": "once", "ContinuousTimetable": "continuous",
    "CronDataIntervalTimetable": "cron", "CronTriggerTimetable": "cron",
    "DeltaDataIntervalTimetable": "timedelta", "DeltaTriggerTimetable": "timedelta",
    "AssetTriggeredTimetable": "assets", "DatasetTriggeredTimetable": "assets",
}  # fmt: skip


def label(dag, start, end):
    info = getattr(dag, "edge_info", None)
    if info is None:
        return None

    def around(task):
        group = getattr(task, "task_group", None)
        while group is not None and group.group_id is not None:
            yield group
            group = group.parent_group

    for above in [start.task_id] + [g.downstream_join_id for g in around(start)]:
        for below in [end.task_id] + [g.upstream_join_id for g in around(end)]:
            found = info.get(above, {}).get(below, {}).get("label")
            if found is not None:
                return found
    return None


def groups(group):
    found = []
    for child in group.children.values():
        if hasattr(child, "children"):
            found.append(child.group_id)
            found += groups(child)
    return found


def schedule(dag):
    timetable = getattr(dag, "timetable", None)
    if timetable is None:
        own = (
            dag.normalized_schedule_interval
            if hasattr(dag, "normalized_schedule_interval")
            else dag._schedule_interval
        )
        if own is None:
            return ["once" if dag.schedule_interval == "@once" else "none", None]
        return ["cron", own] if isinstance(own, str) else ["timedelta", own.total_seconds()]
    kind = _TIMETABLES.get(type(timetable).__name__, "timetable")
    if kind == "cron":
        return [
            kind,
            getattr(timetable, "_expression", None) or getattr(timetable, "expression", None),
        ]
    if kind == "timedelta":
        delta = getattr(timetable, "_delta", None) or getattr(timetable, "delta", None)
        return [kind, delta.total_seconds() if hasattr(delta, "total_seconds") else str(delta)]
    if kind == "timetable":
        return [kind, type(timetable).__name__]
    return [kind, None]


def structure(dag):
    tasks = {
        t.task_id: {
            "operator": t.task_type,
            "rule": str(getattr(t.trigger_rule, "value", t.trigger_rule)),
            "mapped": type(t).__name__ in ("MappedOperator", "DecoratedMappedOperator"),
        }
        for t in dag.tasks
    }
    edges = [
        [t.task_id, below, label(dag, t, dag.task_dict[below])]
        for t in dag.tasks
        for below in t.downstream_task_ids
    ]
    group = getattr(dag, "task_group", None) or getattr(dag, "_task_group", None)
    return {
        "tasks": tasks,
        "edges": sorted(edges, key=str),
        "groups": sorted(groups(group)) if group is not None else [],
        "schedule": schedule(dag),
    }


def one(path):
    known = inspect.signature(DagBag.__init__).parameters
    options = {"dag_folder": tempfile.mkdtemp(dir=home)}  # an empty one: nothing is collected
    for name, value in (
        ("include_examples", False),
        ("collect_dags", False),
        ("read_dags_from_db", False),
        ("bundle_path", dags),
    ):
        if name in known:
            options[name] = value
    bag = DagBag(**options)
    bag.process_file(path, only_if_updated=False, safe_mode=False)
    answer = {"dags": {dag.dag_id: structure(dag) for dag in bag.dags.values()}}
    if bag.import_errors:
        answer["error"] = "; ".join(
            str(e).strip().split("\n")[-1] for e in bag.import_errors.values()
        )
    return answer


# What the files name of Airflow is imported once, for all children.
named = set()
for file in given["files"]:
    with open(os.path.join(root, file), "rb") as source:
        text = source.read().decode("utf-8", "replace")
    named.update(
        re.findall(r"^\s*(?:from|import)\s+(airflow[\w.]*|pandas|google[\w.]*)", text, re.M)
    )
for name in sorted(named):
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(name, error)

answers = {}
for file in given["files"]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            found = one(os.path.join(root, file))
        except BaseException as error:
            found = {"dags": {}, "error": type(error).__name__ + ": " + str(error)}
        with os.fdopen(writer, "w") as pipe:
            json.dump(found, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    answers[file] = json.loads(text) if text else {"dags": {}, "error": "ended without a word"}
with os.fdopen(kept, "w") as out:
    json.dump(answers, out)
