"""Real servers over real repositories: one small and hostile, one the real history."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from gitdags.catalog import Catalog
from gitdags.cli.main import main
from gitdags.config import Settings
from gitdags.web import app
from gitdags.web.access import Access
from tests.conftest import Repo, dag

SCRIPT = "<script>alert(1)</script>"
MESSAGE = f"{SCRIPT} & {{{{ 7 * 7 }}}} {{% raw %}} \u202egnitset"
HELPER = "NAME = {value!r}\ndef name():\n    return NAME\n"
COMMAND = f"echo {SCRIPT}\necho {{{{ ds }}}}"
HOSTILE = f"""
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup
from airflow.utils.edgemodifier import Label

with DAG("hostile", schedule=None, description={SCRIPT!r}, tags=[{SCRIPT!r}],
         doc_md={SCRIPT + " [x](javascript:alert(1)) ![y](http://example.org/z.png) {{ 7 * 7 }}"!r}) as dag:
    a = BashOperator(task_id="a", bash_command={COMMAND!r})
    with TaskGroup("inner", tooltip={SCRIPT!r}):
        b = EmptyOperator(task_id="b")
        with TaskGroup("core"):
            c = EmptyOperator(task_id="c")
    a >> Label({SCRIPT!r}) >> b >> c
"""


@dataclass
class World:
    """A repository, its home, and its commits by name."""

    repo: Repo
    home: Path
    settings: Settings
    commits: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, airflow_python: str) -> World:
    """begin, code, structure, broken, moved: one kind of change each; hostile names and texts in all."""
    folder = tmp_path_factory.mktemp("web")
    repo, home = Repo(folder / "sales"), folder / "home"
    etl = dag("etl", "extract", "load", body="from helper import name")
    commits = {
        "begin": repo.commit(
            {
                "dags/etl.py": etl,
                "dags/helper.py": HELPER.format(value="a"),
                "dags/other.py": dag("other"),
                "dags/hostile.py": HOSTILE,
                "notes/<b>bold<b>.txt": f"{SCRIPT}\n",
                "notes/näme with %2F and #.py": "x = 1\n",
                "notes/latin.txt": b"caf\xe9\n",
                "notes/binary.bin": b"\0\1\2",
                "notes/empty.txt": "",
            },
            "the beginning",
        ),
        "code": repo.commit({"dags/helper.py": HELPER.format(value="b")}, MESSAGE),
        "structure": repo.commit(
            {
                "dags/etl.py": etl.replace("'load'", "'store'").replace(
                    "schedule=None", "schedule='@daily', tags=['x']"
                )
            },
            "store instead of load",
        ),
    }  # fmt: skip
    (repo.path / "notes" / "link.py").symlink_to("../dags/etl.py")
    (repo.path / "notes" / "out.py").symlink_to("/etc/passwd")
    commits["broken"] = repo.commit(
        {"dags/etl.py": etl + f"\nraise ValueError({SCRIPT!r})\n"}, "oops"
    )
    commits["moved"] = repo.commit(
        {"dags/etl.py": None, "dags/jobs/etl.py": etl, "dags/other.py": None,
         "dags/late.py": dag("late")},
        "move, mend and replace",
    )  # fmt: skip
    repo("tag", "v1", commits["begin"])
    repo("branch", "v1", commits["code"])
    repo("branch", "feature/<x>&'quoted'", commits["structure"])
    repo("branch", "feature/ünï-🙂", commits["code"])
    settings = Settings({"home": str(home), "jobs": "2", "python": airflow_python}, {}, None, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repo.path)
        patch.setenv("GITDAGS_HOME", str(home))
        patch.setenv("GITDAGS_PYTHON", airflow_python)
        assert main(["-q", "init", "."]) == 0
        assert main(["-q", "index", "--all"]) == 0
    with Catalog(settings) as catalog:
        sales = catalog.repository("sales")
        for number, (name, state) in enumerate(
            [("begin", "success"), ("code", "success"), ("structure", "failed")]
        ):
            catalog.spool.append(
                {
                    "kind": "stamp", "airflow": "default", "dag_id": "etl",
                    "run_id": f"scheduled__{number}", "state": state, "source": "scheduler",
                    "repo": "sales", "commit": commits[name], "at": 1_740_000_000 + number * 86_400,
                }
            )  # fmt: skip
        catalog.spool.append(
            {
                "kind": "stamp", "airflow": "default", "dag_id": "etl", "run_id": f"manual/{SCRIPT} %2F",
                "state": "running", "source": "worker", "repo": "sales", "commit": commits["moved"],
                "task_id": "extract", "try_number": 1, "at": 1_740_500_000,
            }
        )  # fmt: skip
        catalog.drain()
        catalog.settle()
        assert catalog.repositories() == [sales]
    return World(repo, home, Settings({"home": str(home), "jobs": "2"}, {}, None, None), commits)


class Server:
    """The application on a port of its own, in a thread."""

    def __init__(
        self, settings: Settings, access: Access | None = None, root_path: str = ""
    ) -> None:
        self.app = app.create(settings, access)
        self.site = self.app.state.site
        config = uvicorn.Config(
            self.app, port=0, log_config=None, access_log=False, lifespan="on", root_path=root_path,
            proxy_headers=False,
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Server:
        started = threading.Event()
        begin = self.server.startup

        async def startup(sockets: Any = None) -> None:
            await begin(sockets)
            started.set()

        self.server.startup = startup  # type: ignore[method-assign]
        self.thread.start()
        assert started.wait(60)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.server.should_exit = True
        self.thread.join(30)
        self.site.close()

    def json(self, path: str, status: int = 200, **kwargs: Any) -> Any:
        """A GET's JSON."""
        answer = self.http.get(path, **kwargs)
        assert answer.status_code == status, answer.text
        return json.loads(answer.text)


Serve = Callable[..., contextlib.AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def server(world: World) -> Iterator[Server]:
    """The world, on a loopback address."""
    with Server(world.settings) as running:
        yield running


@pytest.fixture(scope="session")
def examples_home(
    tmp_path_factory: pytest.TempPathFactory, real_history: Path, airflow_python: str
) -> Path:
    """The real history, four releases of it indexed."""
    home = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITDAGS_HOME", str(home))
        patch.setenv("GITDAGS_PYTHON", airflow_python)
        assert main(["-q", "init", str(real_history), "--name", "examples"]) == 0
        for release in ("1.10.15", "2.6.3", "2.10.5", "3.3.2"):
            assert main(["-q", "-r", "examples", "index", release]) == 0
    return home


@pytest.fixture(scope="session")
def examples(examples_home: Path) -> Iterator[Server]:
    """A server over the real history."""
    with Server(Settings({"home": str(examples_home)}, {}, None, None)) as running:
        yield running


CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium: run ./scripts/test, which installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=CHROMIUM)
        yield running
        running.close()
