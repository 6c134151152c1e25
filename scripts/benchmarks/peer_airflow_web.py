"""Airflow's own API server over the same DAGs, asked what it can be asked: its newest version of each."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

AIRFLOW = str(Path(sys.executable).with_name("airflow"))


def measure(
    folder: Path, dags: int, source: Callable[[int, int], str], count: int
) -> dict[str, Any]:
    """p50 and p99 of each question with 1 and 16 clients, milliseconds; kB of the largest answer."""
    from web import ask, figures

    home = folder / "airflow"
    shutil.rmtree(home, ignore_errors=True)
    (home / "dags").mkdir(parents=True)
    for number in range(dags):
        (home / "dags" / f"dag_{number:04d}.py").write_text(source(number, 0))
    (home / "passwords.json").write_text(json.dumps({"ada": "a"}))
    environ = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ada:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "GITDAGS_LISTENER": "off",
    }
    for words in (("db", "migrate"), ("dags", "reserialize")):
        print(f"airflow {' '.join(words)}", file=sys.stderr)
        subprocess.run([AIRFLOW, *words], env=environ, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = (AIRFLOW, "api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    log = (home / "api.log").open("wb")
    server = subprocess.Popen(words, env=environ, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"
    try:
        headers = {"authorization": f"Bearer {token(base)}"}
        rng = random.Random(3)
        names = [f"dag_{rng.randrange(dags):04d}" for _ in range(count)]
        questions = {
            "graph: /ui/structure/structure_data": "/ui/structure/structure_data?dag_id={}",
            "code: /api/v2/dagSources": "/api/v2/dagSources/{}",
            "details: /api/v2/dags/…/details": "/api/v2/dags/{}/details",
            "versions: /api/v2/dags/…/dagVersions": "/api/v2/dags/{}/dagVersions",
            "list: /api/v2/dags, 100 of them": "/api/v2/dags?limit=100&order_by={}",
        }
        found = {}
        for question, path in questions.items():
            fill = ["dag_id"] * count if "order_by" in path else names
            paths = [path.format(name) for name in fill]
            ask(base, paths[:10], 1, headers)
            failed: list[str] = []
            one, _, sizes = ask(base, paths, 1, headers, failed)
            many, rate, _ = ask(base, paths, 16, headers, failed)
            found[question] = {
                "1 client": figures(one),
                "16 clients": figures(many),
                "requests per second": round(rate),
                "kB": round(max(sizes) / 1_000, 1),
                "failed": len(failed),
            }
            print(f"  {question}: {found[question]}", file=sys.stderr)
        return found
    finally:
        server.terminate()
        server.wait(60)
        log.close()


def token(base: str) -> str:
    """As the login page gets it, once the server is there."""
    body = json.dumps({"username": "ada", "password": "a"}).encode()
    request = urllib.request.Request(
        f"{base}/auth/token", body, {"content-type": "application/json"}
    )
    for _ in range(300):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return str(json.load(answer)["access_token"])
        except OSError:
            time.sleep(0.5)
    raise SystemExit("Airflow's API server did not begin to answer")
