"""From commits to the store: what is parsed, what is not, what it depends on."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import py_compile
import tempfile
from pathlib import Path

import pytest

from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.git import Repository
from gitdags.history import IndexReport, Progress
from gitdags.model import RegisteredRepository
from tests.conftest import Repo, dag
from tests.serialize.conftest import opened_catalog

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("airflow_python")]


def register(catalog: Catalog, repo: Repo, **options: str) -> RegisteredRepository:
    return catalog.registry.add(str(repo.path), name="repo", **options)  # type: ignore[arg-type]


def counts(report: IndexReport) -> tuple[int, int, int, int, int]:
    return report.commits, report.parsed, report.reused, report.documents_new, report.errors


def read_by(
    catalog: Catalog, repo: RegisteredRepository, dag_id: str, rev: str = "HEAD"
) -> list[str]:
    """The paths behind a DAG's code hash."""
    (row,) = [row for row in catalog.dags(repo, rev).dags if row.dag_id == dag_id]
    return [path for path, _ in catalog.files_read(row)]


# ── what is parsed ────────────────────────────────────────────────────────────────────────────


def test_a_second_run_parses_nothing(catalog: Catalog, repo: Repo) -> None:
    for n in range(3):
        repo.commit({"dags/a.py": dag("a", f"t{n}"), "dags/b.py": dag("b")})
    known = register(catalog, repo)
    assert counts(catalog.index(known, everything=True)) == (3, 6, 0, 4, 0)
    before = catalog.counts()
    assert counts(catalog.index(known, everything=True)) == (3, 0, 0, 0, 0)
    assert counts(catalog.index(known, "HEAD")) == (1, 0, 0, 0, 0)
    assert catalog.counts() == before


def test_another_catalog_of_the_same_store_parses_nothing(
    catalog: Catalog, settings: Settings, repo: Repo
) -> None:
    repo.commit({"dags/a.py": dag("a")})
    catalog.index(register(catalog, repo))
    with Catalog(settings) as other:
        assert other.index(other.repository("repo")).parsed == 0


def test_a_commit_with_a_known_tree_is_not_parsed(catalog: Catalog, repo: Repo) -> None:
    one = repo.commit({"dags/a.py": dag("a"), "dags/bad.py": "import airflow.nope # dag"})
    same = repo.commit(message="empty")
    repo.commit({"dags/a.py": dag("a", "other")})
    repo.commit({"dags/a.py": dag("a")}, message="back again")
    known = register(catalog, repo)
    assert counts(catalog.index(known, one)) == (1, 2, 0, 1, 1)
    report = catalog.index(known, everything=True)
    assert counts(report) == (4, 2, 4, 1, 1)
    first, second = catalog.dags(known, one), catalog.dags(known, same)
    assert (first.dags, first.errors) == (second.dags, second.errors)
    assert second.commit == same


def test_what_no_dag_depends_on_adds_no_document(catalog: Catalog, repo: Repo) -> None:
    repo.commit({"dags/a.py": dag("a")})
    known = register(catalog, repo)
    catalog.index(known)
    before = catalog.counts()["documents"]
    repo.commit({"README": "x", "dags/notes.txt": "y", "dags/c.py": "x = 1"})
    assert catalog.index(known).documents_new == 0
    assert catalog.counts()["documents"] == before


class Interrupted(Exception):
    pass


