"""The open repositories: what is registered, what cannot be opened, packs that are replaced."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fuse_mount.repositories import MountedRepository, Shelf, Unavailable
from gitdags.git import MissingObject

from .conftest import Git


def test_what_is_open_stays_open_when_the_list_grows(git: Git, tmp_path: Path) -> None:
    one = MountedRepository("one", str(git.path), "dags")
    shelf = Shelf([one])
    opened = shelf["one"]
    before = shelf.version
    shelf.update([one, MountedRepository("two", str(tmp_path), "dags")])
    assert shelf["one"] is opened
    assert shelf.names() == ["one", "two"]
    assert shelf.version == before + 1
    shelf.update([MountedRepository("one", str(git.path), "other")])
    assert shelf["one"] is not opened
    assert "two" not in shelf


def test_a_repository_that_cannot_be_opened_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf([MountedRepository("late", str(tmp_path / "late"), "dags")])
    for _ in range(3):
        with pytest.raises(Unavailable):
            shelf["late"]
    assert caplog.text.count("there is no") == 1
    git.files({"a": b"x"})
    subprocess.run(["cp", "-r", git.path, tmp_path / "late"], check=True)
    monkeypatch.setattr("fuse_mount.repositories._REOPEN_INTERVAL", 0)
    assert shelf["late"].git.ref("HEAD")


def test_an_object_that_is_missing_is_looked_for_in_new_packs(git: Git) -> None:
    sha = git.files({"a": b"x"})
    shelf = Shelf([MountedRepository("one", str(git.path), "dags")])
    opened = shelf["one"]
    first = opened.git
    assert opened.read(lambda repository: repository.commit(sha)).sha == sha
    assert opened.git is first
    with pytest.raises(MissingObject):
        opened.read(lambda repository: repository.blob("7" * 40))
    second = opened.git
    assert second is not first
    with pytest.raises(MissingObject):
        opened.read(lambda repository: repository.blob("7" * 40))
    assert opened.git is second  # not opened for every failure
