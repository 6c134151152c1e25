"""How fast pages are: 1,000 DAGs, 10,000 commits, 1,000,000 stamped runs, on SQLite and PostgreSQL.

A real Git repository (git fast-import, seeded) and rows written in bulk as an index run and a drainer
would have left them: one commit in ten changes one DAG. Each page is asked for at random commits with
one client and with sixteen, over real HTTP: the first time, and again, once ten others of its kind
were asked for. Beside it the same questions are
asked of Airflow's own API server, over the same DAGs (`--airflow`).
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import itertools
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from sqlalchemy import insert

from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.model import Runtime
from gitdags.serialize import document
from gitdags.serialize.environment import Environment, env_hash
from gitdags.store import Store, rows, run_rows
from gitdags.store import schema as t
from tests.postgres import server as postgres

NAME, LARGE = "bench", "large"
MODULE = "airflow.providers.standard.operators.bash"
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
BATCH = 20_000


@dataclass(frozen=True)
class Size:
    """How much there is."""

    dags: int = 1_000
    commits: int = 10_000
    every: int = 10
    """one commit in so many changes a DAG"""
    runs: int = 1_000_000
    tasks: int = 1_000
    """of the one large DAG"""


# ── the repository ────────────────────────────────────────────────────────────────────────


def tasks_of(number: int, version: int) -> list[str]:
    """The tasks of a DAG: a handful, one more for some versions."""
    return [f"step_{i}" for i in range(5 + number % 5 + version % 2)]


def source(number: int, version: int) -> str:
    """A DAG file."""
    lines = [
        "from airflow.sdk import DAG",
        "from airflow.providers.standard.operators.bash import BashOperator",
        f"# version {version}",
        f"with DAG('dag_{number:04d}', schedule='@daily', tags=['team-{number % 20}']):",
    ]
    names = tasks_of(number, version)
    lines += [
        f"    {n} = BashOperator(task_id='{n}', bash_command='echo {n} {version}')" for n in names
    ]
    lines.append("    " + " >> ".join(names))
    return "\n".join(lines) + "\n"


def document_of(
    dag_id: str, names: Sequence[str], edges: Sequence[tuple[str, str]], version: int, tag: str
) -> document.Document:
    """The document such a file has."""
    up: dict[str, list[str]] = {n: [] for n in names}
    down: dict[str, list[str]] = {n: [] for n in names}
    for a, b in edges:
        up[b].append(a)
        down[a].append(b)
    tasks = [
        {
            "task_id": n,
            "operator": "BashOperator",
            "module": MODULE,
            "group": None,
            "trigger_rule": "all_success",
            "upstream": sorted(up[n]),
            "downstream": sorted(down[n]),
            "mapped": None,
            "template_fields": ["bash_command"],
            "templated": {"bash_command": f"echo {n} {version}"},
            "attrs": {},
            "callbacks": {},
            "ui_color": "#f0ede4",
            "ui_fgcolor": "#000",
            "doc_md": None,
        }
        for n in names
    ]
    return document.make(
        {
            "schema": document.SCHEMA,
            "dag_id": dag_id,
            "description": None,
            "doc_md": None,
            "schedule": {"type": "cron", "value": "@daily"},
            "start_date": None,
            "end_date": None,
            "timezone": "UTC",
            "catchup": False,
            "max_active_runs": 16,
            "tags": [tag],
            "owners": ["airflow"],
            "params": {},
            "default_args": {},
            "tasks": tasks,
            "groups": [],
            "attrs": {},
            "callbacks": {},
            "edges": [[a, b, None] for a, b in edges],
        }
    )


def blob_id(data: bytes) -> str:
    """As Git counts it."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def make_repository(path: Path, size: Size) -> list[tuple[int, int] | None]:
    """(DAG, its new version) of each commit after the first, None where no DAG changed."""
    path.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", "."], cwd=path, check=True)
    random.seed(5)
    changes: list[tuple[int, int] | None] = []
    versions = dict.fromkeys(range(size.dags), 0)
    out = bytearray()

    def file(name: str, text: str) -> None:
        data = text.encode()
        out.extend(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data))

    for number in range(size.commits):
        at = int((BEGIN + timedelta(minutes=50 * number)).timestamp())
        message = f"change {number}".encode()
        out.extend(b"commit refs/heads/main\ncommitter Ada <ada@example.org> %d +0000\n" % at)
        out.extend(b"data %d\n%s\n" % (len(message), message))
        if number == 0:
            for n in range(size.dags):
                file(f"dags/dag_{n:04d}.py", source(n, 0))
            file("dags/large.py", f"# {size.tasks} tasks\n")
        elif number % size.every == 0:
            n = random.randrange(size.dags)
            versions[n] += 1
            file(f"dags/dag_{n:04d}.py", source(n, versions[n]))
            changes.append((n, versions[n]))
        else:
            file(f"notes/{number % 50}.md", f"note {number}\n")
            changes.append(None)
    subprocess.run(["git", "fast-import", "--quiet"], cwd=path, input=bytes(out), check=True)
    subprocess.run(["git", "tag", "v1", "main~100"], cwd=path, check=True)
    return changes


