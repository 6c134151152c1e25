"""`--engine auto`: Airflow where it reads a file, the recorder where not, and never one against the other."""

from __future__ import annotations

import venv
from pathlib import Path

import pytest

from gitdags.catalog import Catalog, NoSuchDag
from gitdags.check import check
from gitdags.config import Settings
from gitdags.listings import NotIndexed
from gitdags.model import Log, RegisteredRepository
from tests.conftest import Repo, dag

pytestmark = pytest.mark.usefixtures("airflow_python")


def old(dag_id: str, *tasks: str, imports: str = "") -> str:
    """A file of 1.10, which Airflow 3 cannot import."""
    lines = [
        "from airflow import DAG",
        "from airflow.operators.dummy_operator import DummyOperator",
        imports,
        f"dag = DAG({dag_id!r}, schedule_interval='@daily')",
        *(f"{task} = DummyOperator(task_id={task!r}, dag=dag)" for task in tasks),
    ]
    if len(tasks) > 1:
        lines.append(" >> ".join(tasks))
    return "\n".join(lines) + "\n"


def missing(text: str) -> str:
    """The same file, after it came to need a package that is not there."""
    return "from acme.operators import LoadOperator\n" + text


@pytest.fixture
def bare_python(tmp_path: Path) -> str:
    """An interpreter without any package."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    return str(tmp_path / "bare" / "bin" / "python")


def using(catalog: Catalog, **flags: str) -> Catalog:
    """The same home, other settings."""
    home = str(catalog._settings.home)
    return Catalog(Settings({"home": home, "jobs": "2", **flags}, {}, None, None))


def words(log: Log) -> list[tuple[str, str, str]]:
    """(subject, change, engine), oldest first."""
    return [(v.commit.subject, v.change, v.engine) for v in reversed(log.versions)]


def known(catalog: Catalog, repo: Repo) -> RegisteredRepository:
    return catalog.registry.add(str(repo.path))


class TestAtACommit:
    def test_what_airflow_cannot_read_is_recorded(self, catalog: Catalog, repo: Repo) -> None:
        repo.commit({"dags/new.py": dag("new"), "dags/old.py": old("old", "a", "b")})
        listing = catalog.dags(known(catalog, repo))
        rows = {row.dag_id: (row.engine, row.tasks) for row in listing.dags}
        assert rows == {"new": ("airflow", 1), "old": ("recorder", 2)}
        # That it does not import stays said.
        assert [(e.file, e.type) for e in listing.errors] == [
            ("dags/old.py", "ModuleNotFoundError")
        ]
        shown = catalog.document(known(catalog, repo), "old")
        assert (shown.row.engine, shown.stale_from) == ("recorder", None)
        assert shown.document["edges"] == [["a", "b", None]]
        assert shown.row.guesses[0] == "written for Airflow 1.10.15, by its imports"
        assert catalog.airflow_json(shown.row) is None

    def test_one_engine_only(self, catalog: Catalog, repo: Repo) -> None:
        repo.commit({"dags/new.py": dag("new"), "dags/old.py": old("old", "a")})
        registered = known(catalog, repo)
        catalog.index(registered)
        with using(catalog, engine="airflow") as exact:
            listing = exact.dags(registered)
            assert [(r.dag_id, r.engine) for r in listing.dags] == [("new", "airflow")]
            with pytest.raises(NoSuchDag):
                exact.document(registered, "old")
        with using(catalog, engine="recorder") as recorder:
            listing = recorder.dags(registered)
            assert [(r.dag_id, r.engine) for r in listing.dags] == [
                ("new", "recorder"), ("old", "recorder"),
            ]  # fmt: skip
            assert listing.errors == ()

    def test_a_file_that_neither_can_read_is_a_failure(self, catalog: Catalog, repo: Repo) -> None:
        repo.commit({"dags/a.py": dag("a")})
        repo.commit({"dags/a.py": "from airflow import DAG  # dag\nraise ValueError('no')\n"})
        registered = known(catalog, repo)
        catalog.index(registered, everything=True)
        assert catalog.document(registered, "a").stale_from is not None
        assert words(catalog.log(registered, "a")) == [
            ("change", "added", "airflow"), ("change", "failed", "airflow"),
        ]  # fmt: skip

    def test_nothing_is_recorded_where_all_is_read(self, catalog: Catalog, repo: Repo) -> None:
        for n in range(3):
            repo.commit({"dags/a.py": dag("a", f"t{n}")})
        registered = known(catalog, repo)
        assert catalog.index(registered, everything=True).recorded == 0
        assert {e.engine for e in catalog._store.environments().values()} == {"airflow"}

    def test_placeholders_and_guesses_belong_to_the_row(self, catalog: Catalog, repo: Repo) -> None:
        source = old(
            "old", "a", imports="from airflow.models import Variable\nx = Variable.get('x')"
        )
        repo.commit({"dags/old.py": source})
        registered = known(catalog, repo)
        shown = catalog.document(registered, "old")
        assert shown.row.placeholders == ("variable x",)
        assert not {"guesses", "placeholders", "engine"} & set(shown.document)


class TestHistory:
    def test_one_log_across_eras(self, catalog: Catalog, repo: Repo) -> None:
        repo.commit({"dags/a.py": old("a", "x")}, "begin")
        repo.commit({"dags/a.py": old("a", "x", "y")}, "second task")
        new = dag("a", "x", "y", arguments="schedule='@daily'")
        repo.commit({"dags/a.py": new}, "airflow 3")
        repo.commit({"dags/a.py": new, "README": "r"}, "read me")
        repo.commit({"dags/a.py": new + "    EmptyOperator(task_id='z')\n"}, "third task")
        registered = known(catalog, repo)
        catalog.index(registered, everything=True)
        log = catalog.log(registered, "a")
        # The module of the operators differs at the third, seen by the recorder on both sides.
        assert words(log) == [
            ("begin", "added", "recorder"), ("second task", "structure", "recorder"),
            ("airflow 3", "structure", "recorder"), ("third task", "structure", "airflow"),
        ]  # fmt: skip
        assert (log.unindexed, log.elsewhere, log.incomparable) == (0, 0, 0)
        # Recorded: where Airflow fails, and the first commit after.
        recorder = {e.id for e in catalog._store.environments().values() if not e.exact}
        indexed = catalog._store.indexed(registered)
        assert sum(bool(recorder & set(environments)) for environments in indexed.values()) == 3
        blamed = {
            one.name: (one.added.subject, one.changed.subject)
            for one in catalog.blame(registered, "a")
        }
        assert blamed[("x", "y")] == ("second task", "second task")
        assert blamed[("z",)] == ("third task", "third task")
        assert blamed[("x",)] == ("begin", "airflow 3")

    def test_a_file_that_stops_importing_and_goes_on_changing(
        self, catalog: Catalog, repo: Repo
    ) -> None:
        repo.commit({"dags/a.py": dag("a", "x")}, "good")
        repo.commit({"dags/a.py": missing(dag("a", "x"))}, "broken")
        repo.commit({"dags/a.py": missing(dag("a", "x", "y"))}, "changed")
        repo.commit({"dags/a.py": dag("a", "x", "y")}, "mended")
        registered = known(catalog, repo)
        catalog.index(registered, everything=True)
        assert words(catalog.log(registered, "a")) == [
            ("good", "added", "airflow"), ("broken", "failed", "airflow"),
            ("changed", "structure", "recorder"), ("mended", "fixed", "airflow"),
        ]  # fmt: skip
        assert catalog.document(registered, "a", "HEAD~1").document["edges"] == [["x", "y", None]]

    def test_commits_indexed_one_at_a_time(self, catalog: Catalog, repo: Repo) -> None:
        registered = None
        for subject, text in (
            ("good", dag("a", "x")), ("broken", missing(dag("a", "x", "y"))), ("gone", None),
        ):  # fmt: skip
            repo.commit({"dags/a.py": text}, subject)
            registered = registered or known(catalog, repo)
            catalog.index(registered, "HEAD")
        assert registered is not None
        assert words(catalog.log(registered, "a")) == [
            ("good", "added", "airflow"), ("broken", "failed", "airflow"), ("gone", "removed", "airflow"),
        ]  # fmt: skip

    def test_where_the_recorder_is_missing_on_one_side_it_is_said(
        self, catalog: Catalog, repo: Repo
    ) -> None:
        one = repo.commit({"dags/a.py": old("a", "x")}, "old")
        two = repo.commit({"dags/a.py": dag("a", "x")}, "new")
        registered = known(catalog, repo)
        with using(catalog, engine="airflow") as exact:
            exact.index(registered, everything=True)
        log = catalog.log(registered, "a")
        assert (words(log), log.incomparable) == ([], 1)
        found = catalog.compare(registered, one, two, parse=False)
        assert any("cannot be compared" in note for note in found.notes)
        # With parsing allowed the recorder is asked, and then nothing but the module differs.
        found = catalog.compare(registered, one, two)
        assert (found.added, found.fixed, [d.dag_id for d in found.changed]) == ((), (), ["a"])


class TestComparison:
    def test_both_sides_by_one_engine(self, catalog: Catalog, repo: Repo) -> None:
        one = repo.commit(
            {"dags/a.py": old("a", "x"), "dags/b.py": dag("b", "x"), "dags/c.py": old("c", "x")}
        )
        two = repo.commit(
            {
                "dags/a.py": old("a", "x", "y"), "dags/b.py": missing(dag("b", "x", "y")),
                "dags/c.py": None, "dags/d.py": old("d", "x"),
            }
        )  # fmt: skip
        registered = known(catalog, repo)
        found = catalog.compare(registered, one, two)
        assert (found.added, found.removed, found.failed, found.fixed) == (
            ("d",), ("c",), ("b",), (),
        )  # fmt: skip
        assert {d.dag_id: d.tasks_added for d in found.changed} == {"a": ("y",), "b": ("y",)}
        assert found.changed[0].attributes == {}
        assert any("are compared as recorded" in note for note in found.notes)
        assert catalog.compare_dag(registered, one, two, "a").diff.tasks_added == ("y",)

    def test_different_engines_are_not_compared(
        self, catalog: Catalog, repo: Repo, bare_python: str
    ) -> None:
        one = repo.commit({"dags/a.py": dag("a", "x")})
        two = repo.commit({"dags/a.py": dag("a", "x", "y")})
        registered = known(catalog, repo)
        with using(catalog, python=bare_python) as recorder:
            recorder.index(registered, one)
        with using(catalog, engine="airflow") as exact:
            exact.index(registered, two)
        with pytest.raises(NotIndexed, match="never parsed in the same environment"):
            catalog.compare(registered, one, two, parse=False)
        assert catalog.compare(registered, one, two).changed[0].tasks_added == ("y",)

    def test_check_objects_to_what_airflow_cannot_import(
        self, catalog: Catalog, repo: Repo
    ) -> None:
        one = repo.commit({"dags/a.py": dag("a", "x")})
        two = repo.commit({"dags/a.py": missing(dag("a", "x"))})
        report = check(catalog, known(catalog, repo), f"{one}..{two}")
        assert [(f.kind, f.file) for f in report.findings] == [("import", "dags/a.py")]
        assert report.engine == "airflow"


class TestWithoutAirflow:
    def test_all_but_running_airflow_works(
        self, catalog: Catalog, repo: Repo, bare_python: str
    ) -> None:
        one = repo.commit({"dags/a.py": dag("a", "x"), "dags/old.py": old("old", "x")}, "one")
        two = repo.commit({"dags/a.py": dag("a", "x", "y")}, "two")
        registered = known(catalog, repo)
        with using(catalog, python=bare_python) as bare:
            report = bare.index(registered, everything=True)
            assert (report.parsed, report.errors, report.recorded) == (4, 0, 0)
            assert {row.engine for row in bare.dags(registered).dags} == {"recorder"}
            assert words(bare.log(registered, "a")) == [
                ("one", "added", "recorder"), ("two", "structure", "recorder"),
            ]  # fmt: skip
            assert bare.compare(registered, one, two).changed[0].tasks_added == ("y",)
            checked = check(bare, registered, f"{one}..{two}")
            assert (checked.findings, checked.engine) == ((), "recorder")
        # Where there is Airflow after all, its rows are shown.
        assert {row.engine for row in catalog.dags(registered).dags} == {"airflow", "recorder"}

    def test_without_libraries_dates_are_dates(
        self, catalog: Catalog, repo: Repo, bare_python: str
    ) -> None:
        repo.commit(
            {
                "dags/a.py": "import pendulum, pytz\nfrom datetime import datetime\n"
                "from airflow.sdk import DAG\n"
                "dag = DAG('a', start_date=pendulum.datetime(2025, 1, 2, tz='Europe/Paris'),\n"
                "          end_date=datetime(2025, 2, 1, tzinfo=pytz.utc),\n"
                "          schedule=pendulum.duration(days=1))\n"
            }
        )
        with using(catalog, python=bare_python) as bare:
            document = bare.document(known(catalog, repo), "a").document
        assert (document["start_date"], document["end_date"]) == (
            "2025-01-01T23:00:00Z", "2025-02-01T00:00:00Z",
        )  # fmt: skip
        assert document["timezone"] == "Europe/Paris"
        assert document["schedule"] == {"type": "timedelta", "value": 86400}
