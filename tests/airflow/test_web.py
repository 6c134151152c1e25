"""Pages inside the real API server of Airflow, whose auth manager says who sees what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.web.conftest import World, world

__all__ = ["world"]
pytestmark = [pytest.mark.airflow, pytest.mark.slow]

MANAGER = '''
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

class Manager(SimpleAuthManager):
    """As the simple one, but nobody named bob sees the DAG "hostile", or the code of all DAGs."""

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if user.get_name() == "bob" and (details is None or details.id in (None, "hostile")):
            return False
        asked = {"method": method, "user": user, "access_entity": access_entity, "details": details}
        return super().is_authorized_dag(**asked)
'''


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, world: World) -> Iterator[str]:
    """The address of an API server that has the plugin."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "own_manager.py").write_text(MANAGER)
    (home / "passwords.json").write_text(json.dumps({"ada": "a", "bob": "b"}))
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(home), "AIRFLOW_HOME": str(home), "PYTHONPATH": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__AUTH_MANAGER": "own_manager.Manager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ada:admin,bob:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "GITDAGS_HOME": str(world.home), "GITDAGS_AIRFLOW_WEB": "true",
    }  # fmt: skip
    program = Path(sys.executable).with_name("airflow")
    subprocess.run([program, "db", "migrate"], env=environ, check=True, capture_output=True)
    port = free_port()
    log = (home / "api.log").open("wb")
    process = subprocess.Popen(
        [program, "api-server", "--port", str(port), "--workers", "1", "--host", "127.0.0.1"],
        env=environ, stdout=log, stderr=log,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 120
    while True:
        try:
            httpx.get(f"{url}/api/v2/version", timeout=5, trust_env=False)
            break
        except httpx.HTTPError:
            assert process.poll() is None, (home / "api.log").read_text()[-2000:]
            assert time.monotonic() < until
            time.sleep(0.3)
    yield url
    process.terminate()
    process.wait(60)
    log.close()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_asks_airflow(airflow: str) -> None:
    with httpx.Client(base_url=airflow, timeout=60, trust_env=False) as http:
        assert http.get("/gitdags/sales").status_code == 401
        assert http.get("/gitdags/api/v1/repos").status_code == 401
        wrong = {"authorization": "Bearer x.y.z"}
        assert http.get("/gitdags/sales", headers=wrong).status_code == 401
        headers = {}
        for user, password in (("ada", "a"), ("bob", "b")):
            told = http.post("/auth/token", json={"username": user, "password": password})
            headers[user] = {"authorization": f"Bearer {told.json()['access_token']}"}
        ada = http.get("/gitdags/sales", headers=headers["ada"])
        bob = http.get("/gitdags/sales", headers=headers["bob"])
        assert (ada.status_code, bob.status_code) == (200, 200)
        link = 'href="/gitdags/sales/dags/{}'
        assert [link.format(d) in ada.text for d in ("etl", "hostile")] == [True, True]
        assert [link.format(d) in bob.text for d in ("etl", "hostile")] == [True, False]
        hidden = [
            "/gitdags/sales/dags/hostile", "/gitdags/api/v1/repos/sales/dags/hostile",
            "/gitdags/sales/source/dags/hostile.py", "/gitdags/api/v1/repos/sales/source/dags/hostile.py",
            "/gitdags/api/v1/repos/sales/tree/dags",
        ]  # fmt: skip
        for path in hidden:
            assert http.get(path, headers=headers["ada"]).status_code == 200, path
            assert http.get(path, headers=headers["bob"]).status_code == 404, path
        rows = http.get("/gitdags/api/v1/repos/sales/dags", headers=headers["bob"]).json()["dags"]
        assert "hostile" not in [row["dag_id"] for row in rows]
        assert "hostile" not in http.get("/gitdags/sales/commits", headers=headers["bob"]).text
        static = http.get("/gitdags/static/site.css", headers=headers["bob"])
        assert static.status_code == 200
