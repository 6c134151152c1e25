"""From the spool to what is shown of a run: drained, attributed, kept alive, given its document."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitdags import keep
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.drain import DrainReport
from gitdags.model import RegisteredRepository
from gitdags.run_catalog import AmbiguousRun, NoSuchRun
from gitdags.spool import VERSION
from gitdags.store import StoreUnavailable
from tests.conftest import Repo, dag

UNSTABLE = dag("sales", "a").replace("task_id='a'", "task_id='a' + str(random.random())[2:]")


@pytest.fixture
def registered(repo: Repo, catalog: Catalog) -> RegisteredRepository:
    repo.commit({"dags/sales.py": dag("sales", "extract", "load")}, "begin")
    return catalog.registry.add(str(repo.path), name="dags")


def stamped(catalog: Catalog, **fields: object) -> str:
    return catalog.spool.append(
        {
            "kind": "stamp", "airflow": "default", "dag_id": "sales", "run_id": "r",
            "state": "success", "source": "scheduler", **fields,
        }
    )  # fmt: skip


class TestDrain:
    def test_every_kind(self, catalog: Catalog, repo: Repo, registered: object) -> None:
        sha = repo("rev-parse", "HEAD")
        stamped(catalog, commit=sha, repo="dags", task_id="load", try_number=1, source="worker")
        catalog.spool.append(
            {"kind": "move", "repo": "dags", "ref": "refs/heads/main", "old": None, "new": sha,
             "by": "ada", "source": "airflow"}
        )  # fmt: skip
        catalog.spool.append(
            {"kind": "rendered", "airflow": "default", "dag_id": "sales", "run_id": "r",
             "task_id": "load", "try_number": 1, "fields": {"sql": "SELECT 1"}}
        )  # fmt: skip
        assert catalog.drain() == DrainReport(stamps=1, deployments=1, rendered=1)
        assert catalog.drain().empty
        run = catalog.run("sales", "r")
        assert catalog.rendered(run) == {("load", -1, 1): {"sql": "SELECT 1"}}
        (found,) = catalog.deployments()
        assert (found.ref, found.new, found.by, found.source) == (
            "refs/heads/main",
            sha,
            "ada",
            "airflow",
        )

    def test_what_says_nothing_is_refused_and_kept(self, catalog: Catalog) -> None:
        bad: list[dict[str, object]] = [
            {}, {"kind": "stamp"}, {"kind": "rumour"}, {"kind": "stamp", "dag_id": "d", "run_id": ["r"]},
            {"kind": "move", "ref": "refs/heads/x", "repo": "d", "old": "xyz", "source": "hook"},
            {"kind": "move", "ref": "main", "repo": "d", "source": "hook"},
            {"kind": "move", "ref": "HEAD", "repo": "d", "source": "rumour"},
            {"kind": "move", "ref": "HEAD", "path": "/nowhere", "source": "hook"},
            {"kind": "rendered", "dag_id": "d", "run_id": "r", "fields": {}},
            {"kind": "rendered", "dag_id": "d", "run_id": "r", "task_id": "t", "fields": 5},
        ]  # fmt: skip
        for record in bad:
            catalog.spool.append(record)
        stamped(catalog)
        assert catalog.drain() == DrainReport(stamps=1, refused=len(bad))
        lines = (catalog.spool.folder / "refused").read_bytes().split(b"\n")
        reasons = [json.loads(line[9:])["refused"] for line in lines if line]
        assert len(reasons) == len(bad)
        assert all(reasons)

    def test_what_a_later_gitdags_wrote_waits_for_it(self, catalog: Catalog) -> None:
        stamped(catalog, v=VERSION + 1)
        stamped(catalog)
        assert catalog.drain() == DrainReport(stamps=1, later=1)
        assert catalog.drain().empty
        assert (catalog.spool.folder / f"aside-{VERSION}").exists()

    def test_the_store_is_away_for_a_while(
        self, catalog: Catalog, settings: Settings, registered: object
    ) -> None:
        stamped(catalog)
        database = settings.home / "gitdags.db"
        aside = database.rename(database.with_suffix(".away"))
        database.mkdir()  # root may write anything, but not a folder
        with Catalog(settings) as other, pytest.raises(StoreUnavailable):
            other.drain()
        stamped(catalog, run_id="later")
        database.rmdir()
        aside.rename(database)
        with Catalog(settings) as other:
            assert other.drain().stamps == 2

    def test_a_move_by_path(self, catalog: Catalog, repo: Repo, registered: object) -> None:
        sha = repo("rev-parse", "HEAD")
        catalog.spool.append(
            {
                "kind": "move",
                "path": str(repo.path / ".git"),
                "ref": "HEAD",
                "new": sha,
                "source": "hook",
            }
        )
        assert catalog.drain().deployments == 1
        assert catalog.deployments()[0].repo == "dags"

    @pytest.mark.parametrize(
        "record",
        [
            {"kind": "stamp", "dag_id": "d", "run_id": "x" * 4_000, "source": "worker"},
            {"kind": "move", "ref": "HEAD", "repo": "x" * 80, "new": "a" * 40, "source": "hook"},
            {"kind": "move", "ref": "refs/heads/" + "x" * 2_000, "repo": "d", "source": "hook"},
        ],
    )
    def test_no_record_stops_the_others(
        self, settings: Settings, database: str, record: dict[str, object]
    ) -> None:
        flags = {"home": str(settings.home), "db": database}
        with Catalog(Settings(flags, {}, None, None)) as catalog:
            catalog.spool.append(record)
            odd = {"ref": "refs/heads/\ud800", "by": "a\0\udcff", "new": "a" * 40, "repo": "d"}
            catalog.spool.append({"kind": "move", "source": "hook", **odd})
            stamped(catalog, id="a\0b")
            assert catalog.drain() == DrainReport(stamps=1, deployments=1, refused=1)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda box: (box / "seen.json").write_text('{"read": [], "refs": []}'),
            lambda box: (box / "moves").write_text(
                f"\n1 post-commit 99999999999999999999.5 1 {'a' * 40} {'b' * 40} refs/heads/x ada .\n"
            ),
            lambda box: (box / "lock").mkdir(),
        ],
    )
    def test_no_repository_stops_the_others(
        self, catalog: Catalog, repo: Repo, registered: object, spoil: Callable[[Path], object]
    ) -> None:
        box = repo.path / ".git" / "gitdags"
        box.mkdir()
        spoil(box)
        stamped(catalog)
        assert catalog.drain().stamps == 1

    def test_a_commit_is_kept_as_soon_as_its_stamp_is_drained(
        self, catalog: Catalog, repo: Repo, registered: object
    ) -> None:
        sha = repo("rev-parse", "HEAD")
        stamped(catalog, commit=sha)
        stamped(catalog, commit="e" * 40)
        catalog.drain()
        assert keep.kept(repo.path) == {sha}

    def test_a_path_of_another_host_says_nothing_of_this_one(
        self, catalog: Catalog, repo: Repo, registered: object
    ) -> None:
        stamped(catalog, path=str(repo.path / "dags"), remote=True)
        catalog.drain()
        assert catalog.run("sales", "r").repo is None


class TestAttribution:
    """Runs whose DAGs came from a plain checkout, which has no version."""

    def at(self, catalog: Catalog, when: datetime, path: Path) -> tuple[object, ...]:
        stamped(
            catalog, run_id=f"{when}", at=when.timestamp(), path=str(path), source="worker",
            task_id="load", try_number=1,
        )  # fmt: skip
        catalog.drain()
        run = catalog.run("sales", f"{when}")
        return run.repo, run.commit, run.source, run.dirty

    def test_by_the_reflog(self, catalog: Catalog, repo: Repo, registered: object) -> None:
        first, second = repo("rev-parse", "HEAD"), repo.commit({"x": "1"})
        path = repo.path / "dags" / "sales.py"
        first_day = datetime(2025, 1, 1, 13, tzinfo=UTC)
        assert self.at(catalog, first_day, path) == ("dags", first, "checkout", False)
        assert self.at(catalog, datetime.now(UTC), path) == ("dags", second, "checkout", False)

    def test_by_a_deployment(self, catalog: Catalog, repo: Repo, registered: object) -> None:
        first, _ = repo("rev-parse", "HEAD"), repo.commit({"x": "1"})
        now = datetime.now(UTC)
        catalog.spool.append(
            {"kind": "move", "repo": "dags", "ref": "HEAD", "old": None, "new": first, "source": "hook",
             "at": (now - timedelta(hours=1)).timestamp()}
        )  # fmt: skip
        catalog.drain()
        assert self.at(catalog, now, repo.path)[1:3] == (first, "deployment")

    def test_with_changes_that_no_commit_has(
        self, catalog: Catalog, repo: Repo, registered: object
    ) -> None:
        (repo.path / "dags" / "sales.py").write_text("changed")
        assert self.at(catalog, datetime.now(UTC), repo.path / "dags")[3] is True
        assert {"dirty", "inferred"} <= set(catalog.runs()[0].flags)

    def test_before_the_first_commit(
        self, catalog: Catalog, repo: Repo, registered: object
    ) -> None:
        when = datetime(2020, 1, 1, tzinfo=UTC)
        assert self.at(catalog, when, repo.path)[:3] == ("dags", None, "worker")

    def test_a_path_of_nobodys(self, catalog: Catalog, tmp_path: Path, registered: object) -> None:
        assert self.at(catalog, datetime.now(UTC), tmp_path)[:2] == (None, None)

    def test_through_a_link(
        self, catalog: Catalog, repo: Repo, tmp_path: Path, registered: object
    ) -> None:
        (tmp_path / "deployed").symlink_to(repo.path)
        path = tmp_path / "deployed" / "dags" / "sales.py"
        assert self.at(catalog, datetime.now(UTC), path)[0] == "dags"


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.usefixtures("airflow_python")
class TestSettling:
    def test_a_run_gets_its_document_and_its_commit_stays(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        sha = repo("rev-parse", "HEAD")
        stamped(catalog, commit=sha)  # it does not say of which repository
        catalog.drain()
        assert catalog.settle() == 1
        run = catalog.run("sales", "r")
        assert (run.repo, run.doubt, run.unstable) == ("dags", None, False)
        document = json.loads(catalog.document_text(run.dag_hash or ""))
        assert [task["task_id"] for task in document["tasks"]] == ["extract", "load"]
        assert keep.kept(repo.path) == {sha}
        assert catalog.settle() == 0

    def test_its_commit_survives_a_force_push_and_gc(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        lost = repo.commit({"dags/sales.py": dag("sales", "only_here")}, "lost")
        stamped(catalog, commit=lost)
        catalog.drain()
        catalog.settle()
        repo("reset", "-q", "--hard", "HEAD~1")
        repo("reflog", "expire", "--expire=now", "--all")
        repo("gc", "-q", "--prune=now")
        with Catalog(
            Settings({"home": str(Path(catalog.spool.folder).parent)}, {}, None, None)
        ) as fresh:
            run = fresh.run("sales", "r")
            assert b"only_here" in fresh.source(registered, "dags/sales.py", run.commit or "")

    @pytest.mark.parametrize(
        ("fields", "doubt"),
        [
            ({"commit": "e" * 40}, "unknown repository"),
            ({"commit": "e" * 40, "repo": "dags"}, "unknown commit"),
            ({"commit": "e" * 40, "repo": "nobody"}, "unknown repository"),
            ({"commit": "main", "repo": "dags"}, "unknown commit"),
            ({}, "unknown commit"),
            ({"dag_id": "gone", "commit": "HEAD"}, "unknown dag"),
            ({"dag_id": "broken", "commit": "HEAD"}, "unknown dag"),
        ],
    )
    def test_doubt_is_said_not_dropped(
        self, catalog: Catalog, repo: Repo, registered: object, fields: dict[str, str], doubt: str
    ) -> None:
        if fields.get("commit") == "HEAD":
            fields = {**fields, "commit": repo("rev-parse", "HEAD")}
        stamped(catalog, **fields)
        catalog.drain()
        catalog.settle()
        (run,) = catalog.runs()
        assert (run.dag_hash, run.doubt) == (None, doubt)
        assert doubt in run.flags

    def test_a_dag_that_fails_at_its_commit(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        catalog.index(registered, "HEAD")
        sha = repo.commit({"dags/sales.py": dag("sales") + "\nraise ValueError\n"})
        stamped(catalog, commit=sha)
        catalog.drain()
        catalog.settle()
        assert catalog.run("sales", "r").doubt == "import error"

    def test_a_repository_that_is_registered_later(self, catalog: Catalog, repo: Repo) -> None:
        sha = repo.commit({"dags/sales.py": dag("sales")})
        stamped(catalog, commit=sha)
        catalog.drain()
        catalog.settle()
        assert catalog.run("sales", "r").doubt == "unknown repository"
        catalog.registry.add(str(repo.path), name="dags")
        assert catalog.settle() == 0
        assert catalog.settle(again=True) == 1
        assert catalog.run("sales", "r").dag_hash

    def test_a_repository_that_is_only_claimed_is_no_others(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        sha = repo("rev-parse", "HEAD")
        stamped(catalog, commit=sha, repo="dags")
        stamped(catalog, commit=sha, repo="ghost", run_id="evil")
        catalog.drain()
        catalog.settle()
        good, evil = catalog.run("sales", "r"), catalog.run("sales", "evil")
        assert (good.repo, good.doubt, bool(good.dag_hash)) == ("dags", None, True)
        assert (evil.repo, evil.doubt, evil.dag_hash) == ("ghost", "unknown repository", None)

    def test_a_repository_that_cannot_keep_holds_up_no_document(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        sha = repo("rev-parse", "HEAD")
        repo("update-ref", "refs/gitdags/keep", sha)  # in the way of refs/gitdags/keep/…
        stamped(catalog, commit=sha)
        catalog.drain()
        assert catalog.settle() == 1

    def test_tries_in_doubt_are_not_asked_again_and_again(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        sha = repo("rev-parse", "HEAD")
        other = repo.commit({"x": "1"})
        stamped(catalog, commit=sha, state="running")
        for number in range(9):
            stamped(
                catalog, commit=f"{number}" * 40, task_id="a", try_number=number, source="worker",
            )  # fmt: skip
        stamped(catalog, commit=other, task_id="z", try_number=1, source="worker")
        catalog.drain()
        for _ in range(4):
            catalog.settle(3)
        tries = {each.task_id: each for each in catalog.run("sales", "r").tries}
        assert tries["z"].dag_hash

    def test_a_shapeshifter(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        sha = repo.commit({"dags/sales.py": "import random\n" + UNSTABLE})
        for name in ("r", "r2"):
            stamped(catalog, commit=sha, run_id=name)
            catalog.drain()
            catalog.settle()
        runs = catalog.runs()
        assert [run.unstable for run in runs] == [True, True]
        assert "shapeshifting" in runs[0].flags
        assert len({run.dag_hash for run in runs}) == 1

    def test_a_try_elsewhere_gets_its_own(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        first = repo("rev-parse", "HEAD")
        second = repo.commit({"dags/sales.py": dag("sales", "extract", "store")})
        stamped(catalog, commit=first)
        stamped(catalog, commit=second, state="running")
        stamped(catalog, commit=second, task_id="store", try_number=2, source="worker")
        catalog.drain()
        catalog.settle()
        run = catalog.run("sales", "r")
        assert (run.commit, run.moved_to) == (first, (second,))
        assert run.tries[0].dag_hash not in (None, run.dag_hash)
        assert [found.run_id for found in catalog.runs(commit=second)] == ["r"]

    def test_a_repository_one_may_only_read(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        stamped(catalog, commit=repo("rev-parse", "HEAD"))
        catalog.drain()
        folders = [Path(place) for place, _, _ in os.walk(repo.path)]
        for folder in folders:
            folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        try:
            assert catalog.settle() == 1
        finally:
            for folder in folders:
                folder.chmod(0o755)


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.usefixtures("airflow_python")
class TestByHand:
    def test_said_once_and_twice(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        for _ in range(2):
            run = catalog.stamp(registered, "sales", "r", "HEAD")
        assert (run.commit, run.source, run.conflict) == (
            repo("rev-parse", "HEAD"),
            "manual",
            False,
        )
        assert len(catalog.events(run)) == 1

    def test_said_otherwise(
        self, catalog: Catalog, repo: Repo, registered: RegisteredRepository
    ) -> None:
        repo.commit({"x": "1"})
        catalog.stamp(registered, "sales", "r", "HEAD~1")
        run = catalog.stamp(registered, "sales", "r", "HEAD")
        assert (run.commit, run.conflict) == (repo("rev-parse", "HEAD~1"), True)

    def test_of_the_installation_that_has_the_run(
        self, catalog: Catalog, registered: RegisteredRepository
    ) -> None:
        stamped(catalog, airflow="prod")
        catalog.drain()
        assert catalog.stamp(registered, "sales", "r").airflow == "prod"
        assert len(catalog.runs()) == 1


class TestAsking:
    def test_no_such_run(self, catalog: Catalog) -> None:
        stamped(catalog, run_id="scheduled__2026-03-01")
        catalog.drain()
        with pytest.raises(NoSuchRun, match="scheduled__2026-03-01"):
            catalog.run("sales", "scheduled__2026-03-02")
        with pytest.raises(NoSuchRun) as caught:
            catalog.run("nobody", "r")
        assert caught.value.hint == "gitdags runs"

    def test_two_installations(self, catalog: Catalog) -> None:
        stamped(catalog, airflow="prod")
        stamped(catalog, airflow="staging")
        catalog.drain()
        with pytest.raises(AmbiguousRun, match="prod, staging"):
            catalog.run("sales", "r")
        assert catalog.run("sales", "r", "prod").airflow == "prod"


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.usefixtures("airflow_python")
class TestSuspects:
    HELPED = "from helper import NAME\n" + dag("sales", "extract", "load")

    @pytest.fixture
    def commits(self, repo: Repo, registered: RegisteredRepository) -> list[str]:
        return [
            repo.commit({"dags/sales.py": self.HELPED, "dags/helper.py": "NAME = 1\n"}, "good"),
            repo.commit({"dags/helper.py": "NAME = 2\n"}, "another name"),
            repo.commit({"README": "x"}, "documents"),
            repo.commit({"dags/other.py": dag("other")}, "another dag"),
            repo.commit({"dags/sales.py": self.HELPED.replace("'load'", "'store'")}, "store it"),
        ]

    def ran(self, catalog: Catalog, run_id: str, state: str, commit: str, **fields: object) -> None:
        stamped(catalog, run_id=run_id, state=state, commit=commit, repo="dags")
        stamped(
            catalog, run_id=run_id, state=state, commit=commit, repo="dags", task_id="extract",
            try_number=1, source="worker", **fields,
        )  # fmt: skip
        catalog.drain()
        catalog.settle()

    def test_between_the_last_good_run_and_this(self, catalog: Catalog, commits: list[str]) -> None:
        self.ran(catalog, "good", "success", commits[0], airflow_version="3.3.1", python="3.12")
        self.ran(catalog, "bad", "failed", commits[-1], airflow_version="3.3.2", python="3.12")
        found = catalog.suspects(catalog.run("sales", "bad"))
        assert found.good is not None
        assert (found.good.run_id, found.commits, found.undone) == ("good", 4, ())
        assert [(s.commit.subject, s.change, s.files) for s in found.suspects] == [
            ("store it", "structure", ("dags/sales.py",)),
            ("another name", "code", ("dags/helper.py",)),
        ]
        assert found.suspects[0].diff is not None
        assert found.suspects[0].diff.tasks_added == ("store",)
        assert found.runtime == {"airflow": ("3.3.1", "3.3.2")}

    def test_history_was_rewritten(self, catalog: Catalog, repo: Repo, commits: list[str]) -> None:
        self.ran(catalog, "good", "success", commits[-1])
        repo("checkout", "-q", "-b", "again", commits[0])
        again = repo.commit({"dags/helper.py": "NAME = 3\n"}, "rewritten")
        self.ran(catalog, "bad", "failed", again)
        found = catalog.suspects(catalog.run("sales", "bad"))
        assert [s.commit.subject for s in found.suspects] == ["rewritten"]
        assert [s.commit.subject for s in found.undone] == ["store it", "another name"]

    def test_a_merge_counts_for_what_it_settled(
        self, catalog: Catalog, repo: Repo, commits: list[str]
    ) -> None:
        self.ran(catalog, "good", "success", commits[-1])
        repo("checkout", "-q", "-b", "side", commits[-1])
        repo.commit({"dags/helper.py": "NAME = 9\n"}, "on a branch")
        repo("checkout", "-q", "main")
        repo.commit({"README": "y"}, "meanwhile")
        repo("merge", "-q", "--no-ff", "-m", "merge it", "side")
        self.ran(catalog, "bad", "failed", repo("rev-parse", "HEAD"))
        found = catalog.suspects(catalog.run("sales", "bad"))
        assert [s.commit.subject for s in found.suspects] == ["on a branch"]
        assert found.commits == 3

    def test_no_good_run(self, catalog: Catalog, commits: list[str]) -> None:
        self.ran(catalog, "bad", "failed", commits[-1])
        found = catalog.suspects(catalog.run("sales", "bad"))
        assert (found.good, found.suspects, found.commit) == (None, (), commits[-1])

    def test_the_same_commit(self, catalog: Catalog, commits: list[str]) -> None:
        self.ran(catalog, "good", "success", commits[0], image="sha256:1")
        self.ran(catalog, "bad", "failed", commits[0], image="sha256:2")
        found = catalog.suspects(catalog.run("sales", "bad"))
        assert (found.suspects, found.commits) == ((), 0)
        assert found.runtime == {"image": ("sha256:1", "sha256:2")}

    def test_the_failing_try_counts(self, catalog: Catalog, commits: list[str]) -> None:
        self.ran(catalog, "good", "success", commits[0])
        self.ran(catalog, "bad", "success", commits[1])
        stamped(
            catalog, run_id="bad", state="failed", commit=commits[-1], repo="dags",
            task_id="store", try_number=2, source="worker",
        )  # fmt: skip
        catalog.drain()
        assert catalog.suspects(catalog.run("sales", "bad")).commit == commits[-1]

    def test_a_commit_nobody_has(self, catalog: Catalog, commits: list[str]) -> None:
        self.ran(catalog, "good", "success", commits[0])
        self.ran(catalog, "bad", "failed", "e" * 40)
        found = catalog.suspects(catalog.run("sales", "bad"))
        assert (found.suspects, found.good_commit) == ((), commits[0])
        assert found.missing == ("e" * 40,)
