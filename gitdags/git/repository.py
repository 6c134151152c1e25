"""One open repository: its refs, commits, trees and blobs. Knows nothing of DAGs."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pygit2
from pygit2.enums import ObjectType, Option, SortMode

from gitdags.errors import GitdagsError, shown
from gitdags.git.tree import Corrupt, TooLarge, Trees
from gitdags.model import Change, Commit, Entry, Ref

# Hashing every object again on reading took a whole read from 108 to 178 ms (docs/benchmarks.md);
# `git fsck` is the tool that verifies a repository.
pygit2.option(Option.ENABLE_STRICT_HASH_VERIFICATION, False)

_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git knows it without an object
_NO_OBJECT = "0" * 40
MIN_ABBREVIATION = 4  # git's own limit
OURS = "refs/gitdags/"
"""Refs of gitdags' own, which keep commits alive and name nothing."""
_MAX_COMMITS = 20_000  # parsed commits kept; about 1.5 kB each


class NoSuchRepository(GitdagsError):
    """The path holds no Git repository."""

    http_status = 404


class UnsupportedRepository(GitdagsError):
    """A repository that libgit2 cannot read."""


class EmptyRepository(GitdagsError):
    """A repository without a commit."""

    http_status = 404


class MissingObject(GitdagsError):
    """An object that some other object names is not in the repository."""

    http_status = 404


class CorruptObject(GitdagsError):
    """An object whose bytes are not what its type says."""


class ShallowHistory(GitdagsError):
    """History goes on, but not in this clone."""


class TreeTooLarge(GitdagsError):
    """A commit holds more than anyone would check out."""


def display(path: bytes) -> str:
    """A path as text: UTF-8, with other bytes as ``\\xNN``."""
    return path.decode("utf-8", "backslashreplace")


def discover(start: Path) -> Path | None:
    """The git directory of the repository that contains a directory, or None."""
    found = pygit2.discover_repository(str(start))
    return Path(found) if found else None


