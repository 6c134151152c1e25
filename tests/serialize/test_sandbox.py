"""Hostile DAG files in the sandbox, in each of its tiers: nothing escapes, nothing is left behind."""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitdags.serialize import document, sandbox
from gitdags.serialize.environment import Environment, probe
from gitdags.serialize.pool import Limits, Outcome, Pool, Request, Surroundings
from gitdags.serialize.sandbox import FULL, LANDLOCK, NoSandbox, Tier
from tests.conftest import dag
from tests.serialize.test_pool import processes_of

pytestmark = pytest.mark.airflow

GOOD = dag("good", "a", "b", arguments="schedule='@daily', tags=['t', 's']")
MEMORY = 1 << 30


@dataclass
class Cell:
    """A pool in a tier, a place for trees, and the good file's documents when it runs alone."""

    tier: Tier
    pool: Pool
    trees: Path
    alone: list[str]
    environment: Environment
    number: int = 0

    def request(self, source: str, name: str = "bad.py") -> Request:
        self.number += 1
        root = self.trees / str(self.number)
        path = root / "dags" / name
        path.parent.mkdir(parents=True)
        path.write_text(source)
        return Request(root, f"dags/{name}".encode())

    def documents(self, outcome: Outcome) -> list[str]:
        replace = [
            (str(outcome.request.root), "<repo>"),
            (outcome.scratch or "<none>", "<tmp>"),
            (str(self.pool.home), "<home>"),
        ]
        return [document.make(found["document"], replace).text for found in outcome.dags]

    def parse(self, source: str) -> Outcome:
        (outcome,) = self.pool.run([self.request(source)])
        return outcome

    def said(self, body: str) -> str:
        """What a DAG file computes into the variable SAID, as text."""
        outcome = self.parse(
            dag("said", body=body, arguments="schedule=None, description=str(SAID)")
        )
        assert outcome.errors == (), outcome.errors
        description: str = outcome.dags[0]["document"]["description"]
        return description


@pytest.fixture(scope="module")
def environment(airflow_python: str) -> Environment:
    return probe(airflow_python, None)


@pytest.fixture(scope="module", params=[FULL, LANDLOCK])
def cell(
    request: pytest.FixtureRequest,
    airflow_python: str,
    environment: Environment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cell]:
    trees = tmp_path_factory.mktemp("trees")
    trees.chmod(0o755)
    surroundings = Surroundings(
        airflow_python,
        confinement=sandbox.choose(request.param),
        trees=trees,
        readable=environment.readable,
    )
    limits = Limits(timeout=15, memory=MEMORY, result=1 << 20, disk=16 << 20, processes=40)
    with Pool(surroundings, limits, jobs=2) as pool:
        cell = Cell(request.param, pool, trees, [], environment)
        outcome = cell.parse(GOOD)
        assert outcome.errors == ()
        cell.alone = cell.documents(outcome)
        yield cell


def warm(pool: Pool) -> int:
    """The process that the pool started: the same one as long as it never had to be replaced."""
    assert pool._process is not None
    return pool._process.pid


# ── what a file tries, and what it is to be told ──────────────────────────────────────────────

TRY = """
def tried(what, *arguments, **named):
    try:
        return what(*arguments, **named)
    except BaseException as error:
        return type(error).__name__
"""
LIBC = (
    TRY
    + "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    + ("def call(*a):\n    r = libc.syscall(*a)\n    return 'done' if r >= 0 else 'refused'\n")
)

