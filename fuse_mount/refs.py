"""The refs of one repository as folders. Knows names; which commit a ref leads to is asked anew.

What is listed are short names: branches, tags and remote branches without their prefix, everything
else by its full name. Full names (``refs/heads/x``) are found, not listed twice.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from gitdags.git import Repository

NAME_MAX = 255
"""Bytes of a path component; what statfs reports."""

_SHORT = (b"refs/heads/", b"refs/tags/", b"refs/remotes/")
_OWN = b"refs/gitdags/"  # keep refs: one per stamped commit, for Git's eyes only
_SHA = re.compile(rb"[0-9a-f]{40}")
_PLACES = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}")
_ABBREVIATED = re.compile(r"(?:.+-g)?[0-9a-fA-F]{4,40}")
_RACY = 50_000_000  # ns; two changes within one tick of the file system's clock look like one


class RefTree:
    """Folders of ref names, read again only after something under ``refs`` has changed."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._common = _common_dir(repository.git_dir)
        self._stamp: Mapping[str, int] = {}
        self._version = 0
        self._read_version = 0
        self._folders: dict[bytes, dict[bytes, bool]] = {}

    def folder(self, prefix: bytes) -> Mapping[bytes, bool] | None:
        """Component name -> whether it is a ref (else a folder); None where there is no folder.

        ``prefix`` is empty for the repository's own folder, else without a slash at its end.
        """
        version = self.changed()
        if version != self._read_version:
            names = frozenset(self._repository.ref_names())
            self._folders = _folders(names, self._repository.ref("HEAD") is not None)
            self._read_version = version
        for place in (prefix, b"refs/" + prefix):
            found = self._folders.get(place)
            if found is not None:
                return found
        return None

    def changed(self) -> int:
        """A number that differs whenever some folder may; costs a few stat(2), reads no ref."""
        if not self._stamp or self._stamp != self._measure(self._stamp):
            now = time.time_ns()
            stamp = self._measure(None)
            self._stamp = stamp if now - max(stamp.values(), default=0) > _RACY else {}
            self._version += 1
        return self._version

    def _measure(self, known: Mapping[str, int] | None) -> Mapping[str, int]:
        """Path -> mtime in ns of all that changes with the set of refs; 0 where it is absent.

        A ref that appears or goes changes its folder's mtime; a folder's own coming shows in its
        parent's, so the paths known from last time are enough to see that nothing has changed.
        """
        if known is None:
            top = self._common / "refs"
            known = dict.fromkeys([str(self._common / "packed-refs"), *_subfolders(top)], 0)
        stamp = {}
        for path in known:
            try:
                stamp[path] = os.stat(path).st_mtime_ns
            except OSError:
                stamp[path] = 0
        return stamp


def _common_dir(git_dir: Path) -> Path:
    """Where the refs are: for a linked worktree, its main repository."""
    with contextlib.suppress(FileNotFoundError):
        return git_dir / (git_dir / "commondir").read_text().strip()
    return git_dir


def _subfolders(top: Path) -> list[str]:
    return [path for path, _, _ in os.walk(top)]


def _folders(names: frozenset[bytes], head: bool) -> dict[bytes, dict[bytes, bool]]:
    folders: dict[bytes, dict[bytes, bool]] = {b"": {b"HEAD": True} if head else {}}
    others = set()
    for name in names:
        _enter(folders, name, top=False)
        if name.startswith(_OWN):
            continue
        short = next((name[len(place) :] for place in _SHORT if name.startswith(place)), None)
        if short is not None:
            _enter(folders, short, top=True)
        else:
            others.add(name.split(b"/")[1])
    if others:
        folders[b""][b"refs"] = False
    if b"refs" in folders:  # branches and tags below it are found by name, as they are listed above
        folders[b"refs"] = {
            name: is_ref for name, is_ref in folders[b"refs"].items() if name in others
        }
    return folders


def _enter(folders: dict[bytes, dict[bytes, bool]], name: bytes, *, top: bool) -> None:
    """Adds a ref and the folders above it; a name that no path can spell is left out."""
    parts = name.split(b"/")
    if any(not part or part in (b".", b"..") or len(part) > NAME_MAX for part in parts):
        return
    try:
        name.decode()
    except UnicodeDecodeError:
        return
    if top and _SHA.fullmatch(parts[0]):
        return  # forty hex digits are always the object; the full name reaches the ref
    for depth in range(len(parts)):
        parent = b"/".join(parts[:depth])
        if depth == 0 and not top:
            continue
        folder = folders.setdefault(parent, {})
        is_ref = depth == len(parts) - 1
        folder[parts[depth]] = folder.get(parts[depth], False) or is_ref


def exact(git: Repository, name: str) -> str | None:
    """The commit of a ref by this very name, in git's order of places."""
    for place in _PLACES:
        full = place.format(name)
        if place == "{}" and not (name.startswith("refs/") or re.fullmatch("[A-Z_]+", name)):
            continue  # a plain file in the git directory is no ref
        commit = git.ref(full)
        if commit is not None:
            return commit
    return None


def may_be_expression(rev: str) -> bool:
    """Whether a name that is no ref may still lead to a commit: ``HEAD~3``, an abbreviated SHA."""
    last = rev.rpartition("/")[2]
    return bool(set("~^@") & set(last)) or _ABBREVIATED.fullmatch(last) is not None
