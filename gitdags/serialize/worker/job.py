"""The child: limits and surroundings first, then one DAG file, then its result, then gone."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from typing import Any, NoReturn

from . import confine, describe, kernel, trace

_RESULT_FD = 3


def run(
    airflow: Any,
    config: dict[str, Any],
    confinement: confine.Confinement,
    message: dict[str, Any],
    result: int,
    output: int,
) -> NoReturn:
    """Parse ``message["file"]`` below ``message["root"]`` and write JSON to the result pipe.

    The JSON is ``{"dags": [{"document", "airflow", "guesses", "placeholders"}], "errors": [{"type",
    "message", "traceback"}], "opened": [path], "modules": [name]}``, ``modules`` being those of
    Airflow that it had to import. Exits 0 once it is written, 1 when it could not be.
    """
    status = 1
    try:
        _detach(result, output)
        confinement.enter(message["root"], message["scratch"])
        _limit(config)
        _surround(airflow, config, message)
        answer = _parse(airflow, message)
        data = json.dumps(answer).encode()
        with os.fdopen(_RESULT_FD, "wb") as pipe:
            pipe.write(data)
        status = 0
    except BaseException:  # of whatever kind: a child must never go on as a second parent
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace")[-8192:])
    finally:
        sys.stdout.flush()
        os._exit(status)


def _detach(result: int, output: int) -> None:
    os.setsid()
    kernel.die_with_parent(signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    # Airflow registers a Python handler for SIGSEGV, which never runs and makes the faulting
    # instruction repeat until the deadline. Refuse handlers for faults.
    register = signal.signal
    faults = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)

    def guarded(number: int, handler: Any) -> Any:
        return None if number in faults else register(number, handler)

    signal.signal = guarded  # type: ignore[assignment]  # the stub knows enums only
    null = os.open(os.devnull, os.O_RDWR)
    highest = max(result, output, null)
    kept = os.dup2(result, highest + 1, inheritable=False)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(kept, _RESULT_FD, inheritable=False)
    os.closerange(_RESULT_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _limit(config: dict[str, Any]) -> None:
    cpu = int(config["timeout"]) + 2  # the other side counts wall time; this is the second net
    for which, value in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, config["memory"]),
        (resource.RLIMIT_FSIZE, 64 << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 1024),
        (resource.RLIMIT_NPROC, config["processes"]),
    ):
        if value == resource.RLIM_INFINITY:
            continue
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def _surround(airflow: Any, config: dict[str, Any], message: dict[str, Any]) -> None:
    """Make the commit's tree look like a deployment: AIRFLOW_HOME, sys.path, working directory."""
    root = message["root"]
    dags = os.path.join(root, config["dags_folder"])
    os.environ.pop("PYTHON_OPERATORS_VIRTUAL_ENV_MODE", None)
    os.environ.update(config["environ"])
    os.environ["AIRFLOW_HOME"] = root
    os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = dags
    os.environ["TMPDIR"] = message["scratch"]
    tempfile.tempdir = None
    plugins = os.path.join(root, config["plugins_folder"]) if config["plugins"] else None
    airflow.place(root, dags, plugins)
    for folder in (dags, plugins, root):  # appended, as Airflow does: libraries come first
        if folder and folder not in sys.path:
            sys.path.append(folder)
    sys.dont_write_bytecode = True
    os.chdir(root)
    gc.enable()
    gc.set_threshold(100_000, 50, 1000)  # a parse is short, and seldom makes garbage


def _parse(airflow: Any, message: dict[str, Any]) -> dict[str, Any]:
    root, path = message["root"], os.path.join(message["root"], message["file"])
    before = set(sys.modules)
    witness = trace.Trace(root)
    dags, errors = airflow.parse(path, message["era"])
    opened = witness.stop()
    found = []
    for dag in dags:
        try:
            found.append(_describe(airflow, dag, root, path))
        except BaseException as error:  # of the DAG's own objects; the file's other DAGs stand
            errors.append(
                {
                    "type": type(error).__name__,
                    "message": f"DAG {dag.dag_id}: {error}",
                    "traceback": traceback.format_exc(),
                }
            )
    new = [name for name in sys.modules if name not in before]
    if airflow.exact:
        modules = [name for name in new if name.startswith("airflow.")]
    else:  # those of Airflow's are stand-ins of this file's own
        modules = [
            n for n in new if n in airflow.welcome and getattr(sys.modules[n], "__file__", None)
        ]
    return {"dags": found, "errors": errors, "opened": opened, "modules": modules}


def _describe(airflow: Any, dag: Any, root: str, path: str) -> dict[str, Any]:
    if not airflow.exact:
        return airflow.describe(dag, root, path)  # type: ignore[no-any-return]  # the recorder's
    own = airflow.serialize(dag)
    return {
        "document": describe.dag(dag, airflow, root, path),
        "airflow": own,
        "guesses": [],
        "placeholders": [],
    }