HOSTILE: dict[str, tuple[str, str]] = {
    "exit": ("import os; os._exit(3)", "status 3"),
    "endless loop of forks": (
        "import os, time\nwhile True:\n    try: os.fork()\n    except OSError: time.sleep(0.05)\n"
        "    if time.process_time() > 1: raise SystemError('over')",
        "over|killed|status|took longer|held more",
    ),
    "20 GB in one process": ("x = bytearray(20 << 30)", "memory|MemoryError"),
    "20 GB in many processes": (
        "import os, time\n"
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        x = bytearray(100 << 20)\n        time.sleep(30)\n        os._exit(0)\n"
        "time.sleep(30)",
        "held more memory than 1 GiB",
    ),
    "a child that takes it all": (
        "import subprocess, sys, time\n"
        "p = [subprocess.Popen([sys.executable, '-c', 'import time; x = bytearray(250 << 20); "
        "time.sleep(30)']) for _ in range(6)]\ntime.sleep(30)",
        "held more memory than 1 GiB",
    ),
    "segfault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "abort": ("import os; os.abort()", "SIGABRT|SIGSEGV"),
    "1 GB of output": (
        "import os\nfor _ in range(1024): os.write(1, b'x' * (1 << 20))", "printed more than",
    ),
    "an oversized result": (
        dag("large", body=f"T = 'x' * ({3 << 20})", arguments="schedule=None, doc_md=T"),
        "larger than 1 MiB",
    ),
    "a result of its own": ("import os; os.write(3, b'{\"dags\": []'); os._exit(0)", "whole"),
    "other descriptors": (
        "import os\nfor n in range(3, 1024):\n    try: os.write(n, b'{\"id\": 1, \"status\": 0}')\n"
        "    except OSError: pass\nos._exit(0)",
        "whole",
    ),
    "100,000 tasks": (
        dag("many", body="", arguments="schedule=None")
        + "    for n in range(100_000): EmptyOperator(task_id=f't{n}')\n",
        "took longer|larger than|memory",
    ),
    "deep recursion": (
        "import sys; sys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
        "SIGSEGV|recursion|memory|MemoryError|overflow|took longer|error return",
    ),
    "a patched serializer": (
        "import sys\nfor m in list(sys.modules.values()):\n"
        "    if (getattr(m, '__name__', '') or '').startswith('gitdags_worker'):\n"
        "        for name in ('dag', 'Encoder'):\n"
        "            if hasattr(m, name): setattr(m, name, lambda *a, **k: {'forged': 1})\n"
        + dag("forged"),
        "KeyError|TypeError|AttributeError|forged|serializ|whole",
    ),
    "a full disk": (
        "import tempfile, os\nd = tempfile.mkdtemp()\nfor n in range(1000):\n"
        "    with open(f'{d}/{n}', 'wb') as f: f.write(bytes(8 << 20))\nraise SystemError('wrote 8 GB')",
        "No space left|held more|wrote more",
    ),
    "closes everything": ("import os; os.closerange(0, 4096)", "."),
    "stops everything": (
        "import os, signal; os.kill(-1, signal.SIGSTOP); raise SystemError('on')",
        "on|Permission|No such process",
    ),
    "kills everything": (
        "import os, signal; os.kill(-1, signal.SIGKILL); raise SystemError('on')",
        "on|Permission|No such process|SIGKILL",
    ),
    "kills its parent": (
        "import os, signal; os.kill(os.getppid() or 1, signal.SIGKILL); raise SystemError('on')",
        "on|Permission|SIGKILL",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_fails_alone(cell: Cell, case: str) -> None:
    source, message = HOSTILE[case]
    before = warm(cell.pool)
    outcomes = list(
        cell.pool.run([cell.request(GOOD), cell.request(source), cell.request(GOOD, "good.py")])
    )
    bad = [o for o in outcomes if o.request.file == b"dags/bad.py" and _is(o, source)]
    for outcome in outcomes:
        if outcome not in bad:
            assert outcome.errors == ()
            assert cell.documents(outcome) == cell.alone
    (outcome,) = bad
    if case != "a patched serializer":
        assert outcome.dags == ()
        (error,) = outcome.errors
        assert re.search(message, error["message"], re.S), error
    assert warm(cell.pool) == before, "the parser itself had to be started again"
    assert nothing_is_left(cell)


def _is(outcome: Outcome, source: str) -> bool:
    text = (outcome.request.root / os.fsdecode(outcome.request.file)).read_text()
    return text == source


def nothing_is_left(cell: Cell) -> bool:
    """No process of a file's but the parser's own, and no temporary file."""
    own = 3 if cell.tier == FULL and os.getuid() == 0 else 2 if cell.tier == FULL else 1
    left = processes_of(cell.pool)
    assert len(left) <= own, left
    scratch = cell.pool.home / "tmp"
    assert not scratch.exists() or list(scratch.iterdir()) == []
    return True


# ── what is out of reach ──────────────────────────────────────────────────────────────────────

REFUSED = {
    "reading the shadow file": "SAID = tried(open, '/etc/shadow')",
    "ptrace": "SAID = call(101, 16, 1, 0, 0)",
    "a nested user namespace": "SAID = call(272, 0x10000000)",
    "a nested mount namespace": "SAID = call(272, 0x00020000)",
    "clone into a namespace": "SAID = call(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "clone3": "SAID = call(435, 0, 0)",
    "mounting": "SAID = call(165, b'none', b'/tmp', b'tmpfs', 0, 0)",
    "unmounting": "SAID = call(166, b'/tmp', 2)",
    "chroot": "SAID = call(161, b'/tmp')",
    "bpf": "SAID = call(321, 0, 0, 0)",
    "io_uring": "SAID = call(425, 1, ctypes.create_string_buffer(120))",
    "userfaultfd": "SAID = call(323, 0)",
    "perf events": "SAID = call(298, 0, 0, -1, -1, 0)",
    "the keyring": "SAID = call(250, 0, -3, 0)",
    "a file by its handle": "SAID = call(304, -100, ctypes.create_string_buffer(64), 0)",
    "System V shared memory": "SAID = call(29, 0x6769, 4096, 0o1666)",
    "System V messages": "SAID = call(68, 0x6769, 0o1666)",
    "System V semaphores": "SAID = call(64, 0x6769, 1, 0o1666)",
    "memory that is a file": "SAID = tried(os.memfd_create, 'x')",
    "typing into a terminal": (
        "import fcntl, pty\nSAID = call(16, 0, 0x5412, b'x') if not tried(os.isatty, 0) else 'done'"
    ),
    "a raw socket": "import socket\nSAID = tried(socket.socket, 17, 3)",
    "vsock": "import socket\nSAID = tried(socket.socket, 40, 1)",
    "the memory of its parent": "SAID = tried(open, f'/proc/{os.getppid()}/mem', 'rb')",
    "the environment of its parent": "SAID = tried(open, f'/proc/{os.getppid()}/environ', 'rb')",
    "more processes than it may": (
        "import resource\nSAID = tried(resource.setrlimit, resource.RLIMIT_NPROC, (10**6, 10**6))"
    ),
    "being root": "SAID = tried(os.setuid, 0)",
    "a device": "SAID = tried(os.mknod, os.environ['TMPDIR'] + '/sda', 0o60600, os.makedev(8, 0))",
    "writing into the environment": "SAID = tried(open, os.__file__, 'ab')",
    "writing bytecode of a library": (
        "import importlib.util\nSAID = tried(open, importlib.util.cache_from_source(os.__file__), 'wb')"
    ),
    "writing into its tree": "SAID = tried(open, __file__, 'ab')",
    "planting bytecode beside itself": "SAID = tried(os.mkdir, os.path.dirname(__file__) + '/__pycache__')",
    "writing into the root": "SAID = tried(open, '/planted', 'w')",
    "making the kernel crash": "SAID = tried(open, '/proc/sysrq-trigger', 'w')",
    "changing a limit of the kernel": "SAID = tried(open, '/proc/sys/kernel/core_pattern', 'w')",
}  # fmt: skip
ERRORS = {
    "refused", "PermissionError", "FileNotFoundError", "OSError", "ValueError", "ProcessLookupError",
}  # fmt: skip


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are of x86_64")
def test_what_is_refused(cell: Cell) -> None:
    parts = [LIBC, "ANSWERS = {}"]
    for name, body in REFUSED.items():
        parts.append(f"SAID = 'done'\n{body}\nANSWERS[{name!r}] = str(SAID)")
    answers = json.loads(
        cell.said("\n".join([*parts, "import json", "SAID = json.dumps(ANSWERS)"]))
    )
    assert {name: said for name, said in answers.items() if said not in ERRORS} == {}


def test_no_network(cell: Cell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        body = TRY + (
            "import socket\n"
            f"SAID = [tried(socket.create_connection, ('127.0.0.1', {port}), 2),\n"
            "        tried(socket.getaddrinfo, 'example.org', 443),\n"
            "        tried(socket.create_connection, ('192.0.2.1', 80), 2)]"
        )
        said = cell.said(body)
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert re.fullmatch(r"\['\w*Error', '\w*', '\w*'\]", said), said
    assert "socket.socket" not in said


def test_a_secret_outside_is_out_of_reach(cell: Cell, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("open sesame")
    secret.chmod(0o644)
    neighbour = cell.request("x = 'the neighbour'")
    body = TRY + (
        "import os, pathlib\n"
        "def read(path): return pathlib.Path(path).read_text()\n"
        f"SAID = [tried(read, p) for p in ({str(secret)!r},\n"
        f"    {str(neighbour.root / 'dags' / 'bad.py')!r}, '/trees/{neighbour.root.name}/dags/bad.py',\n"
        f"    {str(cell.pool.home / 'worker.log')!r}, '/proc/1/root{secret}',\n"
        f"    f'/proc/self/cwd/../{neighbour.root.name}/dags/bad.py', '/root/.ssh/id_rsa')]"
    )
    said = cell.said(body)
    assert "sesame" not in said
    assert "neighbour" not in said
    assert re.fullmatch(r"\[('\w+Error'(, )?)+\]", said), said


def test_a_link_in_the_tree_leads_nowhere(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("SAID = 'open sesame'")
    request = cell.request("import secret_link\n" + dag("linked"))
    (request.root / "dags" / "secret_link.py").symlink_to(tmp_path / "secret.py")
    (outcome,) = cell.pool.run([request])
    assert outcome.dags == ()
    assert outcome.errors[0]["type"] in ("ModuleNotFoundError", "PermissionError")
    request = cell.request("")
    (request.root / "dags" / "bad.py").unlink()
    (request.root / "dags" / "bad.py").symlink_to("/etc/shadow")
    (outcome,) = cell.pool.run([request])
    assert outcome.dags == ()
    assert "root:" not in json.dumps([outcome.errors, outcome.output])


def test_nothing_is_left_for_the_next_file(cell: Cell) -> None:
    leave = TRY + (
        "import os, socket, tempfile\n"
        "for place in ('/tmp', '/dev/shm', '/var/tmp', os.environ['HOME'], tempfile.gettempdir()):\n"
        "    tried(lambda: open(place + '/left', 'w').write('left'))\n"
        "server = tried(socket.socket, socket.AF_UNIX, socket.SOCK_STREAM)\n"
        "if not isinstance(server, str): tried(server.bind, '\\0left'); tried(server.listen)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        import time; time.sleep(1000)\n"
        "    os._exit(0)\n"
    )
    assert cell.documents(cell.parse(leave + GOOD)) == cell.alone
    look = TRY + (
        "import os, socket, tempfile\n"
        "places = ('/tmp', '/dev/shm', '/var/tmp', os.environ['HOME'], tempfile.gettempdir())\n"
        "SAID = [p for p in places if tried(os.stat, p + '/left').__class__ is os.stat_result]\n"
        "s = tried(socket.socket, socket.AF_UNIX, socket.SOCK_STREAM)\n"
        "if not isinstance(s, str) and tried(s.connect, '\\0left') is None: SAID.append('socket')\n"
    )
    assert cell.said(look) == "[]"
    assert nothing_is_left(cell)
    for place in ("/tmp", "/dev/shm", "/var/tmp"):
        assert not Path(place, "left").exists()


def test_poisoned_bytecode_is_not_used(cell: Cell) -> None:
    """A file that knows the next one's helper cannot prepare bytecode for it anywhere."""
    source = dag("d", body="import helper", arguments="schedule=None, description=helper.TEXT")
    victim = cell.request(source)
    (victim.root / "dags" / "helper.py").write_text("TEXT = 'honest'\n")
    poison = TRY + (
        "import importlib.util, os, py_compile, sys, tempfile\n"
        "evil = tempfile.mkdtemp() + '/helper.py'\n"
        "open(evil, 'w').write(\"TEXT = 'poison'\")\n"
        f"target = {str(victim.root / 'dags' / 'helper.py')!r}\n"
        "for place in (importlib.util.cache_from_source(target), target + 'c'):\n"
        "    tried(os.makedirs, os.path.dirname(place))\n"
        "    tried(py_compile.compile, evil, place, doraise=True)\n"
        "sys.path_importer_cache.clear()\n"
    )
    cell.parse(poison)
    (outcome,) = cell.pool.run([victim])
    assert outcome.dags[0]["document"]["description"] == "honest"
    assert not list(cell.trees.rglob("__pycache__"))


def test_a_file_sees_only_itself(cell: Cell) -> None:
    body = TRY + (
        "import os\nSAID = sorted(n for n in (tried(os.listdir, '/proc') or []) if n.isdigit())"
    )
    said = cell.said(body)
    assert said in ("['1']", "[]")
    listing = cell.said(TRY + "import os\nSAID = tried(os.listdir, '/trees')")
    assert listing in ("[]", "PermissionError", "FileNotFoundError")


def test_it_may_not_gain_rights_by_a_program(cell: Cell) -> None:
    body = (
        "import subprocess\n"
        "def run(*w):\n"
        "    try: return subprocess.run(w, capture_output=True, text=True).stdout.strip()\n"
        "    except OSError as error: return type(error).__name__\n"
        "status = open('/proc/self/status').read()\n"
        "SAID = [run('id', '-u'), run('su', '-c', 'id -u'),\n"
        "        [l.split()[1] for l in status.splitlines()\n"
        "         if l.startswith(('CapEff', 'NoNewPrivs', 'Seccomp:'))]]"
    )  # fmt: skip
    user, root, (capabilities, privileges, seccomp) = eval(cell.said(body))  # our own text
    assert user != "0"
    assert root != "0"
    assert int(capabilities, 16) in (0, 1 << 2)  # reading what root may read, where Landlock lets
    assert (privileges, seccomp) == ("1", "2")


def test_honest_things_still_work(cell: Cell) -> None:
    body = (
        "import asyncio, getpass, multiprocessing, os, pathlib, socket, subprocess, tempfile, threading\n"
        "t = threading.Thread(target=lambda: None); t.start(); t.join()\n"
        "with tempfile.TemporaryDirectory() as d: pathlib.Path(d, 'x').write_text('y')\n"
        "with tempfile.NamedTemporaryFile() as f: f.write(b'x')\n"
        "async def one(): return 1\n"
        "SAID = [subprocess.run(['echo', 'hi'], capture_output=True, text=True).stdout.strip(),\n"
        "        asyncio.run(one()), getpass.getuser(), pathlib.Path.home().name[:7],\n"
        "        os.path.basename(os.getcwd()).isdigit(), sorted(os.listdir('dags'))]"
    )
    assert cell.said(body) == "['hi', 1, 'dag', 'gitdags', True, ['bad.py']]"


def test_documents_are_the_same_in_every_tier(
    airflow_python: str, environment: Environment, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    source = dag(
        "d",
        body="import os, tempfile, sys, helper",
        arguments="schedule='@daily', doc_md=__file__ + os.getcwd() + tempfile.gettempdir() "
        "+ os.environ['HOME'] + os.environ['AIRFLOW_HOME'] + sys.prefix + helper.__file__",
    )
    (tmp_path / "repo" / "dags").mkdir(parents=True)
    (tmp_path / "repo" / "dags" / "d.py").write_text(source)
    (tmp_path / "repo" / "dags" / "helper.py").write_text("")
    found = {}
    for tier in (FULL, LANDLOCK, sandbox.OFF):
        surroundings = Surroundings(
            airflow_python,
            confinement=sandbox.choose(tier),
            trees=tmp_path,
            readable=environment.readable,
        )
        with Pool(surroundings, Limits(), jobs=1) as pool:
            (outcome,) = pool.run([Request(tmp_path / "repo", b"dags/d.py")])
            replace = [
                (str(outcome.request.root), "<repo>"),
                (outcome.scratch, "<tmp>"),
                (str(pool.home), "<home>"),
            ]
            assert outcome.errors == ()
            assert {"dags/d.py", "dags/helper.py"} <= set(outcome.opened)
            found[tier] = document.make(outcome.dags[0]["document"], replace).dag_hash
    assert len(set(found.values())) == 1, found


@pytest.mark.parametrize("tier", [FULL, LANDLOCK])
def test_airflow_2_finds_its_empty_database(
    airflow_2_python: str, tmp_path: Path, tier: Tier
) -> None:
    """Some files of its time ask for pools or datasets while they are imported."""
    body = (
        "from airflow.models import Pool\nfrom airflow.utils.session import create_session\n"
        "with create_session() as session: SAID = session.query(Pool).count()\n"
    )
    source = dag("d", body=body, arguments="schedule=None, description=str(SAID)").replace(
        "airflow.sdk", "airflow"
    )
    source = source.replace("airflow.providers.standard.operators.empty", "airflow.operators.empty")
    tmp_path.chmod(0o755)
    (tmp_path / "repo" / "dags").mkdir(parents=True)
    (tmp_path / "repo" / "dags" / "d.py").write_text(source)
    surroundings = Surroundings(
        airflow_2_python,
        confinement=sandbox.choose(tier),
        trees=tmp_path,
        readable=probe(airflow_2_python, None).readable,
    )
    with Pool(surroundings, Limits(), jobs=1) as pool:
        (outcome,) = pool.run([Request(tmp_path / "repo", b"dags/d.py")])
    assert outcome.errors == ()
    assert outcome.dags[0]["document"]["description"] == "0"


# ── older kernels, other users ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("known", [1, 3, 5])
def test_an_older_landlock_is_made_up_for(
    airflow_python: str,
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    known: int,
) -> None:
    """Versions that govern neither signals nor truncating: seccomp refuses those."""
    monkeypatch.setattr(sandbox, "NEWEST_LANDLOCK", known)
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    kept = tmp_path / "kept"
    kept.write_text("kept")
    kept.chmod(0o666)
    tmp_path.chmod(0o777)
    (tmp_path / "repo" / "dags").mkdir(parents=True)
    body = TRY + (
        "import os, resource, signal\n"
        f"SAID = [tried(os.kill, {victim.pid}, signal.SIGKILL), tried(os.kill, -1, 0),\n"
        f"        tried(os.truncate, {str(kept)!r}, 0), tried(os.chmod, {str(kept)!r}, 0),\n"
        f"        tried(resource.prlimit, {victim.pid}, resource.RLIMIT_CPU, (0, 0)),\n"
        "        tried(os.kill, os.getpid(), 0)]"
    )
    (tmp_path / "repo" / "dags" / "a.py").write_text(
        dag("a", body=body, arguments="schedule=None, description=str(SAID)")
    )
    surroundings = Surroundings(
        airflow_python,
        confinement=sandbox.choose(LANDLOCK),
        trees=tmp_path,
        readable=environment.readable,
    )
    try:
        with Pool(surroundings, Limits(), jobs=1) as pool:
            (outcome,) = pool.run([Request(tmp_path / "repo", b"dags/a.py")])
        assert outcome.errors == ()
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()
    assert outcome.dags[0]["document"]["description"] == str(["PermissionError"] * 5 + [None])
    assert kept.read_text() == "kept"


def test_what_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_unavailable", lambda tier, user: f"{tier} is broken")
    with pytest.raises(NoSandbox, match="sandbox = full, but here is no full: full is broken"):
        sandbox.choose(FULL)
    assert sandbox.choose("auto").tier == sandbox.OFF
    assert (
        sandbox.choose("auto").reason == "no full: full is broken; no landlock: landlock is broken"
    )
    monkeypatch.setattr(sandbox, "_unavailable", lambda tier, _: "no" if tier == FULL else "")
    assert (sandbox.choose("auto").tier, sandbox.choose("auto").reason) == (LANDLOCK, "no full: no")


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
def test_root_becomes_a_user_that_must_be_there() -> None:
    with pytest.raises(NoSandbox, match="there is no user nobody-here"):
        sandbox.choose(FULL, "nobody-here")


def test_a_machine_without_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox._unavailable.cache_clear()
    try:
        with pytest.raises(NoSandbox, match="bubblewrap is not installed"):
            sandbox.choose(FULL)
    finally:
        sandbox._unavailable.cache_clear()


def test_a_machine_that_forbids_user_namespaces(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As many hosts do for ordinary users: what bubblewrap says of it is the reason."""
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sandbox._unavailable.cache_clear()
    try:
        chosen = sandbox.choose("auto")
    finally:
        sandbox._unavailable.cache_clear()
    assert chosen.tier == LANDLOCK
    assert "No permissions to create new namespace" in chosen.reason


def test_landlock_is_here() -> None:
    """The tests above mean nothing on a kernel that has it not."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(444, None, ctypes.c_size_t(0), 1) >= 1


ROOT = Path(__file__).parents[2]
AS_A_USER = (
    "(test_a_hostile_file and full) or refused or network or secret or link_in or left_for "
    "or poisoned or sees_only or gain or honest"
)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="the other tests were an ordinary user's already")
@pytest.mark.timeout(600)
def test_an_ordinary_user_confines_as_well(environment: Environment) -> None:
    """The same tests by `nobody`, to whom this root's interpreter is opened as sandbox.py does it."""
    words = ["bwrap", "--die-with-parent", *sandbox._system(), "--ro-bind", "/etc", "/etc"]
    words += ["--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc", "--perms", "1777"]
    words += ["--tmpfs", "/tmp"]
    places = sandbox._existing([*environment.readable, str(ROOT)])
    words += sandbox._bound([(place, place) for place in places if place != "/tmp"])
    words += ["--chdir", str(ROOT), "--", "setpriv", "--reuid", "65534", "--regid", "65534"]
    words += ["--clear-groups", "--", sys.executable, "-B", "-m", "pytest", "-q"]
    words += ["-p", "no:cacheprovider", "tests/serialize/test_sandbox.py", "-k", AS_A_USER]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": "/tmp", "LANG": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= len(HOSTILE) + 16
    assert "skipped" not in done.stdout
