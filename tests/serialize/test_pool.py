"""Files made to break the parser: each costs its own result, and nothing else."""

from __future__ import annotations

import json
import os
import re
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitdags.serialize import document
from gitdags.serialize.pool import Limits, NoAirflow, Outcome, Pool, Request, Surroundings
from tests.conftest import dag

pytestmark = pytest.mark.airflow

GOOD = dag("good", "a", "b", arguments="schedule='@daily', tags=['t', 's']")


def request_of(root: Path, name: str, source: str | bytes) -> Request:
    path = root / "dags" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    return Request(root, f"dags/{name}".encode())


def texts(pool: Pool, outcome: Outcome) -> list[str]:
    """The documents of an outcome."""
    replace = [(str(outcome.request.root), "<repo>"), (str(pool.home), "<home>")]
    return [document.make(found["document"], replace).text for found in outcome.dags]


def processes_of(pool: Pool) -> list[int]:
    """Every process that was started with a pool's folder as its home."""
    home = f"HOME={pool.home}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
            state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue  # gone meanwhile, or a kernel thread
        if home in environ and state != b"Z":
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def pool(airflow_python: str) -> Iterator[Pool]:
    """A pool with room for what an honest file needs."""
    limits = Limits(timeout=60, output=8 << 20, result=1 << 20)
    with Pool(Surroundings(airflow_python), limits, jobs=2) as pool:
        yield pool


@pytest.fixture(scope="module")
def hasty(airflow_python: str) -> Iterator[Pool]:
    """A pool that waits two seconds for a file, and no longer."""
    with Pool(Surroundings(airflow_python), Limits(timeout=2), jobs=2) as pool:
        yield pool


