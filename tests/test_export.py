"""A commit as plain files: whole in its place, or nothing anywhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gitdags import export
from gitdags.export import CannotExport
from gitdags.git import MissingObject, Repository
from tests.conftest import Repo
from tests.test_checkout import by_git, on_disk


@pytest.fixture
def tree(repo: Repo) -> str:
    """A tree with a file, a program and a link."""
    repo.commit({"dags/a.py": "1", "run.sh": "2"})
    (repo.path / "run.sh").chmod(0o755)
    (repo.path / "link").symlink_to("dags/a.py")
    repo.commit()
    return repo("rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize("place", ["new", "deep/er/new", "empty"])
def test_the_same_as_git_says(repo: Repo, tree: str, tmp_path: Path, place: str) -> None:
    top = tmp_path / "top"
    (top / "empty").mkdir(parents=True)
    assert export.write(Repository(repo.path), tree, top / place) == (3, [])
    assert on_disk(top / place) == by_git(repo, tree)
    assert stat.S_IMODE((top / place).stat().st_mode) == 0o755
    assert [p.name for p in (top / place).parent.iterdir() if p.name.startswith(".")] == []


def test_a_relative_folder(
    repo: Repo, tree: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export.write(Repository(repo.path), tree, Path("out"))
    assert on_disk(tmp_path / "out") == by_git(repo, tree)


def test_what_is_in_use_is_refused(repo: Repo, tree: str, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "full").mkdir(parents=True)
    (top / "full" / "kept").write_text("1")
    (top / "file").write_text("1")
    (top / "link").symlink_to("nowhere")
    (top / "to_folder").symlink_to(tmp_path)
    opened = Repository(repo.path)
    for name, reason in {
        "full": "is not empty", "file": "is no folder", "link": "is no folder",
        "to_folder": "is no folder", "file/under": "cannot write",
    }.items():  # fmt: skip
        with pytest.raises(CannotExport, match=reason) as error:
            export.write(opened, tree, top / name)
        assert error.value.hint
        assert error.value.exit_code == 3
    assert sorted(p.name for p in top.iterdir()) == ["file", "full", "link", "to_folder"]
    assert (top / "full" / "kept").read_text() == "1"


def test_nothing_is_left_of_a_failure(repo: Repo, tree: str, tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    oid = repo("rev-parse", "HEAD:run.sh")
    (repo.path / ".git/objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(MissingObject):
        export.write(Repository(repo.path), tree, top / "out")
    assert list(top.iterdir()) == []


def test_a_name_too_long_for_the_disk_is_left_out_and_named(repo: Repo, tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    blob = repo("hash-object", "-w", "--stdin", input=b"1")
    names = [b"fine", b"n" * 300]
    data = b"".join(b"100644 " + name + b"\0" + bytes.fromhex(blob) for name in names)
    tree = repo("hash-object", "-t", "tree", "-w", "--stdin", input=data)
    assert export.write(Repository(repo.path), tree, top / "out") == (1, [b"n" * 300])
    assert [path.name for path in (top / "out").iterdir()] == ["fine"]


def test_a_folder_that_may_not_be_written(repo: Repo, tree: str, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        place = Path("/proc/none/out")  # root may write anywhere but here
    else:
        (tmp_path / "closed").mkdir(mode=0o555)
        place = tmp_path / "closed" / "out"
    with pytest.raises(CannotExport, match="cannot write"):
        export.write(Repository(repo.path), tree, place)
