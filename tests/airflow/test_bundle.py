"""GitDagsBundle in this process: paths, versions, moves, errors, what Airflow's cleanup does to it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.bundles.base import BundleUsageTrackingManager, BundleVersionLock
from airflow.dag_processing.bundles.manager import DagBundlesManager

from gitdags.airflow.bundle import BadBundle, GitDagsBundle
from gitdags.airflow.supply import Unavailable
from gitdags.errors import GitdagsError
from tests.airflow.conftest import Mount, bundle_entry, spooled, unmount
from tests.conftest import Repo

WAYS = ("mount", "export")
Make = Callable[..., GitDagsBundle]


@pytest.fixture
def first(repo: Repo) -> str:
    """A commit with a DAG file and a helper."""
    return repo.commit({"dags/a.py": "A = 1\n", "dags/helper.py": "NAME = 'one'\n", "sql/q": "1\n"})


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(
    way: str,
    repo: Repo,
    first: str,
    home: Path,
    storage: Path,
    tmp_path: Path,
    registered: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> Make:
    """Bundles of one way: make(version=…, ref=…)."""
    registered("sales")
    if way == "mount":
        where: dict[str, Any] = {"mount": str(request.getfixturevalue("mount_it")(sales=repo.path))}
    else:
        where = {"export": str(tmp_path / "depot")}

    def bundle(**kwargs: Any) -> GitDagsBundle:
        return GitDagsBundle(**{"name": "sales", "repo": "sales", "ref": "main", **where, **kwargs})

    return bundle


def test_the_version_decides_the_path(make: Make, repo: Repo, first: str) -> None:
    follows = make()
    follows.initialize()
    second = repo.commit({"dags/a.py": "A = 2\n"})
    pinned = make(version=first)
    pinned.initialize()
    assert pinned.path != follows.path
    assert first in str(pinned.path)
    assert os.path.realpath(follows.path) == os.path.realpath(pinned.path)

    stable = follows.path
    follows.refresh()
    assert follows.path == stable
    assert first not in str(stable)
    assert second in os.path.realpath(stable)
    assert [(b.path / "a.py").read_text() for b in (follows, pinned)] == ["A = 2\n", "A = 1\n"]
    assert [b.get_current_version().version for b in (follows, pinned)] == [second, first]


def test_every_move_is_recorded_once(make: Make, repo: Repo, first: str, home: Path) -> None:
    bundle = make()
    bundle.initialize()
    bundle.refresh()
    second = repo.commit({"dags/a.py": "A = 2\n"})
    make().refresh()
    bundle.refresh()
    keys = ("kind", "repo", "ref", "old", "new", "source")
    assert [tuple(r[k] for k in keys) for r in spooled(home)] == [
        ("move", "sales", "refs/heads/main", None, first, "airflow"),
        ("move", "sales", "refs/heads/main", first, second, "airflow"),
    ]


@pytest.mark.parametrize(
    ("ref", "full"),
    [
        ("feature/x", "refs/heads/feature/x"), ("v1", "refs/tags/v1"), ("HEAD", "HEAD"),
        ("refs/heads/main", "refs/heads/main"), ("main~0", None),
    ],
)  # fmt: skip
def test_refs_of_all_kinds(make: Make, repo: Repo, first: str, home: Path, ref: str, full: str | None,
                           way: str) -> None:  # fmt: skip
    repo("branch", "feature/x")
    repo("tag", "v1")
    bundle = make(ref=ref)
    bundle.initialize()
    assert bundle.get_current_version().version == first
    recorded = [record["ref"] for record in spooled(home)]
    assert recorded == ([full] if full else [])


def test_a_task_does_not_move_the_link_of_a_dag_processor(
    make: Make, repo: Repo, first: str
) -> None:
    """A run that is not pinned makes a bundle without a version in its own process."""
    make().initialize()
    second = repo.commit({"dags/a.py": "A = 2\n"})
    make().initialize()
    assert make().get_current_version().version == first
    # On a host where nobody refreshes any more, it must.
    bundle = make(refresh_interval=10)
    long_ago = time.time() - 30
    os.utime(bundle._current, (long_ago, long_ago), follow_symlinks=False)
    bundle.initialize()
    assert bundle.get_current_version().version == second


def test_a_pinned_bundle_never_moves(make: Make, first: str) -> None:
    with pytest.raises(Unavailable, match="pinned"):
        make(version=first).refresh()


def test_only_full_ids_are_versions(make: Make, first: str) -> None:
    for version in ("main", first[:12], "../../etc", "v1"):
        with pytest.raises(Unavailable, match="is no commit's full id"):
            make(version=version).initialize()


def test_what_is_missing_is_said(make: Make, repo: Repo, first: str) -> None:
    with pytest.raises(GitdagsError, match="f" * 40):
        make(version="f" * 40).initialize()
    with pytest.raises(GitdagsError, match="nowhere"):
        make(ref="nowhere").initialize()
    for version in (None, "1" * 40):
        with pytest.raises(GitdagsError, match="registered as 'other'"):
            make(repo="other", version=version).initialize()


def test_a_commit_without_the_folder_is_not_gone_to(make: Make, repo: Repo, first: str) -> None:
    bundle = make()
    bundle.initialize()
    bare = repo.commit({"dags/a.py": None, "dags/helper.py": None, "readme": "no dags any more"})
    for refused in (make(version=bare).initialize, bundle.refresh):
        with pytest.raises(Unavailable, match=r"has no folder 'dags' \(hint: git ls-tree"):
            refused()
    assert bundle.get_current_version().version == first
    assert (bundle.path / "a.py").read_text() == "A = 1\n"


def test_the_kwargs_must_fit_together(storage: Path) -> None:
    for ways in ({}, {"mount": "/m", "export": "/e"}, {"mount": "/m", "url": "http://h"}):
        with pytest.raises(BadBundle, match="give one of mount, export and url"):
            GitDagsBundle(name="sales", repo="sales", **ways)
    with pytest.raises(BadBundle, match="leaves the repository"):
        GitDagsBundle(name="sales", repo="sales", mount="/m", subdir="../etc")


def test_the_whole_repository_may_be_the_folder(make: Make, first: str) -> None:
    bundle = make(version=first, subdir="")
    bundle.initialize()
    assert (bundle.path / "sql/q").read_text() == "1\n"


def test_the_disk_of_the_storage_refuses(make: Make, storage: Path, home: Path) -> None:
    storage.parent.joinpath("storage").write_text("a file")
    with pytest.raises(Unavailable, match="cannot write"):
        make().initialize()
    make(version=make().get_current_version().version).initialize()  # needs no storage


def test_an_unwritable_spool_is_said_and_no_more(
    make: Make, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "spool").write_text("a file")
    bundle = make()
    bundle.initialize()
    assert (bundle.path / "a.py").exists()
    assert "is not recorded" in caplog.text


def test_airflows_cleanup_finds_what_it_removes(
    make: Make, storage: Path, configure: Callable[..., None], first: str, way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_MIN_VERSIONS", "0")
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_AGE_THRESHOLD", "-60")
    bundle = make(version=first)
    configure(bundle_entry(**{way: "/unused"}))
    bundle.initialize()
    placeholder = storage / "sales/versions" / first
    with BundleVersionLock("sales", first):
        assert list(placeholder.iterdir()) == []
        BundleUsageTrackingManager().remove_stale_bundle_versions()  # held by a task
        assert placeholder.is_dir()
    BundleUsageTrackingManager().remove_stale_bundle_versions()
    assert not placeholder.exists()
    assert (bundle.path / "a.py").exists()  # what the version stands for is not touched

    with BundleVersionLock("sales", first):  # a task that began while its placeholder was removed
        make().refresh()
    BundleUsageTrackingManager().remove_stale_bundle_versions()
    assert not (storage / "_tracking/sales" / first).exists()


@pytest.mark.parametrize("way", ["export"], indirect=True)
def test_a_move_clears_the_depot_of_what_airflow_let_go(
    make: Make, repo: Repo, storage: Path, first: str, tmp_path: Path
) -> None:
    second = repo.commit({"dags/a.py": "A = 2\n"})
    third = repo.commit({"dags/a.py": "A = 3\n"})
    for version in (first, second, third):
        make(version=version).initialize()
        long_ago = time.time() - 7200
        os.utime(tmp_path / "depot/lists" / version, (long_ago, long_ago))
    (storage / "sales/versions" / first).rmdir()
    make().refresh()
    assert sorted(os.listdir(tmp_path / "depot/trees")) == sorted([second, third])


@pytest.mark.parametrize("way", ["export"], indirect=True)
def test_bytecode_stays_out_of_a_depot(make: Make, first: str, repo: Repo) -> None:
    bundle = make(version=first)
    bundle.initialize()
    code = (
        "import sys; from gitdags.airflow.bundle import GitDagsBundle\n"
        f"b = GitDagsBundle(name='sales', repo='sales', export={bundle._export!r}, version={first!r})\n"
        "b.initialize(); sys.path.insert(0, str(b.path)); import helper; print(helper.NAME)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("one")
    assert not (bundle.path / "__pycache__").exists()


def test_links_to_gitdags_pages(make: Make, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    assert make().view_url_template() is None
    monkeypatch.setenv("GITDAGS_WEB_URL", "https://gitdags.example/")
    assert make().view_url_template() == "https://gitdags.example/sales?at={version}"
    assert make(web_url="http://x:1").view_url_template() == "http://x:1/sales?at={version}"
    assert (
        make(view_url_template="https://git/{version}").view_url_template()
        == "https://git/{version}"
    )


def test_airflow_makes_it_from_its_configuration(
    configure: Callable[..., None], storage: Path, home: Path
) -> None:
    configure(bundle_entry(mount="/mnt/none", ref="main"), bundle_entry("broken"))
    manager = DagBundlesManager()
    names = [b.name for b in manager.get_all_dag_bundles()]
    assert "sales" in names
    assert "broken" not in names  # logged, and the others go on
    bundle = manager.get_bundle("sales", version="1" * 40)
    assert str(bundle.path) == f"/mnt/none/sales/{'1' * 40}/dags"


# ── the mount alone ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["mount"], indirect=True)
def test_a_mount_that_is_gone(make: Make, first: str) -> None:
    pinned, follows = make(version=first), make()
    follows.initialize()
    mountpoint = Path(str(follows._mount))
    unmount(mountpoint)
    for bundle in (pinned, make()):
        with pytest.raises(
            Unavailable, match=rf"nothing is mounted on {mountpoint} \(hint: gitdags mount"
        ):
            bundle.initialize()
    with pytest.raises(Unavailable, match="nothing is mounted"):
        follows.refresh()
    mountpoint.rmdir()
    with pytest.raises(Unavailable, match="nothing is mounted"):
        pinned.initialize()


def test_a_mounted_bundle_needs_no_git_and_no_store(
    mount_it: Mount, repo: Repo, first: str, storage: Path, home: Path
) -> None:
    mountpoint = mount_it(sales=repo.path)
    code = (
        "import sys; import airflow.dag_processing.bundles.manager; before = set(sys.modules)\n"
        "from gitdags.airflow.bundle import GitDagsBundle\n"
        f"b = GitDagsBundle(name='sales', repo='sales', ref='main', mount={str(mountpoint)!r})\n"
        "b.initialize(); b.refresh()\n"
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}), sep='\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    added = set(done.stdout.splitlines())
    assert "gitdags" in added
    assert not added & {"pygit2", "sqlalchemy", "alembic", "git", "fastapi", "starlette", "flask"}


# ── plain files alone ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["export"], indirect=True)
@pytest.mark.parametrize(
    ("revision", "words"),
    [("0001", "has schema 0001.*hint: gitdags db upgrade"), ("9999", "this gitdags knows")],
)
def test_a_store_of_another_version(
    make: Make, repo: Repo, first: str, home: Path, revision: str, words: str
) -> None:
    make(version=first).initialize()
    second = repo.commit({"dags/a.py": "A = 2\n"})
    with sqlite3.connect(home / "gitdags.db") as store:
        store.execute("update alembic_version set version_num = ?", [revision])
    store.close()
    make(version=first).initialize()  # its files are there: the store is not asked
    for bundle in (make(version=second), make()):
        with pytest.raises(Unavailable, match=words):
            bundle.initialize()
