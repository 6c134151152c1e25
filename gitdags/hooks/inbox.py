"""What the hooks of one repository have written down and nobody has taken in yet.

In the folder ``gitdags`` of the repository's common Git directory: ``moves``, which hooks append to;
``moves.1``, what it was before it grew too long; ``seen.json``, how far the two were read and what the
refs led to then. Local disks only: locks of NFS do not hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gitdags import git, program
from gitdags.hooks.moves import Moved, State, follow, is_head, matters, parse
from gitdags.model import Deployment

FOLDER = "gitdags"
_LONG = 1 << 20
"""Bytes of moves after which the file begins anew; what a slow hook still writes to it is read there."""
_APART = timedelta(microseconds=1)


def common_dir(path: Path | str) -> Path | None:
    """The Git directory that all worktrees of a repository share, or None where there is none."""
    found = git.discover(Path(path))
    if found is None:
        return None
    pointer = found / "commondir"  # gitrepository-layout(5)
    if pointer.is_file():
        found = found / pointer.read_text().strip()
    return found.resolve()


class Inbox:
    """The moves of one repository, by its common Git directory."""

    def __init__(self, common: Path) -> None:
        self.common, self.folder = common, common / FOLDER
        self._files = [self.folder / "moves.1", self.folder / "moves"]

    @property
    def is_there(self) -> bool:
        """Whether hooks were installed."""
        return self.folder.is_dir()

    def waiting(self) -> int:
        """Bytes that hooks have written and nobody has taken in."""
        return sum(max(0, size - start) for _, size, start in self._unread(self._load()))

    def begin(self, repo: git.Repository) -> None:
        """Take what the refs are now for what is known, where nothing is known yet."""
        self.folder.mkdir(exist_ok=True)
        with self._locked():
            if not (self.folder / "seen.json").exists():
                self._save({}, self._now(repo, State({}, {})))

    @contextmanager
    def taken(self, repo: git.Repository, name: str) -> Iterator[list[Deployment]]:
        """The moves waiting, as deployments of the repository of that name, in their order.

        They are forgotten when the block ends well, and come again where it does not.
        """
        with self._locked():
            saved = self._load()
            data, read = b"", {}
            for file, size, start in self._unread(saved):
                with open(file, "rb") as lines:
                    lines.seek(start)
                    piece = lines.read(size - start)
                    data += piece + b"\n"
                    read[str(os.fstat(lines.fileno()).st_ino)] = start + len(piece)
            seen = parse(data)
            known = State(saved.get("refs", {}), saved.get("on", {}))
            now = self._now(repo, known)
            if (
                "refs" not in saved
            ):  # lost: the first line tells, and what none tells of never moved
                told = {each.ref: each.old for each in reversed(seen)}
                refs = {r: oid for r, oid in (dict(now.refs) | told).items() if oid}
                known = State(refs, now.on)
            yield self._deployments(repo, name, follow(known, seen, now))
            self._save(read, now)
            if self._files[1].exists() and self._files[1].stat().st_size > _LONG:
                os.replace(self._files[1], self._files[0])

    # ── files ─────────────────────────────────────────────────────────────────────────────

    def _unread(self, saved: dict[str, Any]) -> Iterator[tuple[Path, int, int]]:
        """(file, its size, where to read on) of the files of moves that are there."""
        for file in self._files:
            try:
                info = file.stat()
            except FileNotFoundError:
                continue
            if not file.is_file():
                continue  # nothing a hook has written
            start = saved.get("read", {}).get(str(info.st_ino), 0)
            yield file, info.st_size, start if start <= info.st_size else 0

    def _load(self) -> dict[str, Any]:
        try:
            saved = json.loads((self.folder / "seen.json").read_bytes())
        except (FileNotFoundError, ValueError):  # damaged: the lines themselves say enough
            return {}
        if not isinstance(saved, dict):
            return {}
        parts = {name: saved[name] for name in ("read", "refs", "on") if name in saved}
        return parts if all(isinstance(part, dict) for part in parts.values()) else {}

    def _save(self, read: dict[str, int], now: State) -> None:
        aside = self.folder / f".seen.{os.getpid()}"
        aside.write_text(json.dumps({"read": read, "refs": dict(now.refs), "on": dict(now.on)}))
        os.replace(aside, self.folder / "seen.json")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.folder / "lock", "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # ── refs ──────────────────────────────────────────────────────────────────────────────

    def _now(self, repo: git.Repository, known: State) -> State:
        """What the refs lead to. A HEAD in the middle of a rebase is left where it was known to be."""
        refs = {name: oid for name, oid in repo.ref_targets().items() if matters(name)}
        on: dict[str, str] = {}
        places = {"HEAD": self.common}
        for folder in sorted(self.common.glob("worktrees/*")):
            places[f"worktrees/{folder.name}/HEAD"] = folder
        for head, folder in places.items():
            if any((folder / name).exists() for name in ("rebase-merge", "rebase-apply")):
                refs |= {head: known.refs[head]} if head in known.refs else {}
                on |= {head: known.on[head]} if head in known.on else {}
                continue
            try:
                text = (folder / "HEAD").read_text().strip()
            except OSError:
                continue  # a worktree that is just being removed
            branch = text.removeprefix("ref: ")
            if branch != text:
                on[head] = branch
            oid = refs.get(branch) if branch != text else text
            if oid is not None:
                refs[head] = oid
        return State(refs, on)

    def _deployments(self, repo: git.Repository, name: str, moved: list[Moved]) -> list[Deployment]:
        """The moves as model objects: commits for tags, times that rise along each ref."""
        found: list[Deployment] = []
        user = ""
        last = datetime.fromtimestamp(0, UTC)
        for move in moved:
            old, new = (self._commit(repo, move.ref, oid) for oid in (move.old, move.new))
            if old == new:
                continue  # a tag made anew on its commit, or one that leads to no commit
            at = self._when(repo, move)
            if timedelta(0) <= last - at < timedelta(seconds=2):  # a clock of whole seconds
                at = last + _APART
            last = at
            # git's own log knows who it was, unless a server says who pushed.
            logged = repo.moved_by(move.ref, move.old, move.new)
            by = logged if logged and move.by in ("", logged.rpartition(" <")[0]) else move.by
            if not by:
                by = user = user or identity(self.common)
            found.append(Deployment(name, move.ref, old, new, at, by, "hook"))
        return found

    @staticmethod
    def _commit(repo: git.Repository, ref: str, oid: str | None) -> str | None:
        if oid is None:
            return None
        peeled = repo.peel(oid)
        return oid if peeled is None and not ref.startswith("refs/tags/") else peeled

    def _when(self, repo: git.Repository, move: Moved) -> datetime:
        """When it was, as the hook says; or the reflog, if that is since we last looked; else now."""
        if move.at is not None:
            with contextlib.suppress(OverflowError, ValueError, OSError):  # no hook's own time
                return datetime.fromtimestamp(move.at, UTC)
        now = datetime.now(UTC)
        try:
            looked = datetime.fromtimestamp((self.folder / "seen.json").stat().st_mtime, UTC)
        except FileNotFoundError:
            return now
        if not is_head(move.ref) or move.ref == "HEAD":
            for at, _, new, _ in repo.reflog(move.ref)[:1]:
                # Its time is the committer's, who may have set it to anything.
                if new == move.new and looked <= at <= now:
                    return at
        return now


def identity(path: Path) -> str:
    """Who this is: the name and address that git would put on a commit, else the user's name."""
    words = []
    for key, form in (("user.name", "{}"), ("user.email", "<{}>")):
        code, value = program.asks(path, "config", "--get", key)
        if code == 0 and value.strip():
            words.append(form.format(value.decode("utf-8", "replace").strip()))
    if words and not words[0].startswith("<"):
        return " ".join(words)
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
