"""Which commits trusted refs reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitdags import git
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.serialize import sandbox
from gitdags.trust import Trust, Untrusted
from tests.conftest import Repo, dag


def test_the_default_branch_is_trusted(repo: Repo) -> None:
    first, tip = repo.commit({"a": "1"}), repo.commit({"a": "2"})
    repo("checkout", "-q", "-b", "evil")
    evil = repo.commit({"a": "3"})
    trust = Trust(git.Repository(repo.path))
    assert trust.refs == ("refs/heads/main",)
    assert [trust.holds(sha) for sha in (tip, first, evil)] == [True, True, False]
    with pytest.raises(
        Untrusted, match=rf"{evil[:12]} is not parsed.*no bubblewrap.*refs/heads/main"
    ):
        trust.demand(evil, "no bubblewrap")
    trust.demand(first, "")


def test_patterns_name_branches_and_full_refs(repo: Repo) -> None:
    base = repo.commit({"a": "0"})
    shas = {}
    for name in ("release/1", "release/2", "other"):
        repo("checkout", "-q", "-b", name, base)
        shas[name] = repo.commit({"a": name})
    repo("update-ref", "refs/pull/7/head", shas["other"])
    opened = git.Repository(repo.path)

    def held(*patterns: str) -> set[str]:
        trust = Trust(opened, patterns)
        return {name for name, sha in shas.items() if trust.holds(sha)}

    assert held("main") == set()
    assert held("release/*") == {"release/1", "release/2"}
    assert held("release/1", "refs/heads/other") == {"release/1", "other"}
    assert held("refs/pull/*") == {"other"}
    assert held("*") == {"release/1", "release/2", "other"}
    assert held("nothing") == set()


def test_a_tag_by_the_name_of_a_trusted_branch_is_not_trusted(repo: Repo) -> None:
    base = repo.commit({"a": "0"})
    repo("checkout", "-q", "--detach")
    evil = repo.commit({"a": "evil"})
    repo("tag", "release", evil)
    repo("branch", "release", base)
    trust = Trust(git.Repository(repo.path), ("release",))
    assert (trust.holds(base), trust.holds(evil)) == (True, False)


def test_a_branch_checked_out_is_not_trusted_for_that(repo: Repo) -> None:
    repo.commit({"a": "0"})
    repo("checkout", "-q", "-b", "evil")
    evil = repo.commit({"a": "1"})
    assert not Trust(git.Repository(repo.path)).holds(evil)


@pytest.mark.usefixtures("airflow_python")
class TestWithoutASandbox:
    """Neither tier is there: trusted commits alone are parsed."""

    @pytest.fixture
    def catalog(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
        monkeypatch.setattr(sandbox, "_unavailable", lambda tier, user: f"{tier} is not here")
        return Catalog(Settings({"home": str(tmp_path / "home"), "jobs": "2"}, {}))

    def test_others_are_refused_and_said(self, catalog: Catalog, repo: Repo) -> None:
        tip = repo.commit({"dags/a.py": dag("a")})
        repo("checkout", "-q", "-b", "evil")
        evil = repo.commit({"dags/a.py": "open('/tmp/escaped', 'w')  # airflow dag"})
        with catalog:
            known = catalog.registry.add(str(repo.path))
            report = catalog.index(known, everything=True)
            assert report.parsed == 1
            assert [sha for sha, _ in report.skipped] == [evil]
            (warning,) = report.warnings
            assert "there is no sandbox" in warning
            assert "full is not here; no landlock" in warning
            assert [row.dag_id for row in catalog.dags(known, tip).dags] == ["a"]
            with pytest.raises(Untrusted) as error:
                catalog.dags(known, evil)
            assert error.value.hint == "gitdags doctor"
            repo("branch", "-f", "main", evil)  # merged: it is trusted from now on
            repo.path.joinpath("dags/a.py").unlink()
            assert catalog.index(known, evil).parsed == 1
        assert Path("/tmp/escaped").exists()
        Path("/tmp/escaped").unlink()

    def test_documents_already_there_are_shown_all_the_same(
        self, catalog: Catalog, repo: Repo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repo.commit({"dags/a.py": dag("a")})
        repo("checkout", "-q", "-b", "side")
        same = repo.commit({"README": "same tree of DAGs, other commit"})
        repo("checkout", "-q", "-b", "twin", "main")
        twin = repo.commit(message="the same tree")
        with catalog:
            known = catalog.registry.add(str(repo.path))
            catalog.index(known, "main")
            assert [row.dag_id for row in catalog.dags(known, twin).dags] == ["a"]
            with pytest.raises(Untrusted):
                catalog.dags(known, same)
