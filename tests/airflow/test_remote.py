"""Over HTTP, with a real `gitdags serve`: files for a host that has nothing, stamps from one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitdags.airflow.bundle import GitDagsBundle
from gitdags.airflow.outbox import Outbox
from gitdags.airflow.remote import Refused, Remote, Unreachable
from gitdags.airflow.supply import Unavailable
from gitdags.catalog import Catalog
from gitdags.spool import Spool
from tests.conftest import Repo, dag


@dataclass
class Served:
    """A `gitdags serve` and what it serves."""

    url: str
    repo: Repo
    first: str
    stamps_token: str
    home: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    repo, home = Repo(folder / "sales"), folder / "home"
    first = repo.commit({
        "dags/etl.py": dag("etl"), "dags/helper.py": "NAME = 'one'\n", "sql/q.sql": "select 1\n",
        **{f"dags/more/m{n}.py": f"N = {n}\n" for n in range(500)},
    })  # fmt: skip
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GITDAGS_HOME": str(home)}

    def gitdags(*words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "gitdags.cli.main", *words],
            env=env, cwd=repo.path, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    gitdags("init", ".", "--name", "sales")
    token = (
        gitdags("token", "create", "--name", "worker", "--scope", "stamp").strip().splitlines()[-1]
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "gitdags.cli.main", "-q", "serve", "--port", "0"],
        env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        yield Served(server.stdout.readline().strip().rstrip("/"), repo, first, token, home)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


Make = Callable[..., GitDagsBundle]


@pytest.fixture
def make(served: Served, home: Path, storage: Path) -> Make:
    def bundle(**kwargs: Any) -> GitDagsBundle:
        given = {"name": "pod", "repo": "sales", "ref": "main", "url": served.url, **kwargs}
        return GitDagsBundle(**given)

    return bundle


def test_a_host_with_nothing_gets_the_files(served: Served, make: Make, storage: Path) -> None:
    pinned, follows = make(version=served.first), make()
    pinned.initialize()
    follows.initialize()
    assert follows.get_current_version().version == served.first
    assert (pinned.path / "helper.py").read_text() == "NAME = 'one'\n"
    assert (pinned.path / "../sql/q.sql").read_text() == "select 1\n"
    assert os.path.realpath(follows.path) == os.path.realpath(pinned.path)
    assert pinned.path.is_relative_to(storage)
    assert pinned.view_url_template() == f"{served.url}/sales?at={{version}}"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_an_ordinary_user_with_an_empty_volume(served: Served, tmp_path: Path) -> None:
    """No capabilities, no home, no store: as in a pod. The process says how long the first file took."""
    volume = tmp_path / "volume"
    volume.mkdir()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    os.chown(volume, 65534, 65534)
    code = (
        "import os, sys, time; import airflow.dag_processing.bundles.manager\n"
        # Before it becomes another user, who may not be able to read this interpreter's library.
        "import encodings.idna, gitdags.airflow.stocked\n"
        "from gitdags.airflow.bundle import GitDagsBundle\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); began = time.monotonic()\n"
        f"b = GitDagsBundle(name='pod', repo='sales', url={served.url!r}, version={served.first!r})\n"
        "b.initialize(); text = (b.path / 'helper.py').read_text()\n"
        "print(text.strip(), os.geteuid(), sorted(os.listdir(sys.argv[1])), time.monotonic() - began)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(volume)], capture_output=True, text=True, check=False,
        env={**os.environ, "HOME": "/nonexistent", "GITDAGS_HOME": "/nonexistent/gitdags",
             "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(volume)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "NAME = 'one' 65534 ['pod']" in done.stdout
    print("first file after", done.stdout.split()[-1], "s")


def test_what_the_server_does_not_have(make: Make) -> None:
    for kwargs, words in (
        ({"repo": "nobody"}, "nobody"), ({"ref": "nowhere"}, "nowhere"), ({"version": "f" * 40}, "404"),
    ):  # fmt: skip
        with pytest.raises(Unavailable, match=words):
            make(**kwargs).initialize()


def test_a_server_that_is_away(make: Make, served: Served, storage: Path) -> None:
    with pytest.raises(
        Unavailable, match=r"cannot be reached.*hint: curl -i http://127.0.0.1:1/healthz"
    ):
        make(url="http://127.0.0.1:1").initialize()
    make(version=served.first).initialize()
    make(version=served.first, url="http://127.0.0.1:1").initialize()  # it has these files already
    for url in ("ftp://x", "nowhere", "http://"):
        with pytest.raises(Unavailable, match="no http or https URL"):
            make(url=url).initialize()


def test_stamps_are_taken_with_their_token_only(served: Served, home: Path) -> None:
    spool = Spool(home / "spool")
    record = {"v": 1, "kind": "stamp", "airflow": "pods", "dag_id": "etl", "run_id": "r ü/%",
              "state": "running", "source": "worker", "repo": "sales", "commit": served.first}  # fmt: skip
    with pytest.raises(Refused, match="answered 401"):
        Remote(served.url, "").post([record])
    outbox = Outbox(spool, Remote(served.url, served.stamps_token))
    outbox.put({**record, "task_id": "only", "map_index": -1, "try_number": 1}, sync=True)
    outbox.put(record, sync=True)
    outbox.settle(20)
    assert spool.waiting()[0] == 0
    with pytest.raises(Unreachable):
        Remote(served.url + "/nowhere", served.stamps_token).post([record])
    os.environ["GITDAGS_HOME"] = str(served.home)
    with Catalog() as catalog:
        catalog.drain()
        run = catalog.run("etl", "r ü/%")
    assert (run.airflow, run.repo, run.commit, len(run.tries)) == ("pods", "sales", served.first, 1)


def test_a_record_that_is_refused_does_not_hold_up_the_rest(
    served: Served, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(home / "spool")
    good = {"kind": "stamp", "airflow": "pods", "dag_id": "etl", "run_id": "held up", "state": "x",
            "source": "worker", "repo": "sales", "commit": served.first}  # fmt: skip
    for record in (good, {"kind": "stamp"}, {**good, "kind": "dance"}):
        spool.append(record)
    outbox = Outbox(spool, Remote(served.url, served.stamps_token))
    outbox.put(good, sync=True)
    outbox.settle(20)
    assert spool.waiting()[0] == 0
    kept = (spool.folder / "refused").read_text()
    assert (kept.count('"refused"'), "dance" in kept) == (2, True)
    assert len([r for r in caplog.records if "was refused" in r.message]) == 1