class Repository:
    """A repository opened for reading. Not to be shared between threads.

    ``tree_memory`` bounds the parsed trees kept, in bytes.
    """

    def __init__(self, path: Path | str, *, tree_memory: int = 64 << 20) -> None:
        self.path = Path(path)
        self._git = _open(self.path)
        self._odb = self._git.odb
        self._trees = Trees(self._read_tree, tree_memory)
        self._commits: dict[str, Commit] = {}
        self.git_dir = Path(self._git.path)
        work_tree = Path(self._git.workdir) if self._git.workdir else None
        # A bare repository whose configuration does not say so has its parent for a work tree.
        linked = work_tree is not None and (work_tree / ".git").exists()
        self.work_tree = work_tree if linked else None

    # ── refs ──────────────────────────────────────────────────────────────────────────────

    def refs(self) -> list[Ref]:
        """Every ref that leads to a commit, by full name. Names that are not UTF-8 are left out.

        Broken refs, and refs to trees or blobs, lead to no commit and are left out too, as are `OURS`.
        """
        found = []
        for raw in self._git.raw_listall_references():
            try:
                name = raw.decode()
            except UnicodeDecodeError:
                continue
            if name.startswith(OURS):
                continue
            commit = self.ref(name)
            if commit is not None:
                found.append(Ref(name, commit))
        return sorted(found, key=lambda ref: ref.name)

    def ref_names(self) -> list[bytes]:
        """Full names of the refs that lead to a commit, as bytes, unsorted.

        For folders of refs: 60,000 packed refs cost one pass, and no object is read but tags.
        Raises NoSuchRepository where the refs cannot be read.
        """
        found = []
        for reference in self._references():
            target = reference.target
            if isinstance(target, str):  # symbolic
                if self.ref(target) is not None:
                    found.append(bytes(reference.raw_name))
            elif self._leads_to_commit(str(target)):
                found.append(bytes(reference.raw_name))
        return found

    def ref_targets(self) -> dict[str, str]:
        """Full name -> id of the object a ref points at, a tag object where it is one.

        Symbolic refs are left out, and what `refs` leaves out by name. Raises NoSuchRepository.
        """
        found = {}
        for reference in self._references():
            try:
                name = reference.raw_name.decode()
            except UnicodeDecodeError:
                continue
            if not name.startswith(OURS) and not isinstance(reference.target, str):
                found[name] = str(reference.target)
        return found

    def _references(self) -> list[Any]:
        try:
            return list(self._git.references.iterator())
        except (pygit2.GitError, OSError) as error:
            raise NoSuchRepository(
                f"the refs of {shown(str(self.path))} cannot be read: {shown(str(error))}",
                hint=f"git -C {self.path} for-each-ref",
            ) from None

    def _leads_to_commit(self, oid: str) -> bool:
        try:
            kind = self._odb.read_header(pygit2.Oid(hex=oid))[0]
        except (KeyError, ValueError, pygit2.GitError):
            return False
        return kind == ObjectType.COMMIT or (kind == ObjectType.TAG and self.peel(oid) is not None)

    def ref(self, name: str) -> str | None:
        """The commit that a full ref name (or ``HEAD``) leads to, or None."""
        try:
            target = self._git.references[name].resolve().target
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return self.peel(str(target))

    def peel(self, oid: str) -> str | None:
        """The commit that an object id leads to through annotated tags, or None."""
        try:
            kind, data = self._odb.read(pygit2.Oid(hex=oid))
            while kind == ObjectType.TAG:
                oid = data[7:47].decode()
                kind, data = self._odb.read(pygit2.Oid(hex=oid))
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return oid if kind == ObjectType.COMMIT else None

    def head_name(self) -> str | None:
        """Full name of the branch HEAD is on, born or not; None where HEAD is detached."""
        try:
            target = self._git.references["HEAD"].target
        except (KeyError, pygit2.GitError):
            return None
        return target if isinstance(target, str) else None

    def default_branch(self) -> str | None:
        """Full name of the ref whose tip speaks for the repository, or None if it has no commit.

        The remote's own choice (``refs/remotes/origin/HEAD``) comes first; then, as a working
        clone's HEAD is wherever somebody left it, `main` and `master`; then HEAD.
        """
        candidates = ["refs/heads/main", "refs/heads/master", self.head_name(), "HEAD"]
        if self.work_tree is None:  # a mirror's HEAD is the remote's choice
            candidates.insert(0, self.head_name())
        try:
            remote = self._git.references["refs/remotes/origin/HEAD"].target
            if isinstance(remote, str):
                candidates[:0] = [remote.replace("refs/remotes/origin/", "refs/heads/", 1), remote]
        except (KeyError, pygit2.GitError):
            pass  # no remote has said which branch it prefers
        return next((name for name in candidates if name and self.ref(name)), None)

    def refspecs(self) -> list[tuple[str, str]]:
        """(remote, refspec) of everything that a fetch brings."""
        return [(r.name, spec) for r in self._git.remotes for spec in r.fetch_refspecs]

    def upstream(self, branch: str) -> str | None:
        """Full name of the ref that a branch (full name) follows, or None."""
        try:
            tracked = self._git.branches[branch.removeprefix("refs/heads/")].upstream
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return tracked.name if tracked is not None else None

    def reflog(self, name: str) -> list[tuple[datetime, str, str, str]]:
        """(when, old, new, message) of each recorded move of a ref, newest first; [] if none is."""
        try:
            reference = self._git.references[name]
            return [
                (_time(e.committer), str(e.oid_old), str(e.oid_new), e.message or "")
                for e in reference.log()
            ]
        except (KeyError, ValueError, pygit2.GitError):
            return []

    def moved_by(self, name: str, old: str | None, new: str | None) -> str:
        """``Name <address>`` that the log of a ref has for a recent move of it; empty where it has none."""
        wanted = (old or _NO_OBJECT, new or _NO_OBJECT)
        try:
            for entry in itertools.islice(self._git.references[name].log(), 100):
                if (str(entry.oid_old), str(entry.oid_new)) == wanted:
                    who = entry.committer
                    return f"{_text(who.raw_name)} <{_text(who.raw_email)}>"
        except (KeyError, ValueError, pygit2.GitError):
            pass  # a ref that is gone, or has no log
        return ""

    def expand(self, prefix: str) -> list[str]:
        """The commits whose id begins with 4 to 39 hex digits, tags peeled; sorted."""
        if len(prefix) < MIN_ABBREVIATION:
            return []
        try:
            found: Any = self._git.expand_id(prefix)
            candidates = [str(found)]
        except KeyError:
            return []
        except ValueError:  # several objects; only commits count, and libgit2 does not list them
            candidates = [o for o in map(str, self._odb) if o.startswith(prefix)]
        return sorted({c for o in candidates if (c := self.peel(o)) is not None})

    # ── commits ───────────────────────────────────────────────────────────────────────────

    @property
    def is_shallow(self) -> bool:
        """Whether history ends before its true beginning."""
        return bool(self._git.is_shallow)

    def commit(self, sha: str) -> Commit:
        """The commit with this full id. Raises MissingObject."""
        found = self._commits.get(sha)
        if found is None:
            try:
                raw = self._git[sha]
            except (KeyError, ValueError, pygit2.GitError):
                raise _missing(sha, "commit") from None
            if not isinstance(raw, pygit2.Commit):
                raise MissingObject(f"{sha} is no commit", hint="git cat-file -t " + sha)
            if len(self._commits) >= _MAX_COMMITS:
                self._commits.clear()
            found = self._commits[sha] = Commit(
                sha=sha,
                tree=str(raw.tree_id),
                parents=self._parents(sha) if self.is_shallow else tuple(map(str, raw.parent_ids)),
                author=_text(raw.author.raw_name),
                author_email=_text(raw.author.raw_email),
                authored_at=_time(raw.author),
                committed_at=_time(raw.committer),
                message=_text(raw.raw_message),
            )
        return found

    def _parents(self, sha: str) -> tuple[str, ...]:
        """A commit's parents as it names them; where a clone is shallow, libgit2 hides some."""
        head = self._odb.read(pygit2.Oid(hex=sha))[1].partition(b"\n\n")[0]
        return tuple(
            line[7:47].decode() for line in head.splitlines() if line.startswith(b"parent ")
        )

    def first_parents(self, sha: str) -> Iterator[Commit]:
        """A commit and its first parents, newest first, to the root or the end of a shallow clone."""
        commit = self.commit(sha)
        shallow = self.is_shallow
        yield commit
        while commit.parents:
            parent = commit.parents[0]
            if shallow and pygit2.Oid(hex=parent) not in self._odb:
                return
            commit = self.commit(parent)
            yield commit

    def log(self, sha: str, *, hide: str | None = None, full: bool = False) -> Iterator[Commit]:
        """History from a commit, newest first: first parents, or with ``full`` every ancestor.

        What is reachable from ``hide`` is left out, as in ``hide..sha``.
        """
        if full or hide is not None:
            mode = SortMode.TOPOLOGICAL | SortMode.TIME
            walker = self._git.walk(pygit2.Oid(hex=sha), mode)
            if hide is not None:
                walker.hide(pygit2.Oid(hex=hide))
            if not full:
                walker.simplify_first_parent()
            for raw in walker:
                yield self.commit(str(raw.id))
        else:
            yield from self.first_parents(sha)

    def parent(self, commit: Commit, number: int) -> str:
        """The id of a commit's n-th parent, counted from 1. Raises LookupError or ShallowHistory."""
        if number > len(commit.parents):
            raise LookupError(number)
        parent = commit.parents[number - 1]
        if pygit2.Oid(hex=parent) not in self._odb:
            if self.is_shallow:
                raise ShallowHistory(
                    f"the history of this clone ends at {commit.sha[:12]}: it is shallow",
                    hint=f"git -C {shlex.quote(str(self.path))} fetch --unshallow",
                )
            raise _missing(parent, "commit")
        return parent

    def touched(self, commit: Commit) -> list[Change]:
        """What a commit itself changed: against its parent, or for a merge against every one.

        Of a merge that is what git calls a combined diff: only what was settled in the merge.
        """
        known = [parent for parent in commit.parents if self.has(parent)]
        trees: list[str | None] = [self.commit(parent).tree for parent in known]
        changes = [self.diff(tree, commit.tree) for tree in trees or [None]]
        common = set.intersection(*({change.path for change in part} for part in changes))
        return [change for change in changes[0] if change.path in common]

    def has(self, sha: str) -> bool:
        """Whether the object with this full id is here."""
        return pygit2.Oid(hex=sha) in self._odb

    def is_dirty(self) -> bool:
        """Whether the working clone has changes or files that no commit has; ignored ones aside."""
        if self.work_tree is None:
            return False
        try:
            return bool(self._git.status(untracked_files="normal", ignored=False))
        except (pygit2.GitError, OSError):
            return False  # somebody is changing it just now

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``older`` is ``newer`` or reachable from it."""
        return older == newer or bool(
            self._git.descendant_of(pygit2.Oid(hex=newer), pygit2.Oid(hex=older))
        )

    def ancestors(self, tips: Sequence[str]) -> set[str]:
        """These commits and every one that is reachable from them, by SHA."""
        walker = self._git.walk(None, SortMode.NONE)
        for tip in tips:
            walker.push(pygit2.Oid(hex=tip))
        return {str(raw.id) for raw in walker}

    # ── trees and blobs ───────────────────────────────────────────────────────────────────

    def tree(self, oid: str) -> Mapping[bytes, Entry]:
        """The entries of one tree, hostile names left out; shared, not to be changed."""
        with _told(oid):
            return self._trees[oid]

    def dropped(self, tree: str) -> list[bytes]:
        """The paths left out below a tree because no file system may see their names."""
        with _told(tree):
            return self._trees.dropped_below(tree)

    def find(self, tree: str, path: bytes) -> Entry | None:
        """The entry at a path below a tree, links not followed; None where there is none."""
        with _told(tree):
            return self._trees.find(tree, path)

    def follow(self, tree: str, path: bytes) -> tuple[bytes, Entry] | None:
        """(real path, entry) with links followed inside the tree; None where they leave it or circle."""
        with _told(tree):
            return self._trees.follow(tree, path, self.blob)

    def walk(self, tree: str, prefix: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        """(path, entry) of all below a tree but the trees. Raises TreeTooLarge before the first."""
        with _told(tree):
            yield from self._trees.walk(tree, prefix)

    def diff(self, old: str | None, new: str | None) -> list[Change]:
        """The paths at which two trees differ, sorted. Raises TreeTooLarge."""
        with _told(new or old or ""):
            return self._trees.diff(old, new)

    def measure(self, tree: str) -> int:
        """The number of entries below a tree, folders counted. Raises TreeTooLarge."""
        with _told(tree):
            return self._trees.measure(tree)[0]

    def size(self, blob: str) -> int:
        """The bytes in a blob, from the object's header alone. Raises MissingObject."""
        try:
            return int(self._odb.read_header(pygit2.Oid(hex=blob))[1])
        except (KeyError, ValueError, pygit2.GitError):
            raise _missing(blob, "blob") from None

    def blob(self, oid: str) -> bytes:
        """The bytes of a blob, unfiltered. Raises MissingObject."""
        try:
            kind, data = self._odb.read(pygit2.Oid(hex=oid))
        except (KeyError, ValueError, pygit2.GitError):
            raise _missing(oid, "blob") from None
        if kind != ObjectType.BLOB:
            raise MissingObject(f"{oid} is no blob", hint="git cat-file -t " + oid)
        return bytes(data)

    def _read_tree(self, oid: str) -> bytes:
        if oid == _EMPTY_TREE:
            return b""
        try:
            kind, data = self._odb.read(pygit2.Oid(hex=oid))
        except (KeyError, ValueError, pygit2.GitError):
            raise _missing(oid, "tree") from None
        if kind != ObjectType.TREE:
            raise MissingObject(f"{oid} is no tree", hint="git cat-file -t " + oid)
        return bytes(data)

    def require_commits(self) -> None:
        """Raises EmptyRepository unless some ref leads to a commit."""
        if self.default_branch() is None and not self.refs():
            raise EmptyRepository(
                f"{self.path} has no commit yet",
                hint=f"git -C {shlex.quote(str(self.path))} commit --allow-empty -m 'first commit'",
            )

    def rename_target(self, old_tree: str, new_tree: str, path: bytes) -> bytes | None:
        """Where the file at ``path`` went between two trees, or None: same blob, else git's 50 % rule."""
        was = self.find(old_tree, path)
        changes = self.diff(old_tree, new_tree)
        for change in changes:
            if change.old is None and was is not None and change.new == was:
                return change.path
        diff = self._git.diff(self._git[old_tree], self._git[new_tree])
        diff.find_similar()
        for delta in itertools.islice(diff.deltas, 10_000):
            if delta.status_char() == "R" and delta.old_file.raw_path == path:
                return bytes(delta.new_file.raw_path)
        return None


