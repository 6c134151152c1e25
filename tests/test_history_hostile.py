"""What one commit, or one DAG file, must not do to the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitdags import scratch
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.git import TreeTooLarge
from tests.conftest import Repo, dag

pytestmark = pytest.mark.usefixtures("airflow_python")

SPOILER = """
import os, pathlib
from airflow.sdk import DAG
here = pathlib.Path(__file__).parent
good = here / "zz_good.py"
good.chmod(0o644)
good.write_text("raise ValueError('spoiled')  # airflow dag")
made = DAG("spoiler", schedule=None)
"""
LINKER = """
import os, pathlib
from airflow.sdk import DAG
here = pathlib.Path(__file__).parent
here.rename(here.with_name("moved"))
here.symlink_to({victim!r})
made = DAG("linker", schedule=None)
"""


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_a_file_cannot_spoil_its_neighbours(repo: Repo, tmp_path: Path, jobs: str) -> None:
    """Without a sandbox it can write, and is found out; with one it cannot, and is told so."""
    settings = Settings({"home": str(tmp_path / "home"), "jobs": jobs, "sandbox": "off"}, {})
    first = repo.commit({"dags/aa_spoiler.py": SPOILER, "dags/zz_good.py": dag("good")})
    second = repo.commit({"dags/aa_spoiler.py": None, "dags/other.py": dag("other")})
    with Catalog(settings) as catalog:
        found = catalog.registry.add(str(repo.path))
        catalog.index(found, everything=True)
        assert [row.dag_id for row in catalog.dags(found, first).dags] == ["good", "spoiler"]
        assert [row.dag_id for row in catalog.dags(found, second).dags] == ["good", "other"]
        assert catalog.dags(found, first).errors == ()


@pytest.mark.parametrize("tier", ["full", "landlock"])
def test_a_sandboxed_file_cannot_write_beside_itself(repo: Repo, tmp_path: Path, tier: str) -> None:
    settings = Settings({"home": str(tmp_path / "home"), "jobs": "2", "sandbox": tier}, {})
    tip = repo.commit({"dags/aa_spoiler.py": SPOILER, "dags/zz_good.py": dag("good")})
    with Catalog(settings) as catalog:
        listing = catalog.dags(catalog.registry.add(str(repo.path)), tip)
    assert [row.dag_id for row in listing.dags] == ["good"]
    (error,) = listing.errors
    assert error.file == "dags/aa_spoiler.py"
    assert error.type in ("OSError", "PermissionError")


def test_nothing_is_written_through_a_link_that_a_file_planted(repo: Repo, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "zz.py").write_text("mine")
    repo.commit({"dags/aa.py": LINKER.format(victim=str(victim)), "dags/zz.py": dag("zz")})
    repo.commit({"dags/zz.py": dag("zz", "new"), "dags/more.py": dag("more")})
    settings = Settings({"home": str(tmp_path / "home"), "jobs": "2", "sandbox": "off"}, {})
    with Catalog(settings) as catalog:
        found = catalog.registry.add(str(repo.path))
        catalog.index(found, everything=True)
        assert [row.dag_id for row in catalog.dags(found).dags] == ["linker", "more", "zz"]
    assert [p.name for p in victim.iterdir()] == ["zz.py"]
    assert (victim / "zz.py").read_text() == "mine"


def test_one_bad_commit_is_skipped_and_said(catalog: Catalog, repo: Repo) -> None:
    repo.commit({"dags/a.py": dag("a")})
    oid, mode = repo("rev-parse", "HEAD:dags/a.py"), b"100644"
    for _ in range(10):
        data = b"".join(mode + b" %d\0" % n + bytes.fromhex(oid) for n in range(10))
        oid, mode = repo("hash-object", "-t", "tree", "-w", "--stdin", input=data), b"40000"
    bomb = repo("commit-tree", oid, "-m", "bomb")
    damaged = repo("hash-object", "-t", "tree", "-w", "--literally", "--stdin", input=b"100644 a")
    broken = repo("commit-tree", damaged, "-m", "damaged")
    repo("update-ref", "refs/heads/bomb", bomb)
    repo("update-ref", "refs/heads/damaged", broken)
    last = repo.commit({"dags/b.py": dag("b")})
    found = catalog.registry.add(str(repo.path))
    report = catalog.index(found, everything=True)
    assert {sha for sha, _ in report.skipped} == {bomb, broken}
    assert [row.dag_id for row in catalog.dags(found, last, parse=False).dags] == ["a", "b"]
    with pytest.raises(TreeTooLarge):
        catalog.index(found, "bomb")


class TestLayout:
    def test_another_folder_is_another_question(self, catalog: Catalog, repo: Repo) -> None:
        repo.commit({"dags/a.py": dag("a"), "jobs/b.py": dag("b")})
        found = catalog.registry.add(str(repo.path))
        assert [row.dag_id for row in catalog.dags(found).dags] == ["a"]
        found = catalog.registry.add(str(repo.path), dags_folder="jobs")
        assert [row.dag_id for row in catalog.dags(found).dags] == ["b"]
        assert catalog.index(found).parsed == 0

    def test_the_default_branch_says_how_the_repository_is_laid_out(
        self, catalog: Catalog, repo: Repo
    ) -> None:
        old = repo.commit({"jobs/b.py": dag("b")})
        repo.commit({"pyproject.toml": "[tool.gitdags]\ndags_folder = 'jobs'\n"})
        repo("checkout", "-q", "-b", "side")
        repo.commit({"pyproject.toml": "[tool.gitdags]\ndags_folder = 'elsewhere'\n"})
        found = catalog.registry.add(str(repo.path))
        assert [row.dag_id for row in catalog.dags(found, "side").dags] == ["b"]
        assert [row.dag_id for row in catalog.dags(found, old).dags] == ["b"]


def test_folders_of_dead_processes_are_swept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    running = os.fork()
    if running == 0:
        scratch.make("tree")
        os._exit(0)
    os.waitpid(running, 0)
    assert len(list(tmp_path.iterdir())) == 1
    mine = scratch.make("tree")
    assert list(tmp_path.iterdir()) == [mine]