# ── the store ─────────────────────────────────────────────────────────────────────────────


def fill(
    settings: Settings, path: Path, changes: list[tuple[int, int] | None], size: Size
) -> list[str]:
    """Write all rows; the commits, oldest first."""
    told = subprocess.run(
        ["git", "log", "--reverse", "--format=%H %T", "main"],
        cwd=path,
        capture_output=True,
        text=True,
    )
    commits = [line.split() for line in told.stdout.splitlines()]
    with Catalog(settings) as catalog:
        repo = catalog.registry.add(str(path), name=NAME)
        layout = catalog.history(repo).layout
    environment = Environment(
        "airflow", "3.3.2", platform.python_version(), {}, env_hash({}), None, layout
    )
    store = Store(settings.database)
    current: dict[int, tuple[document.Document, str, str]] = {}
    now = datetime.now(UTC)

    def state(n: int, version: int) -> tuple[document.Document, str, str]:
        names = tasks_of(n, version)
        edges = list(itertools.pairwise(names))
        made = document_of(f"dag_{n:04d}", names, edges, version, f"team-{n % 20}")
        file = f"dags/dag_{n:04d}.py"
        return (
            made,
            file,
            json.dumps([[file, blob_id(source(n, version).encode())]], separators=(",", ":")),
        )

    names = [f"task_{i:04d}" for i in range(size.tasks)]
    fan = [(names[(i - 1) // 4], names[i]) for i in range(1, size.tasks)]
    large = document_of(LARGE, names, fan, 0, "large")
    own = f"# {size.tasks} tasks\n".encode()
    current[-1] = (
        large,
        "dags/large.py",
        json.dumps([["dags/large.py", blob_id(own)]], separators=(",", ":")),
    )
    for n in range(size.dags):
        current[n] = state(n, 0)
    with store.write() as db:
        db.execute(insert(t.environments), [rows.environment_row(environment, now)])

    def add_states(states: Sequence[tuple[document.Document, str, str]]) -> None:
        with store.write() as db:
            store.add(
                db,
                t.documents,
                [
                    {
                        "dag_hash": d.dag_hash,
                        "dag_id": d.dag_id,
                        "body": d.text,
                        "tasks": d.tasks,
                        "created_at": now,
                    }
                    for d, _, _ in states
                ],
            )
            store.add(
                db,
                t.codes,
                [{"code_hash": document.digest(c.encode()), "files": c} for _, _, c in states],
            )

    def add_manifest() -> str:
        dags = sorted(
            (d.dag_id, f, d.dag_hash, document.digest(c.encode())) for d, f, c in current.values()
        )
        key = document.digest(document.canonical([[list(d) for d in dags], []]))
        with store.write() as db:
            if store.add(db, t.manifests, [{"hash": key, "dags": len(dags), "errors": 0}]):
                db.execute(
                    insert(t.manifest_dags),
                    [
                        {
                            "manifest_hash": key,
                            "dag_id": a,
                            "file": f,
                            "dag_hash": h,
                            "code_hash": c,
                            "guesses": "[]",
                            "placeholders": "[]",
                        }
                        for a, f, h, c in dags
                    ],
                )
        return key

    add_states(list(current.values()))
    manifest = add_manifest()
    snapshots = []
    for (sha, tree), change in zip(commits, [None, *changes], strict=True):
        if change is not None:
            current[change[0]] = state(*change)
            add_states([current[change[0]]])
            manifest = add_manifest()
        snapshots.append(
            {
                "repository_id": repo.id,
                "commit": sha,
                "environment_id": environment.id,
                "tree": tree,
                "manifest_hash": manifest,
                "indexed_at": now,
                "parsed": 0,
                "seconds": 0.0,
            }
        )
    with store.write() as db:
        db.execute(insert(t.snapshots), snapshots)
    shas = [sha for sha, _ in commits]
    add_runs(store, shas, {n: d.dag_hash for n, (d, _, _) in current.items()}, size)
    store.close()
    return shas


def add_runs(store: Store, shas: Sequence[str], hashes: dict[int, str], size: Size) -> None:
    """Runs spread over DAGs and commits, each with one event and one try."""
    runtime = run_rows.runtime_id(Runtime("3.3.2", "3.12"))
    with store.write() as db:
        db.execute(
            insert(t.runtimes),
            [{"id": runtime, "airflow": "3.3.2", "python": "3.12", "image": "", "packages": ""}],
        )
    for begin in range(0, size.runs, BATCH):
        runs, tries, stamps = [], [], []
        for number in range(begin, min(begin + BATCH, size.runs)):
            at = BEGIN + timedelta(seconds=number * 30)
            dag = number % size.dags
            key = {
                "airflow": "default",
                "dag_id": f"dag_{dag:04d}",
                "run_id": f"scheduled__{number}",
            }
            commit = shas[number * len(shas) // size.runs]
            said = {
                "repo": NAME,
                "commit": commit,
                "dirty": False,
                "state": "failed" if number % 17 == 0 else "success",
            }
            runs.append(
                {
                    "id": number + 1,
                    **key,
                    **said,
                    "generation": 1,
                    "bundle": None,
                    "source": "scheduler",
                    "stamped_at": at,
                    "conflict": False,
                    "moved_to": "[]",
                    "dag_hash": hashes[dag],
                    "code_hash": None,
                    "doubt": None,
                    "unstable": False,
                    "executed_hash": None,
                }
            )
            tries.append(
                {
                    "run": number + 1,
                    "task_id": "step_0",
                    "map_index": -1,
                    "try_number": 1,
                    **said,
                    "source": "worker",
                    "stamped_at": at,
                    "ti_id": None,
                    "conflict": False,
                    "dag_hash": None,
                    "runtime_id": runtime,
                }
            )
            stamps.append(
                {
                    "id": f"{number:064d}",
                    **key,
                    **said,
                    "task_id": None,
                    "map_index": -1,
                    "try_number": 0,
                    "ti_id": None,
                    "run_uid": str(number),
                    "source": "scheduler",
                    "bundle": None,
                    "path": None,
                    "runtime_id": runtime,
                    "at": at,
                    "recorded_at": at,
                }
            )
        with store.write() as db:
            db.execute(insert(t.runs), runs)
            db.execute(insert(t.tries), tries)
            db.execute(insert(t.stamps), stamps)


# ── asking ────────────────────────────────────────────────────────────────────────────────


@contextmanager
def serving(environ: dict[str, str]) -> Iterator[str]:
    """`gitdags serve`, as a user starts it; its address."""
    words = [sys.executable, "-m", "gitdags.cli.main", "-q", "serve", "--port", "0"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().rstrip("/")
    finally:
        process.terminate()
        process.wait(30)


def ask(
    base: str,
    paths: Sequence[str],
    clients: int,
    headers: dict[str, str] | None = None,
    failed: list[str] | None = None,
) -> tuple[list[float], float, list[int]]:
    """(milliseconds of each request, requests per second, bytes of each) with so many clients at once.

    Answers other than 200 go to ``failed``; without it they end the benchmark.
    """
    address = urlsplit(base)
    took: list[float] = []
    sizes: list[int] = []
    left = iter(paths)
    lock = threading.Lock()
    wrong: list[str] = [] if failed is None else failed

    told = {"accept-encoding": "gzip", **(headers or {})}

    def work() -> None:
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
        while True:
            with lock:
                path = next(left, None)
            if path is None:
                break
            began = time.perf_counter()
            try:
                connection.request("GET", path, headers=told)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                wrong.append(f"{path}: {error}")
                connection.close()
                continue
            took.append((time.perf_counter() - began) * 1_000)
            sizes.append(len(body))
            if answer.status != 200:
                wrong.append(f"{path}: {answer.status} {body[:200]!r}")
        connection.close()

    began = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong and failed is None:
        raise SystemExit("\n".join(wrong[:5]))
    return took, len(paths) / (time.perf_counter() - began), sizes


def figures(took: Sequence[float]) -> dict[str, float]:
    """p50 and p99, milliseconds."""
    cuts = statistics.quantiles(took, n=100) if len(took) > 1 else [took[0]] * 99
    return {"p50": round(statistics.median(took), 1), "p99": round(cuts[98], 1)}


def pages(shas: Sequence[str], size: Size, count: int) -> dict[str, list[str]]:
    """Addresses of each kind of page at random commits, every one another."""
    rng = random.Random(11)
    recent = list(shas[len(shas) // 2 :])

    def sha() -> str:
        return rng.choice(recent)

    def dag() -> str:
        return f"dag_{rng.randrange(size.dags):04d}"

    kinds: dict[str, list[str]] = {}
    for _ in range(count):
        i = rng.randrange(200, len(recent))
        n = rng.randrange(size.runs)
        each = {
            "repository": f"/{NAME}?at={sha()}",
            "graph": f"/{NAME}/dags/{dag()}?at={sha()}",
            "code": f"/{NAME}/dags/{dag()}/code?at={sha()}",
            "history": f"/{NAME}/dags/{dag()}/history?at={sha()}",
            "runs of a DAG": f"/{NAME}/dags/{dag()}/runs?at={sha()}",
            "document": f"/{NAME}/dags/{dag()}/document?at={sha()}",
            "file": f"/{NAME}/source/dags/{dag()}.py?at={sha()}",
            "folder": f"/{NAME}/source/dags?at={sha()}",
            "compare": f"/{NAME}/compare?from={recent[i - 100]}&to={recent[i]}",
            "commits": f"/{NAME}/commits?at={sha()}",
            "runs": f"/{NAME}/runs?at={sha()}",
            "run": f"/{NAME}/runs/dag_{n % size.dags:04d}/scheduled__{n}",
            "API dags": f"/api/v1/repos/{NAME}/dags?at={sha()}",
            "API document": f"/api/v1/repos/{NAME}/dags/{dag()}?at={sha()}",
            "API source": f"/api/v1/repos/{NAME}/source/dags/{dag()}.py?at={sha()}",
        }
        for kind, path in each.items():
            kinds.setdefault(kind, []).append(path)
    return kinds


def measure(base: str, shas: Sequence[str], size: Size, count: int) -> dict[str, Any]:
    """Every page, first and again, with 1 and 16 clients; the large graph; requests per second."""
    ask(base, ["/", f"/{NAME}/dags/dag_0000?at={shas[-1]}"], 1)  # started, warm
    found: dict[str, Any] = {"pages": {}}
    for kind, paths in pages(shas, size, count).items():
        warm, paths = paths[:10], paths[10:]
        ask(base, warm, 1)  # what the first few of a kind load stays loaded
        half = paths[: len(paths) // 2]
        first, _, sizes = ask(base, half, 1)
        again, _, _ = ask(base, half, 1)
        sixteen, _, _ = ask(base, paths[len(paths) // 2 :], 16)
        cached, rate, _ = ask(base, paths[len(paths) // 2 :] * 4, 16)
        found["pages"][kind] = {
            "first": figures(first),
            "again": figures(again),
            "first, 16 clients": figures(sixteen),
            "again, 16 clients": figures(cached),
            "requests per second": round(rate),
            "kB": round(max(sizes) / 1_000, 1),
        }
        print(f"  {kind}: {found['pages'][kind]}", file=sys.stderr)
    large = f"/{NAME}/dags/{LARGE}?at="
    first, _, sizes = ask(base, [large + shas[-1]], 1)
    other, _, _ = ask(base, [large + sha for sha in shas[-30:-1]], 1)
    again, _, _ = ask(base, [large + shas[-1]] * 30, 1)
    found["large graph"] = {
        "first": round(first[0], 1),
        "another commit": figures(other),
        "again": figures(again),
        "kB": round(sizes[0] / 1_000, 1),
    }
    same = [f"/{NAME}/dags/dag_{n:04d}?at={shas[-1]}" for n in range(50)]
    ask(base, same, 1)
    _, rate, _ = ask(base, same * 40, 16)
    found["cached SHA pages per second"] = round(rate)
    print(f"  {found['large graph']}, {found['cached SHA pages per second']}/s", file=sys.stderr)
    return found


def main(argv: Sequence[str]) -> int:
    """Make, fill, measure, print."""
    parser = argparse.ArgumentParser(prog="scripts/bench web")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument(
        "--small", action="store_true", help="a hundredth of everything, to try it out"
    )
    parser.add_argument("--requests", type=int, default=200, help="of each page")
    parser.add_argument("--airflow", action="store_true", help="ask Airflow's API server too")
    parser.add_argument(
        "--keep", type=Path, help="a folder for what is made; used again if it is there"
    )
    args = parser.parse_args(argv)
    size = replace(Size(), commits=1_000, dags=50, runs=10_000) if args.small else Size()
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "size": vars(size),
    }
    with tempfile.TemporaryDirectory(prefix="gitdags-bench-") as scratch:
        folder = args.keep or Path(scratch)
        path = folder / "repository.git"
        if path.exists():
            shutil.rmtree(path)
        print("making the repository", file=sys.stderr)
        changes = make_repository(path, size)
        for database in ("sqlite", "postgresql"):
            if args.only in (None, database):
                found[database] = one(database, folder, path, changes, size, args.requests)
        if args.airflow:
            from peer_airflow_web import measure as peer

            found["Airflow's API server"] = peer(folder, size.dags, source, args.requests)
    show(found)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def one(
    database: str,
    folder: Path,
    path: Path,
    changes: list[tuple[int, int] | None],
    size: Size,
    count: int,
) -> dict[str, Any]:
    """One database: filled, served, asked."""
    home = folder / f"home-{database}"
    shutil.rmtree(home, ignore_errors=True)
    with postgres() if database == "postgresql" else nothing() as url:
        db = url.format(database="postgres") if url else f"sqlite:///{home}/gitdags.db"
        settings = Settings({"home": str(home), "db": db}, {})
        began = time.perf_counter()
        shas = fill(settings, path, changes, size)
        print(f"{database}: filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        analyze(settings)
        with serving({"GITDAGS_HOME": str(home), "GITDAGS_DB": db}) as base:
            return measure(base, shas, size, count)


@contextmanager
def nothing() -> Iterator[str]:
    """No server."""
    yield ""


def analyze(settings: Settings) -> None:
    """What both databases do by themselves in time: statistics for their planners."""
    from sqlalchemy import text

    store = Store(settings.database)
    with store.write() as db:
        db.execute(text("ANALYZE"))
    store.close()


def show(found: dict[str, Any]) -> None:
    """A table."""
    for name in ("sqlite", "postgresql"):
        if name not in found:
            continue
        print(
            f"\n{name:<16}{'first':>16}{'again':>16}{'first, 16':>16}{'again, 16':>16}{'req/s':>8}{'kB':>8}"
        )
        for kind, row in found[name]["pages"].items():
            cells = [
                f"{row[k]['p50']:.1f} / {row[k]['p99']:.1f}"
                for k in ("first", "again", "first, 16 clients", "again, 16 clients")
            ]
            print(
                f"{kind:<16}"
                + "".join(f"{c:>16}" for c in cells)
                + f"{row['requests per second']:>8}{row['kB']:>8}"
            )
        print("large graph:", found[name]["large graph"])
        print("cached SHA pages per second:", found[name]["cached SHA pages per second"])
    if "Airflow's API server" in found:
        print("\nAirflow's API server")
        for kind, row in found["Airflow's API server"].items():
            print(f"{kind:<32}{row}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