def limit_memory(mapped: int, objects: int) -> None:
    """Bounds what libgit2 keeps in this process, in bytes: mapped pack files and parsed objects.

    Its own limits are 8 GiB and 256 MiB; pages of a mapped pack count as the process's memory.
    """
    pygit2.option(Option.SET_MWINDOW_SIZE, min(mapped // 4, 1 << 20))
    pygit2.option(Option.SET_MWINDOW_MAPPED_LIMIT, mapped)
    pygit2.option(Option.SET_CACHE_MAX_SIZE, objects)


def _open(path: Path) -> pygit2.Repository:
    try:
        # NO_SEARCH: the path itself, so that a folder inside some other repository is not taken.
        return pygit2.Repository(str(path), pygit2.enums.RepositoryOpenFlag.NO_SEARCH)
    except (pygit2.GitError, KeyError, ValueError) as error:
        reason = str(error)
    where = shown(str(path))
    if "objectformat" in reason or "sha256" in reason.lower():
        raise UnsupportedRepository(
            f"{where} uses SHA-256 object ids, which libgit2 cannot read",
            hint=f"git -C {shlex.quote(str(path))} rev-parse --show-object-format",
        )
    if "refstorage" in reason.lower() or "reftable" in reason.lower():
        raise UnsupportedRepository(
            f"{where} keeps its refs as reftable, which libgit2 cannot read",
            hint=f"git -C {shlex.quote(str(path))} refs migrate --ref-format=files",
        )
    if "owned by" in reason:
        raise UnsupportedRepository(
            f"{where} belongs to another user",
            hint=f"git config --global --add safe.directory {shlex.quote(str(path))}",
        )
    if not path.exists():
        raise NoSuchRepository(
            f"there is no {where}", hint=f"ls -ld {shlex.quote(str(path.parent))}"
        )
    if "not found" in reason.lower():
        raise NoSuchRepository(
            f"{where} is no Git repository", hint=f"ls -la {shlex.quote(str(path))}"
        )
    raise UnsupportedRepository(
        f"{where} cannot be opened: {shown(reason)}", hint=f"git -C {shlex.quote(str(path))} fsck"
    )


def _missing(oid: str, kind: str) -> MissingObject:
    return MissingObject(f"the {kind} {oid} is not in the repository", hint="git fsck --full")


@contextmanager
def _told(tree: str) -> Iterator[None]:
    """What is wrong with a tree, said as our own errors."""
    try:
        yield
    except TooLarge as reason:
        raise _too_large(tree, reason) from None
    except Corrupt as damaged:
        raise CorruptObject(f"the tree {damaged} is damaged", hint="git fsck --full") from None


def _too_large(tree: str, reason: TooLarge) -> TreeTooLarge:
    return TreeTooLarge(
        f"the tree {tree[:12]} holds {reason}, which is refused", hint=f"git ls-tree {tree}"
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _time(signature: Any) -> datetime:
    """An aware UTC time; seconds that no calendar has are the epoch's neighbours at either end."""
    try:
        return datetime.fromtimestamp(signature.time, UTC)
    except (OverflowError, ValueError, OSError):
        end = datetime.max if signature.time > 0 else datetime.min
        return end.replace(microsecond=0, tzinfo=timezone(timedelta(0)))