def test_an_interrupted_run_goes_on_where_it_stopped(
    catalog: Catalog, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    shas = [repo.commit({"dags/a.py": dag("a", f"t{n}")}) for n in range(4)]
    known = register(catalog, repo)
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        catalog.index(known, everything=True, progress=stop)
    assert [(p.done, p.total, p.parsed, p.commit) for p in seen] == [
        (1, 4, 1, shas[0]), (2, 4, 2, shas[1]),
    ]  # fmt: skip
    assert list(temporary.iterdir()) == []
    assert counts(catalog.index(known, everything=True)) == (4, 2, 0, 2, 0)
    assert [catalog.dags(known, sha, parse=False).commit for sha in shas] == shas


def test_order_of_indexing_does_not_matter(
    catalog: Catalog, repo: Repo, tmp_path: Path, airflow_python: str
) -> None:
    shas = [
        repo.commit({"dags/a.py": dag("a", f"t{n}", body="import h"), "dags/h.py": f"X = {n}"})
        for n in range(2)
    ]
    known = register(catalog, repo)
    with opened_catalog(tmp_path / "other", repo.path, airflow_python) as (other, same):
        for sha in shas:
            catalog.index(known, sha)
        opened = other.opened(same)
        other.history(same).index([opened.commit(sha) for sha in reversed(shas)])
        for sha in shas:
            assert catalog.dags(known, sha).dags == other.dags(same, sha).dags


def test_a_commit_without_files(catalog: Catalog, repo: Repo) -> None:
    repo.commit()
    known = register(catalog, repo)
    assert counts(catalog.index(known)) == (1, 0, 0, 0, 0)
    assert catalog.dags(known).dags == ()
    repo.commit({"other/a.py": dag("a")})
    assert catalog.dags(known).dags == ()


# ── errors are data ───────────────────────────────────────────────────────────────────────────


FORGED = {
    "no fields": {"dags": [{"document": {}, "airflow": {}}], "errors": [], "opened": []},
    "no document": {"dags": [1], "errors": [], "opened": []},
    "lists": {"dags": [{"document": [], "airflow": None}], "errors": [], "opened": []},
    "errors": {"dags": [], "errors": [{"type": 1}], "opened": []},
    "opened": {"dags": [], "errors": [], "opened": [1, None, "a\0b", "../../x", "\ud800"]},
    "number": {"dags": {}, "errors": 5, "opened": "x"},
    "odd fields": {
        "dags": [
            {
                "document": {
                    "dag_id": 5, "tags": [[], 1], "owners": None, "tasks": [{}], "groups": [0],
                    "edges": [[]],
                },
                "airflow": {},
            }
        ],
        "errors": [],
        "opened": [],
    },
}  # fmt: skip


def test_a_forged_result_fails_its_file_alone(catalog: Catalog, repo: Repo) -> None:
    files = {"dags/good.py": dag("good")}
    for case, answer in FORGED.items():
        forged = f"os.write(3, {json.dumps(answer)!r}.encode())"
        files[f"dags/{case}.py"] = f"# airflow dag\nimport os\n{forged}\nos._exit(0)\n"
    repo.commit(files)
    known = register(catalog, repo)
    catalog.index(known)
    listing = catalog.dags(known)
    assert [row.dag_id for row in listing.dags] == ["good"]
    # A lie about files alone leaves an empty, harmless result.
    failed = {error.file for error in listing.errors}
    assert failed | {"dags/opened.py"} == files.keys() - {"dags/good.py"} | {"dags/opened.py"}


ODD = {
    "tags": ("schedule=None, tags=['\\udcff', 'b']", "\\udcff"),
    "owner": ("schedule=None, default_args={'owner': '\\udcff'}", "\\udcff"),
    "doc": ("schedule=None, doc_md='\\ud800'", "\\ud800"),
    "large": ("schedule=None, params={'x': 10**30}", "1" + "0" * 30),
    "real": ("schedule=None, params={'x': 1e300}", "1e+300"),
}


def test_odd_values_are_kept_or_fail_their_file_alone(catalog: Catalog, repo: Repo) -> None:
    files = {f"dags/{name}.py": dag(name, arguments=given) for name, (given, _) in ODD.items()}
    repo.commit({**files, "dags/good.py": dag("good")})
    known = register(catalog, repo)
    catalog.index(known)
    listing = catalog.dags(known)
    kept = {row.dag_id: row for row in listing.dags}
    assert "good" in kept
    assert kept.keys() | {Path(e.file).stem for e in listing.errors} == {"good", *ODD}
    for name in ODD.keys() & kept.keys():
        text = catalog.document_text(kept[name].dag_hash)
        assert ODD[name][1] in text.replace("\\\\", "\\")


def test_errors_name_no_folder_of_this_run(catalog: Catalog, repo: Repo) -> None:
    bad = "import airflow # dag\nimport os\nraise ValueError(os.path.abspath(__file__))"
    broken = "import airflow # dag\ndef f(:\n"
    repo.commit({"dags/bad.py": bad, "dags/broken.py": broken})
    known = register(catalog, repo)
    first, second = catalog.dags(known).errors
    assert (first.file, first.type, first.message) == (
        "dags/bad.py", "ValueError", "<repo>/dags/bad.py",
    )  # fmt: skip
    assert 'File "<repo>/dags/bad.py", line 3' in first.traceback
    assert (second.file, second.type) == ("dags/broken.py", "SyntaxError")
    for error in (first, second):
        assert tempfile.gettempdir() + "/" not in error.message + error.traceback
        assert "unusual_prefix" not in error.message + error.traceback


def test_names_that_are_not_utf_8_and_archives_are_failures(catalog: Catalog, repo: Repo) -> None:
    (repo.path / "dags").mkdir()
    Path(os.fsdecode(os.fsencode(repo.path) + b"/dags/\xff.py")).write_text(dag("x"))
    (repo.path / "dags" / "b.zip").write_bytes(b"PK\5\6" + bytes(18))
    repo.commit({"dags/a.py": dag("a")})
    listing = catalog.dags(register(catalog, repo))
    assert [row.dag_id for row in listing.dags] == ["a"]
    assert [(e.file, e.type) for e in listing.errors] == [
        ("dags/\\xff.py", "FileNameError"), ("dags/b.zip", "UnsupportedArchive"),
    ]  # fmt: skip


def test_a_folder_for_temporary_files_behind_a_link(
    catalog: Catalog, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import os, tempfile\nHERE = [os.getcwd(), __file__, os.path.realpath(__file__),\n"
    body += (
        "    tempfile.gettempdir(), os.path.realpath(tempfile.gettempdir()), os.environ['HOME']]"
    )
    repo.commit({"dags/a.py": dag("a", body=body, arguments="schedule=None, params={'p': HERE}")})
    known = register(catalog, repo)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    seen = []
    for place in ("real", "link"):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / place))
        history = catalog.history(known)
        (file,) = history.parse(catalog.commit(known, "HEAD"))
        (document,) = file.documents
        seen.append(json.loads(document.text)["params"]["p"]["value"])
    root, scratch = "<repo>", "<tmp>"
    expected = [root, f"{root}/dags/a.py", f"{root}/dags/a.py", scratch, scratch, "<home>"]
    assert seen == [expected, expected]


# ── what a parse read ─────────────────────────────────────────────────────────────────────────


def test_the_code_hash_holds_the_files_read_and_no_others(catalog: Catalog, repo: Repo) -> None:
    body = (
        "import os, pathlib, helper, package.deep\n"
        "open(os.path.join(os.path.dirname(__file__), 'sql', 'q.sql')).read()\n"
        "pathlib.Path(__file__).with_name('linked.txt').read_text()\n"
        "os.listdir(os.path.dirname(__file__))\n"
        "list(pathlib.Path(__file__).parent.rglob('*'))\n"
        "try: open('absent')\nexcept OSError: pass\n"
        "try: import no_such_helper\nexcept ImportError: pass\n"
        "os.path.exists(__file__ + '.txt')\nos.stat('dags/unread.py')\n"
        "open('/etc/hostname').close()\n"
        "open('dags/.airflowignore').close()\n"
    )
    files = {
        "dags/a.py": dag("a", body=body), "dags/b.py": dag("b"), "dags/helper.py": "import second",
        "dags/second.py": "", "dags/package/__init__.py": "", "dags/package/deep.py": "",
        "dags/package/unread.py": "", "dags/sql/q.sql": "select 1", "dags/unread.py": "",
        "dags/.airflowignore": "nothing", "target.txt": "t", "dags/a.py.txt": "",
    }  # fmt: skip
    (repo.path / "dags").mkdir()
    (repo.path / "dags" / "linked.txt").symlink_to("../target.txt")
    repo.commit(files)
    known = register(catalog, repo)
    assert read_by(catalog, known, "a") == [
        "dags/a.py", "dags/helper.py", "dags/package/__init__.py", "dags/package/deep.py",
        "dags/second.py", "dags/sql/q.sql", "target.txt",
    ]  # fmt: skip
    assert read_by(catalog, known, "b") == ["dags/b.py"]
    (row,) = [row for row in catalog.dags(known).dags if row.dag_id == "a"]
    for path, blob in catalog.files_read(row):
        assert blob == repo("rev-parse", f"HEAD:{path}")


def test_the_code_hash_follows_content_and_names(catalog: Catalog, repo: Repo) -> None:
    source = dag("a", body="import helper")
    shas = [
        repo.commit({"dags/a.py": source, "dags/helper.py": "x = 1", "dags/other.py": "1"}),
        repo.commit({"dags/helper.py": "x = 2"}),
        repo.commit({"dags/other.py": "2"}),
        repo.commit({"dags/helper.py": "x = 1"}),
    ]
    known = register(catalog, repo)
    rows = [catalog.dags(known, sha).dags[0] for sha in shas]
    codes = [row.code_hash for row in rows]
    assert codes[0] != codes[1] == codes[2] != codes[3] == codes[0]
    assert len({row.dag_hash for row in rows}) == 1
    pairs = [["dags/a.py", repo("rev-parse", "HEAD:dags/a.py")]]
    pairs.append(["dags/helper.py", repo("rev-parse", "HEAD:dags/helper.py")])
    text = json.dumps(pairs, separators=(",", ":")).encode()
    assert codes[3] == hashlib.sha256(text).hexdigest()


# ── what it depends on beside the commit ──────────────────────────────────────────────────────


def test_variables_reach_the_dag_and_make_another_environment(
    catalog: Catalog, repo: Repo, tmp_path: Path
) -> None:
    source = dag(
        "a",
        body="import os\nfrom airflow.sdk import Variable, Connection",
        arguments="schedule=None, description=Variable.get('greeting') + os.environ['PLAIN']",
    )
    repo.commit({"dags/a.py": source})
    known = register(catalog, repo)
    assert [e.file for e in catalog.dags(known).errors] == ["dags/a.py"]
    variables = tmp_path / "env"
    seen = {catalog.history(known).environment(catalog.commit(known, "HEAD")).id}
    for greeting in ("hello", "bye"):
        variables.write_text(
            f"# of the deployment\n\nexport AIRFLOW_VAR_GREETING='{greeting}'\nPLAIN=\" you\"\n"
        )
        known = register(catalog, repo, env_file=str(variables))
        history = catalog.history(known)
        commit = catalog.commit(known, "HEAD")
        seen.add(history.environment(commit).id)
        (file,) = history.parse(commit)
        assert json.loads(file.documents[0].text)["description"] == f"{greeting} you"
        assert history.index([commit]).parsed == 1
        assert history.index([commit]).parsed == 0
    assert len(seen) == 3
    assert greeting not in json.dumps(sorted(seen))


PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.simple import NullTimetable

class Never(NullTimetable):
    def serialize(self): return {}

class Mine(AirflowPlugin):
    name = "mine"
    timetables = [Never]
"""


def test_plugins_are_loaded_when_configured_and_count_as_environment(
    repo: Repo, tmp_path: Path, airflow_python: str
) -> None:
    source = dag("a", body="from timetables import Never", arguments="schedule=Never()")
    shas = [
        repo.commit({"dags/a.py": source, "plugins/timetables.py": PLUGIN}),
        repo.commit({"plugins/timetables.py": PLUGIN + "# more\n"}),
        repo.commit({"README": "x"}),
    ]
    with opened_catalog(tmp_path / "off", repo.path, airflow_python) as (catalog, known):
        (error,) = catalog.dags(known).errors
        assert error.file == "dags/a.py"
        ids = {catalog.history(known).environment(catalog.commit(known, s)).id for s in shas}
        assert len(ids) == 1
    with opened_catalog(tmp_path / "on", repo.path, airflow_python, plugins="true") as found:
        catalog, known = found
        history = catalog.history(known)
        environments = [history.environment(catalog.commit(known, sha)) for sha in shas]
        assert environments[0].id != environments[1].id == environments[2].id
        assert len({e.family for e in environments}) == 1
        listings = [catalog.dags(known, sha) for sha in shas]
        assert [listing.errors for listing in listings] == [(), (), ()]
        assert [[row.dag_id for row in listing.dags] for listing in listings] == [["a"]] * 3
        assert read_by(catalog, known, "a") == ["dags/a.py"]
        # Nothing differs but the plugins, and that is said rather than shown as a change.
        assert catalog.compare(known, shas[0], shas[1]).changed == ()
        document = json.loads(catalog.document_text(listings[0].dags[0].dag_hash))
        assert document["schedule"]["type"] == "timetable"
        assert document["schedule"]["value"]["class"].endswith(".Never")


def test_a_plugin_of_one_commit_is_gone_at_the_next(
    repo: Repo, tmp_path: Path, airflow_python: str
) -> None:
    def plugin(word: str) -> str:
        return f"import os, builtins\nbuiltins.loaded = os.environ['LOADED'] = {word!r}\n{PLUGIN}"

    body = (
        "import builtins, os\nSEEN = [getattr(builtins, 'loaded', None), os.environ.get('LOADED')]"
    )
    source = dag("a", body=body, arguments="schedule=None, params={'seen': SEEN}")
    shas = [
        repo.commit({"dags/a.py": source, "plugins/p.py": plugin("one")}),
        repo.commit({"plugins/p.py": plugin("two")}),
        repo.commit({"plugins/p.py": None}),
    ]
    with opened_catalog(tmp_path / "home", repo.path, airflow_python, plugins="true") as found:
        catalog, known = found
        catalog.index(known, everything=True)
        seen = []
        for sha in shas:
            (row,) = catalog.dags(known, sha).dags
            document = json.loads(catalog.document_text(row.dag_hash))
            seen.append(document["params"]["seen"]["value"])
    # Whatever a file sees of its own commit's plugins, it sees nothing of another's.
    assert seen[0] in (["one", "one"], [None, None])
    assert seen[1] in (["two", "two"], [None, None])
    assert seen[2] == [None, None]


def test_the_folder_of_dags_is_where_init_was_told(catalog: Catalog, repo: Repo) -> None:
    repo.commit({"jobs/a.py": dag("a"), "dags/b.py": dag("b")})
    known = register(catalog, repo, dags_folder="jobs")
    assert [row.file for row in catalog.dags(known).dags] == ["jobs/a.py"]


def test_two_files_with_one_dag_id_are_both_kept(catalog: Catalog, repo: Repo) -> None:
    repo.commit({"dags/a.py": dag("same", "x"), "dags/b.py": dag("same", "y")})
    rows = catalog.dags(register(catalog, repo)).dags
    assert [(row.dag_id, row.file) for row in rows] == [
        ("same", "dags/a.py"),
        ("same", "dags/b.py"),
    ]


def test_bytecode_in_the_repository_stands_for_nothing(catalog: Catalog, repo: Repo) -> None:
    helper = repo.path / "dags" / "helper.py"
    helper.parent.mkdir(parents=True)
    helper.write_text("X = 'lies'\n")
    cached = importlib.util.cache_from_source(str(helper))
    py_compile.compile(
        str(helper), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    body = "import helper"
    source = dag("a", body=body, arguments="schedule=None, description=helper.X")
    repo.commit({"dags/helper.py": "X = 'truth'\n", "dags/a.py": source})
    assert Repository(repo.path).find(
        catalog.commit(register(catalog, repo), "HEAD").tree,
        f"dags/__pycache__/{Path(cached).name}".encode(),
    )
    known = register(catalog, repo)
    (row,) = catalog.dags(known).dags
    assert json.loads(catalog.document_text(row.dag_hash))["description"] == "truth"
    assert read_by(catalog, known, "a") == ["dags/a.py", "dags/helper.py"]


def test_bytecode_that_stands_for_no_source_is_a_file_read(catalog: Catalog, repo: Repo) -> None:
    # Python imports helper.pyc where there is no helper.py: it is what the DAG was made of.
    (repo.path / "dags").mkdir()
    source = repo.path / "helper.py"
    source.write_text("X = 'from bytecode'\n")
    py_compile.compile(str(source), str(repo.path / "dags" / "helper.pyc"))
    source.unlink()
    text = dag("a", body="import helper", arguments="schedule=None, description=helper.X")
    repo.commit({"dags/a.py": text})
    known = register(catalog, repo)
    assert read_by(catalog, known, "a") == ["dags/a.py", "dags/helper.pyc"]
