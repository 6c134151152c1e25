"""`gitdags mount` and `gitdags umount`: arguments to a mount and back, with a stand-in context."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gitdags.catalog import Catalog
from gitdags.cli import mount as mount_command
from gitdags.cli import umount as umount_command
from gitdags.cli.main import main
from gitdags.config import Settings, load
from gitdags.errors import UsageError
from gitdags.model import Deployment


def _parse(command: Any, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser.parse_args(words)


def _context(home: Path, notes: list[str]) -> Any:
    return SimpleNamespace(
        settings=Settings(env={"GITDAGS_HOME": str(home)}),
        catalog=SimpleNamespace(repositories=list),
        note=notes.append,
    )


def test_mount_and_umount(tmp_path: Path) -> None:
    if not os.path.exists("/dev/fuse") or os.geteuid() != 0:
        pytest.skip("no /dev/fuse that this user may open")
    point, notes = tmp_path / "mnt", []
    point.mkdir()
    context = _context(tmp_path / "home", notes)
    (tmp_path / "link").symlink_to(tmp_path)
    assert mount_command.run(context, _parse(mount_command, str(tmp_path / "link" / "mnt"))) == 0
    try:
        assert os.path.ismount(point)
        assert notes == [
            "no repository is registered yet; each appears once `gitdags init PATH` has run"
        ]
    finally:
        assert umount_command.run(context, _parse(umount_command, str(point), "--lazy")) == 0
    assert not os.path.ismount(point)


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mount of a repository with two commits, the command's own."""
    if not os.path.exists("/dev/fuse") or os.geteuid() != 0:
        pytest.skip("no /dev/fuse that this user may open")
    monkeypatch.setenv("GITDAGS_HOME", str(tmp_path / "home"))
    source, point = tmp_path / "source", tmp_path / "mnt"
    point.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(source)]
    subprocess.run(["git", "init", "-q", "-b", "main", str(source)], check=True)
    for text in ("one", "two"):
        (source / "f").write_text(text)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", text], check=True)
    for words in (["init", str(source), "--name", "repo"], ["mount", str(point)]):
        subprocess.run([sys.executable, "-m", "gitdags.cli.main", "-q", *words], check=True)
    yield point
    if os.path.ismount(point):
        assert main(["umount", str(point), "--lazy"]) == 0


def test_unmounting_from_inside_names_whoever_else_is_there(
    mounted: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mounted / "repo")
    with subprocess.Popen(["sleep", "600"]) as other:
        assert main(["umount", str(mounted)]) == 3
        other.kill()
    said = capfd.readouterr().err
    assert f"is in use by sleep (pid {other.pid}, working directory)\n" in said
    os.chdir(mounted / "repo")
    assert main(["umount", ".."]) == 0
    assert not os.path.ismount(mounted)


def test_deployments_date_a_ref(mounted: Path) -> None:
    git = ["git", "-C", str(mounted.parent / "source"), "rev-parse"]
    new, old = subprocess.run(
        [*git, "main", "main~1"], capture_output=True, text=True, check=True
    ).stdout.split()
    with Catalog(load()) as catalog:
        repository = catalog.repository("repo")
        at = datetime(2024, 5, 1, tzinfo=UTC)
        catalog.record([Deployment("repo", "refs/heads/main", None, old, at, "someone", "hook")])
        assert catalog.moves(repository, "refs/heads/main")
    assert os.readlink(mounted / "repo/main@{2024-05-02}") == old
    assert os.readlink(mounted / "repo/main") == new


def test_options_of_an_fstab_line() -> None:
    args = _parse(
        mount_command, "/mnt", "-o", "ro,dev,suid,allow_other,x-systemd.automount,backend=libfuse"
    )
    mount_command._read_options(args)
    assert (args.allow_other, args.xattr, args.backend) == (True, False, "libfuse")
    with pytest.raises(UsageError, match="there is no mount option 'colour=blue'"):
        mount_command._read_options(_parse(mount_command, "/mnt", "-o", "colour=blue"))