@pytest.fixture(scope="module")
def alone(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The documents of the good file when nothing runs beside it."""
    root = tmp_path_factory.mktemp("alone")
    (outcome,) = pool.run([request_of(root, "good.py", GOOD)])
    assert outcome.errors == ()
    found = texts(pool, outcome)
    assert [json.loads(text)["dag_id"] for text in found] == ["good"]
    return found


def beside(pool: Pool, root: Path, source: str | bytes, alone: list[str]) -> Outcome:
    """The outcome of a bad file; a good one before it and one after it are as they are alone."""
    requests = [
        request_of(root, "good.py", GOOD),
        request_of(root, "bad.py", source),
        Request(root, b"dags/good.py"),
    ]
    outcomes = list(pool.run(requests))
    assert len(outcomes) == 3
    bad = [o for o in outcomes if o.request.file == b"dags/bad.py"]
    for outcome in outcomes:
        if outcome is not bad[0]:
            assert outcome.errors == ()
            assert texts(pool, outcome) == alone
    assert len(bad) == 1
    return bad[0]


FORGED = json.dumps({"dags": [], "errors": [], "opened": []})

HOSTILE = {
    "syntax error": ("def f(:\n", "SyntaxError", "invalid syntax|bad.py"),
    "tabs": ("if True:\n\tx = 1\n        y = 2\n", "TabError|IndentationError", "inconsistent|unindent"),
    "import error": ("import no_such_module", "ModuleNotFoundError", "no_such_module"),
    "no such name": ("from airflow.sdk import Nothing", "ImportError", "Nothing"),
    "raises": ("raise ValueError('the\\nreason')", "ValueError", "the\nreason"),
    "own exception": (
        "class Mine(Exception): ...\nraise Mine('the reason')", "Mine", "the reason",
    ),
    "raises the base": ("raise BaseException('the reason')", "BaseException|Crash", "reason|status"),
    "interrupt": ("raise KeyboardInterrupt", ".+", "KeyboardInterrupt|status"),
    "exit": ("import sys; sys.exit(3)", "SystemExit|Crash", "3|status"),
    "exit 0": ("import sys; sys.exit()", "SystemExit|Crash", "(?i)exit"),
    "hard exit": ("import os; os._exit(0)", "Crash", "before its result"),
    "hard exit 7": ("import os; os._exit(7)", "Crash", "status 7"),
    "abort": ("import os; os.abort()", "Crash", "SIGABRT"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "Crash", "SIGSEGV"),
    "killed": ("import os, signal; os.kill(0, signal.SIGKILL)", "Crash", "SIGKILL"),
    "deep recursion": ("def f(): f()\nf()", "RecursionError", "recursion"),
    "not UTF-8": (b"import airflow # dag\nx = 'caf\xe9'\n", "SyntaxError|UnicodeDecodeError", "utf-8|UTF-8"),
    "a NUL": (b"x = 1\0\n", "SyntaxError|ValueError", "null bytes"),
    "prints": (
        "import sys\nfor _ in range(100): sys.stdout.write('x' * (1 << 20))\nprint(1)",
        "OutputLimit", r"8 MiB.*parse_output",
    ),
    "20 GB": ("x = bytearray(20 << 30)", "MemoryError|Crash", "memory|MemoryError"),
    "20 GB in pieces": (
        "x = []\nfor _ in range(20 << 10): x.append(bytes(1 << 20))", "MemoryError|Crash",
        "memory|MemoryError",
    ),
    "large file": (
        "with open('large', 'wb') as f:\n    f.truncate(1 << 40)", "OSError|Crash", "large|SIGXFSZ",
    ),
    "large result": (
        dag("large", body=f"TEXT = 'x' * ({3 << 20})", arguments="schedule=None, doc_md=TEXT"),
        "ResultLimit", r"1 MiB.*parse_result",
    ),
    "kills the parent": ("import os; os.kill(os.getppid(), 9); os._exit(0)", "Crash", "twice"),
    "forged before": (f"import os\nos.write(3, {FORGED!r}.encode())\n" + dag("x"), "Crash", "whole"),
    "forged after": (
        f"import atexit, os, json\nold = json.dumps\n"
        f"json.dumps = lambda *a, **k: old(*a, **k) + {FORGED!r}\n" + dag("x"), "Crash", "whole",
    ),
    "forged noise": ("import os; os.write(3, b'\\xff\\0{'); os._exit(0)", "Crash", "whole"),
    "forged shape": ("import os; os.write(3, b'[]'); os._exit(0)", "Crash", "whole"),
    "forged depth": ("import os; os.write(3, b'[' * 500000); os._exit(0)", "Crash", "whole"),
    "closes everything": ("import os; os.closerange(0, 1000)\n", "Crash|OSError", ".+"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_each_bad_file_fails_alone(pool: Pool, tmp_path: Path, alone: list[str], case: str) -> None:
    source, kind, message = HOSTILE[case]
    found = beside(pool, tmp_path, source, alone)
    assert found.dags == ()
    (error,) = found.errors
    assert set(error) == {"type", "message", "traceback"}
    assert matches(kind, error["type"]), error
    assert matches(message, error["message"]), error
    assert len(found.output) <= 64 << 10


def matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.S) is not None


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time\nwhile True: time.sleep(100)",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import signal, time\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except OSError: pass\nwhile True: time.sleep(100)",
        "import re; re.match('(a|aa)+$', 'a' * 100 + 'b')",
        "import os\nos.fork()\nwhile True: pass",
    ],
    ids=["busy", "asleep", "catches", "ignores signals", "in C", "twice"],
)
def test_a_file_without_end_is_ended(
    hasty: Pool, tmp_path: Path, alone: list[str], source: str
) -> None:
    requests = [request_of(tmp_path, "bad.py", source)]
    (found,) = hasty.run(requests)
    (error,) = found.errors
    assert (found.dags, error["type"]) == ((), "TimeLimit")
    assert error["message"] == "took longer than 2 s (parse_timeout)"
    assert len(processes_of(hasty)) == 1
    # The pool goes on as if nothing had been.
    (good,) = hasty.run([request_of(tmp_path, "good.py", GOOD)])
    assert texts(hasty, good) == alone


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {closing}
        with open({path!r}, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
while not os.path.exists({path!r}) or not os.path.getsize({path!r}):
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    "closing", ["os.closerange(0, 100)", "pass"], ids=["silent", "holds pipes"]
)
def test_a_daemon_left_behind_is_gone(
    pool: Pool, tmp_path: Path, alone: list[str], closing: str
) -> None:
    path = tmp_path / "pid"
    source = DAEMON.format(path=str(path), closing=closing) + GOOD
    requests = [request_of(tmp_path, "bad.py", source)]
    (found,) = pool.run(requests)
    assert texts(pool, found) == alone  # it is a good file otherwise
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)
    assert len(processes_of(pool)) == 1


def test_threads_left_running_hold_nothing_up(pool: Pool, tmp_path: Path, alone: list[str]) -> None:
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=[1000]).start()\n"
    (found,) = pool.run([request_of(tmp_path, "bad.py", source + GOOD)])
    assert texts(pool, found) == alone


@pytest.mark.timeout(60)
def test_a_parent_that_is_killed_leaves_no_child_behind(
    airflow_python: str, tmp_path: Path, alone: list[str]
) -> None:
    source = "import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(1000)"
    with Pool(Surroundings(airflow_python), Limits(timeout=5), jobs=2) as pool:
        found = beside(pool, tmp_path, source, alone)
        assert found.errors[0]["type"] == "Crash"
        left = [p for p in processes_of(pool) if p != pool._process.pid]  # type: ignore[union-attr]
        for process in left:
            os.kill(process, 9)
        assert left == []


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_parent_that_is_stopped_is_not_waited_for(
    airflow_python: str, tmp_path: Path, alone: list[str]
) -> None:
    source = "import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(1000)"
    with Pool(Surroundings(airflow_python), Limits(timeout=3), jobs=1) as pool:
        found = beside(pool, tmp_path, source, alone)
    assert found.errors[0]["type"] in ("TimeLimit", "Crash")
    left = processes_of(pool)
    for process in left:
        os.kill(process, 9)
    assert left == []


# ── one file and the next ─────────────────────────────────────────────────────────────────────


def test_nothing_of_one_file_is_there_for_the_next(pool: Pool, tmp_path: Path) -> None:
    first = (
        "import os, sys, tempfile, builtins, airflow.sdk\n"
        "os.environ['LEFT'] = '1'\nsys.path.insert(0, '/left')\nbuiltins.left = 1\n"
        "airflow.sdk.DAG = None\nos.chdir('/')\nos.umask(0)\n"
        "open(os.path.join(tempfile.gettempdir(), 'left'), 'w').close()\n"
    )
    second = dag(
        "seen",
        body="import builtins, os, sys, tempfile\n"
        "SEEN = [os.environ.get('LEFT'), '/left' in sys.path, hasattr(builtins, 'left'),\n"
        "        os.listdir(tempfile.gettempdir()), os.path.basename(os.getcwd())]",
        arguments="schedule=None, params={'seen': SEEN}",
    )
    list(pool.run([request_of(tmp_path, "first.py", first)]))
    (found,) = pool.run([request_of(tmp_path, "second.py", second)])
    seen = json.loads(texts(pool, found)[0])["params"]["seen"]["value"]
    assert seen == [None, False, False, [], tmp_path.name]


def test_two_trees_of_one_layout_never_mix(pool: Pool, tmp_path: Path) -> None:
    requests = []
    for n in range(4):
        root = tmp_path / f"tree{n}"
        source = dag("d", body="import helper", arguments="schedule=None, description=helper.TEXT")
        requests.append(request_of(root, "d.py", source))
        (root / "dags" / "helper.py").write_text(f"TEXT = 'tree{n}'\n")
        os.utime(root / "dags" / "helper.py", (0, 0))
    seen = {o.request.root.name: o.dags[0]["document"]["description"] for o in pool.run(requests)}
    assert seen == {f"tree{n}": f"tree{n}" for n in range(4)}
    assert not list(tmp_path.rglob("__pycache__"))


def test_files_read_are_named(pool: Pool, tmp_path: Path) -> None:
    source = dag("d", body="import helper, os\nopen('dags/q.sql').read()\nos.listdir('dags')")
    request = request_of(tmp_path, "d.py", source)
    for name in ("helper.py", "q.sql", "unread.txt"):
        (tmp_path / "dags" / name).write_text("")
    (found,) = pool.run([request])
    assert {"dags/d.py", "dags/helper.py", "dags/q.sql"} <= set(found.opened)
    assert "dags/unread.txt" not in found.opened


def test_what_a_file_prints_is_kept(pool: Pool, tmp_path: Path) -> None:
    (found,) = pool.run([request_of(tmp_path, "a.py", "print('ä said')\n" + GOOD)])
    assert "ä said" in found.output
    assert len(found.dags) == 1


def test_a_file_that_is_not_there(pool: Pool, tmp_path: Path) -> None:
    (found,) = pool.run([Request(tmp_path, b"dags/gone.py")])
    assert found.dags == ()


def test_more_files_than_jobs(pool: Pool, tmp_path: Path) -> None:
    requests = [request_of(tmp_path, f"d{n}.py", dag(f"d{n}")) for n in range(12)]
    assert len(list(pool.run(iter(requests)))) == 12
    assert list(pool.run([])) == []


def test_no_temporary_file_outlives_its_parse(hasty: Pool, tmp_path: Path) -> None:
    leave = "import tempfile; tempfile.mkstemp()\n"
    for source in (
        "",
        "while True: pass",
        "import os; os._exit(1)",
        HOSTILE["kills the parent"][0],
    ):
        list(hasty.run([request_of(tmp_path, "a.py", leave + source)]))
        assert list((hasty.home / "tmp").iterdir()) == [], source


def test_variables_reach_the_file_and_the_machines_do_not(
    airflow_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_MACHINE", "secret")
    source = dag(
        "d",
        body="import os\nfrom airflow.sdk import Variable",
        arguments="schedule=None, description=Variable.get('who') + os.environ['PLAIN'] "
        "+ str(os.environ.get('OF_THE_MACHINE'))",
    )
    surroundings = Surroundings(airflow_python, environ={"AIRFLOW_VAR_WHO": "me", "PLAIN": " too "})
    with Pool(surroundings, Limits(), jobs=1) as pool:
        (found,) = pool.run([request_of(tmp_path, "d.py", source)])
    assert [d["document"]["description"] for d in found.dags] == ["me too None"]


# ── beginning and end ─────────────────────────────────────────────────────────────────────────


def test_nothing_is_left_of_a_pool(
    airflow_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    source = "import time\ntime.sleep(1000)"
    pool = Pool(Surroundings(airflow_python), Limits(timeout=60), jobs=2)
    with pool:
        outcomes = pool.run(
            [request_of(tmp_path, "good.py", GOOD), request_of(tmp_path, "bad.py", source)]
        )
        next(outcomes)  # left while the other one still runs
    assert processes_of(pool) == []
    assert list(temporary.iterdir()) == []
    assert not pool.home.exists()


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    return str(folder / "bin" / "python")


def test_an_interpreter_without_airflow(bare_python: str, tmp_path: Path) -> None:
    with (
        pytest.raises(NoAirflow, match="has no Airflow") as error,
        Pool(Surroundings(bare_python), Limits(), jobs=1) as pool,
    ):
        list(pool.run([request_of(tmp_path, "good.py", GOOD)]))
    assert error.value.hint == "pip install 'gitdags[airflow]'"
    assert not pool.home.exists()
    assert processes_of(pool) == []


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoAirflow, match="cannot run") as error:
        Pool(Surroundings(str(tmp_path / "python")), Limits(), jobs=1)
    assert error.value.hint


def test_an_airflow_that_cannot_be_imported(bare_python: str, tmp_path: Path) -> None:
    (site,) = Path(bare_python).parents[1].glob("lib/python3*/site-packages")
    (site / "airflow.py").write_text("raise RuntimeError('broken here')\n")
    try:
        with (
            pytest.raises(NoAirflow, match="broken here"),
            Pool(Surroundings(bare_python), Limits(), jobs=1) as pool,
        ):
            list(pool.run([request_of(tmp_path, "good.py", GOOD)]))
    finally:
        (site / "airflow.py").unlink()


def test_airflow_2_parses_too(airflow_2_python: str, tmp_path: Path) -> None:
    source = (
        dag("good", "a", "b")
        .replace("airflow.sdk", "airflow")
        .replace("airflow.providers.standard.operators.empty", "airflow.operators.empty")
    )
    with Pool(Surroundings(airflow_2_python), Limits(), jobs=1) as pool:
        good, bad = pool.run(
            [request_of(tmp_path, "good.py", source), request_of(tmp_path, "bad.py", "import nope")]
        )
        assert len(processes_of(pool)) == 1
    assert [d["document"]["dag_id"] for d in good.dags] == ["good"]
    assert bad.errors[0]["type"] == "ModuleNotFoundError"
    assert processes_of(pool) == []
