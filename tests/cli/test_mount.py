"""`gitdags mount` and `gitdags umount`: arguments to a mount and back, with a stand-in context."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gitdags.cli import mount as mount_command
from gitdags.cli import umount as umount_command
from gitdags.config import Settings
from gitdags.errors import UsageError


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


def test_options_of_an_fstab_line() -> None:
    args = _parse(
        mount_command, "/mnt", "-o", "ro,dev,suid,allow_other,x-systemd.automount,backend=libfuse"
    )
    mount_command._read_options(args)
    assert (args.allow_other, args.xattr, args.backend) == (True, False, "libfuse")
    with pytest.raises(UsageError, match="there is no mount option 'colour=blue'"):
        mount_command._read_options(_parse(mount_command, "/mnt", "-o", "colour=blue"))
