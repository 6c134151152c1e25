"""Starting a warm parser: its environment, its configuration, its sandbox, its control socket."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from gitdags.errors import shown
from gitdags.serialize import sandbox
from gitdags.serialize.request import Limits, NoAirflow, Surroundings
from gitdags.serialize.sandbox import WORKER

_AIRFLOW = {
    "PYTHON_OPERATORS_VIRTUAL_ENV_MODE": "1",  # Airflow's word for: set up no database
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "0",  # ours is outside, where it holds
    "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "40",
    "AIRFLOW__CORE__MAX_TEMPLATED_FIELD_LENGTH": str(1 << 30),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite://",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
}


def start(
    surroundings: Surroundings, limits: Limits, home: Path
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """(process, control socket) of a parser that has begun to import. Raises NoAirflow.

    What it says before it is ready goes to ``worker.log`` in ``home``. Its configuration is on a
    descriptor: no file holds it.
    """
    program = shutil.which(surroundings.python)
    if program is None:
        raise _cannot_run(surroundings.python, "there is no such program")
    own = {"PYTHONHASHSEED": surroundings.hash_seed, "AIRFLOW_HOME": str(home)}
    command = sandbox.command(
        surroundings.confinement, home, surroundings.trees, surroundings.readable
    )
    config = json.dumps(_config(surroundings, limits, home)).encode()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    told = os.memfd_create("config", os.MFD_CLOEXEC)
    try:
        with open(told, "wb", closefd=False) as file:
            file.write(config)
        os.lseek(told, 0, os.SEEK_SET)
        with (home / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, program, "-s", "-B", str(WORKER), str(theirs.fileno()), str(told)],
                env=sandbox.environment(home, own | _AIRFLOW),
                pass_fds=[theirs.fileno(), told],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home,
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        raise _cannot_run(surroundings.python, str(error.strerror)) from None
    finally:
        theirs.close()
        os.close(told)
    return process, ours


def _config(surroundings: Surroundings, limits: Limits, home: Path) -> dict[str, Any]:
    """What the worker is told, in the names that it uses."""
    confinement = surroundings.confinement
    return {
        "engine": surroundings.engine,
        "timeout": limits.timeout,
        "memory": limits.memory,
        "processes": sandbox.processes(confinement, limits.processes),
        "disk": limits.disk,
        "dags_folder": surroundings.dags_folder,
        "plugins_folder": surroundings.plugins_folder,
        "plugins": surroundings.plugins,
        "environ": dict(surroundings.environ),
        "sandbox": sandbox.settings(
            confinement, home, surroundings.trees, surroundings.readable, limits.disk
        ),
    }


def _cannot_run(python: str, reason: str) -> NoAirflow:
    return NoAirflow(
        f"cannot run {shown(python)}: {reason}", hint="gitdags -c python=/path/to/python config"
    )
