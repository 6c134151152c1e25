"""Real repositories and real mounts, every one of them taken down again."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import re
import select
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fuse_mount import device, mount, mounts
from fuse_mount.repositories import MountedRepository
from fuse_mount.supervisor import Plan

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example.org",
}  # fmt: skip


@dataclass
class Git:
    """A repository on disk, written through the git program."""

    path: Path
    clock: int = 1_700_000_000
    environment: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))

    def __call__(self, *args: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            ["git", "-C", str(self.path), *args],
            input=stdin,
            capture_output=True,
            env=self.environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def text(self, *args: str, stdin: bytes = b"") -> str:
        return self(*args, stdin=stdin).decode().strip()

    def blob(self, data: bytes) -> str:
        return self.text("hash-object", "-w", "--stdin", stdin=data)

    def tree(self, entries: dict[bytes, tuple[str, str]]) -> str:
        """A tree of name -> (mode, object id)."""
        kinds = {"40000": "tree", "160000": "commit"}
        lines = b"".join(
            f"{mode} {kinds.get(mode, 'blob')} {oid}\t".encode() + name + b"\0"
            for name, (mode, oid) in entries.items()
        )
        return self.text("mktree", "-z", "--missing", stdin=lines)

    def raw_tree(self, entries: list[tuple[bytes, bytes, str]]) -> str:
        """A tree object as it stands, hostile names and all."""
        data = b"".join(mode + b" " + n + b"\0" + bytes.fromhex(oid) for mode, n, oid in entries)
        return self.text("hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=data)

    def commit(self, tree: str, *parents: str, ref: str = "refs/heads/main") -> str:
        self.clock += 100
        stamp = f"{self.clock} +0000"
        self.environment |= {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
        chain = [word for parent in parents for word in ("-p", parent)]
        sha = self.text("commit-tree", tree, *chain, "-m", f"at {self.clock}")
        self("update-ref", ref, sha)
        return sha

    def files(self, contents: dict[str, bytes], *parents: str, ref: str = "refs/heads/main") -> str:
        """A commit of these files; folders come of slashes."""
        return self.commit(self._folder(contents), *parents, ref=ref)

    def _folder(self, contents: dict[str, bytes]) -> str:
        entries: dict[bytes, tuple[str, str]] = {}
        below: dict[str, dict[str, bytes]] = {}
        for path, data in contents.items():
            name, slash, rest = path.partition("/")
            if slash:
                below.setdefault(name, {})[rest] = data
            else:
                entries[name.encode()] = ("100644", self.blob(data))
        for name, inside in below.items():
            entries[name.encode()] = ("40000", self._folder(inside))
        return self.tree(entries)


@pytest.fixture
def make_git(tmp_path: Path) -> Callable[[str], Git]:
    def make(name: str = "repo") -> Git:
        path = tmp_path / f"{name}.git"
        subprocess.run(
            ["git", "init", "-q", "--bare", "-b", "main", str(path)], env=ENVIRONMENT, check=True
        )
        return Git(path)

    return make


@pytest.fixture
def git(make_git: Callable[[str], Git]) -> Git:
    return make_git("repo")


@dataclass
class Mounted:
    """A mount in the background."""

    path: Path
    log: Path
    notes: list[str]

    @property
    def processes(self) -> tuple[int, int]:
        """(supervisor, server) that the log named last."""
        found = re.findall(r"supervisor (\d+), \w+ server (\d+)", self.log.read_text())
        return int(found[-1][0]), int(found[-1][1])

    def wait_ended(self) -> None:
        """Until the supervisor has ended."""
        with contextlib.suppress(ProcessLookupError):
            process = os.pidfd_open(self.processes[0])
            ended, _, _ = select.select([process], [], [], 20)
            os.close(process)
            assert ended, "the supervisor goes on"

    def wait_logged(self, words: str, times: int = 1) -> None:
        """Until a line was logged; the log is a file, so this asks again and again."""
        for _ in range(2_000):
            if self.log.read_text().count(words) >= times:
                return
            select.select([], [], [], 0.01)
        raise AssertionError(f"never logged: {words}\n{self.log.read_text()}")


def _usable(backend: str) -> None:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no /dev/fuse on this machine")
    if backend == "libfuse" and not ctypes.util.find_library("fuse3"):
        pytest.skip("no libfuse3 on this machine")
    try:
        device.check()
    except device.NoDevice as error:
        pytest.skip(f"no FUSE here: {error.message}")


MountIt = Callable[..., Mounted]


@pytest.fixture
def mount_it(tmp_path: Path) -> Iterator[MountIt]:
    """Mounts repositories in the background: mount_it("kernel", repo=git, …, dags={...})."""
    running: list[Mounted] = []

    def start(
        backend: str,
        *,
        dags: dict[str, str] | None = None,
        repositories: Callable[[], list[MountedRepository]] | None = None,
        moves: Any = None,
        plan: dict[str, Any] | None = None,
        at: Path | None = None,
        **gits: Git,
    ) -> Mounted:
        _usable(backend)
        path = at or tmp_path / f"mnt{len(running)}"
        path.mkdir(exist_ok=True)
        log = tmp_path / f"mount{len(running)}.log"

        def known() -> list[MountedRepository]:
            return [
                MountedRepository(name, str(each.path), (dags or {}).get(name, "dags"))
                for name, each in gits.items()
            ]

        notes: list[str] = []
        mounted = Mounted(path, log, notes)
        running.append(mounted)
        mount.mount(
            Plan(str(path), backend, **(plan or {})),  # type: ignore[arg-type]  # a word of two
            repositories or known,
            moves=moves,
            log_file=log,
            note=notes.append,
        )
        return mounted

    yield start
    for mounted in running:
        if mounts.type_at(str(mounted.path)) == device.FSTYPE:
            device.unmount(str(mounted.path), lazy=True)
        if mounted.log.exists() and "server " in mounted.log.read_text():
            mounted.wait_ended()


BACKENDS = ("kernel", "libfuse")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
