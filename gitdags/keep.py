"""Keep refs: refs of gitdags' own, through which stamped and deployed commits stay in a repository.

A commit is kept by ``refs/gitdags/keep/<sha>``. A repository with very many refs is slow, so from
`FOLD_AT` of them on they are folded into one ref, ``refs/gitdags/chain``: a chain of commits whose
parents, up to `PARENTS` each, are the commits kept. Nothing else is ever dropped: a branch that holds
a commit today may be rewound tomorrow.

Any number of keepers may race: every change is one transaction of git, made only if the refs are still
what was read, and tried again else. A crash leaves a commit kept twice, never not at all.
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gitdags import program
from gitdags.errors import GitdagsError
from gitdags.git import OURS, is_sha
from gitdags.program import GitFailed

KEEP, CHAIN = OURS + "keep/", OURS + "chain"
FOLD_AT = 32
"""Keep refs at which they are folded: a fetch reads each. `scripts/bench keep` measures both numbers."""
PARENTS = 100
"""Commits kept by one link: a fetch reads the newest link, and only that."""
_TRIES = 12
_NONE = "0" * 40
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_SUBJECT = re.compile(rb"gitdags keeps (\d+) commits")


class CannotBundle(GitdagsError):
    """A commit cannot be handed on as a bundle."""

    http_status = 404


@dataclass(frozen=True, slots=True)
class _Link:
    """One commit of the chain."""

    previous: str | None
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Refs:
    """What our refs say at one moment."""

    loose: frozenset[str]
    tip: str | None
    """of the chain"""


def keep(path: Path | str, shas: Iterable[str]) -> list[str]:
    """Keep commits from now on; those of them, sorted, that are no commits of the repository.

    Quick where all are kept already: one git process. Raises GitFailed.
    """
    wanted = set(shas)
    refs = _read(path)
    new = wanted - refs.loose
    if new and refs.tip:
        new -= _chained(str(path), refs.tip)
    if not new:
        return []
    there = _commits(path, new)
    if len(refs.loose) + len(there) >= FOLD_AT:
        _fold(path, there)
    elif there:
        lines = "".join(f"update {KEEP}{sha} {sha}\n" for sha in sorted(there))
        for last in _attempts():
            try:
                program.run(path, "update-ref", "--stdin", input=lines.encode())
                break
            except GitFailed:
                if last:
                    raise
    return sorted(new - there)


def kept(path: Path | str) -> set[str]:
    """The commits that are kept, without their ancestors. Raises GitFailed."""
    refs = _read(path)
    return set(refs.loose) | (set(_chained(str(path), refs.tip)) if refs.tip else set())


def fold(path: Path | str) -> None:
    """Fold all keep refs into the chain now. Raises GitFailed."""
    _fold(path, set())


def bundle(
    path: Path | str, shas: Iterable[str], refs: dict[str, str] | None = None
) -> Iterator[bytes]:
    """A Git bundle of commits with all their history, piece by piece, as it is made.

    Each commit stands in it as its keep ref, ``refs`` (full name -> id of a commit or tag) beside them.
    To read it: ``git fetch FILE 'refs/gitdags/keep/*:refs/gitdags/keep/*'``. ``GET bundle/{sha}``
    serves ``bundle(path, [sha])``. Raises CannotBundle before the first piece, GitFailed after it.
    """
    wanted = set(shas)
    missing = wanted - _commits(path, wanted)
    if missing:
        raise CannotBundle(
            f"{min(missing)} is no commit of this repository",
            hint=f"git cat-file -t {min(missing)}",
        )
    if program.run(path, "rev-parse", "--is-shallow-repository").strip() == b"true":
        raise CannotBundle(
            "the clone is shallow: its commits lack their history",
            hint=f"git -C {path} fetch --unshallow",
        )
    named = {KEEP + sha: sha for sha in sorted(wanted)} | (refs or {})
    if not named:
        raise CannotBundle("there is nothing to bundle", hint=f"git -C {path} log --all")
    return _bundle(path, named)


def _bundle(path: Path | str, named: dict[str, str]) -> Iterator[bytes]:
    # gitformat-bundle(5), version 2. `git bundle create` bundles refs that exist; these need not.
    yield b"# v2 git bundle\n"
    yield "".join(f"{oid} {name}\n" for name, oid in named.items()).encode() + b"\n"
    tips = "".join(f"{oid}\n" for oid in sorted(set(named.values()))).encode()
    words = ("pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q")
    yield from program.stream(path, *words, input=tips)


# ── reading ───────────────────────────────────────────────────────────────────────────────────


def _read(path: Path | str) -> _Refs:
    listed = program.run(path, "for-each-ref", "--format=%(objectname) %(refname)", OURS)
    loose, tip = set(), None
    for line in listed.decode("utf-8", "replace").splitlines():
        oid, _, name = line.partition(" ")
        if name == CHAIN:
            tip = oid
        elif name == KEEP + oid:
            loose.add(oid)
    return _Refs(frozenset(loose), tip)


@functools.lru_cache(maxsize=8)
def _chained(path: str, tip: str) -> frozenset[str]:
    """Every commit that the chain with this tip keeps; what hangs on a SHA never changes."""
    return frozenset(sha for link in _links(path, tip) for sha in link.kept)


def _links(path: Path | str, tip: str | None) -> Iterator[_Link]:
    """The links of a chain, newest first."""
    if tip is None:
        return
    with program.talking(path, "cat-file", "--batch") as (ask, answer):
        following: str | None = tip
        while following is not None:
            ask.write(following.encode() + b"\n")
            ask.flush()
            head = answer.readline().split()
            if len(head) != 3 or head[1] != b"commit":
                raise GitFailed(
                    f"{CHAIN} leads to {following}, which is no commit here",
                    hint=f"git -C {path} fsck --connectivity-only",
                )
            link = _parsed(answer.read(int(head[2])), following)
            answer.readline()
            yield link
            following = link.previous


def _parsed(body: bytes, sha: str) -> _Link:
    """A link as it was written; a commit that we did not write keeps itself and leads no further."""
    head, _, message = body.partition(b"\n\n")
    parents = [ln[7:47].decode() for ln in head.split(b"\n") if ln.startswith(b"parent ")]
    subject = _SUBJECT.match(message)
    count = int(subject[1]) if subject else 0
    if count and count == len(parents):
        return _Link(None, tuple(parents))
    if count and count == len(parents) - 1:
        return _Link(parents[0], tuple(parents[1:]))
    return _Link(None, (sha,))


def _commits(path: Path | str, shas: Iterable[str]) -> set[str]:
    """Those that are full ids of commits in the repository."""
    asked = sorted(sha for sha in shas if is_sha(sha))
    if not asked:
        return set()
    lines = "".join(f"{sha}\n" for sha in asked).encode()
    answer = program.run(path, "cat-file", "--batch-check=%(objectname) %(objecttype)", input=lines)
    return {ln.split()[0] for ln in answer.decode().splitlines() if ln.endswith(" commit")}


# ── folding ───────────────────────────────────────────────────────────────────────────────────


def _fold(path: Path | str, more: set[str]) -> None:
    """Move every keep ref, and ``more`` commits, into the chain, in one transaction."""
    for last in _attempts():
        refs = _read(path)
        known = _chained(str(path), refs.tip) if refs.tip else frozenset()
        add = sorted((refs.loose | more) - known)
        if not add and not refs.loose:
            return
        tip = _lengthened(path, refs.tip, add) if add else refs.tip
        change = [f"update {CHAIN} {tip} {refs.tip or _NONE}"] if tip != refs.tip else []
        change += [f"delete {KEEP}{sha} {sha}" for sha in sorted(refs.loose)]
        lines = "".join(f"{line}\n" for line in change).encode()
        try:
            program.run(path, "update-ref", "--stdin", input=lines)
        except GitFailed:  # another keeper was quicker, or holds a lock
            if last:
                raise
        else:
            return


def _lengthened(path: Path | str, tip: str | None, add: list[str]) -> str:
    """The tip of the chain with these commits too: its last link filled up, then new ones."""
    previous, parents = tip, list[str]()
    for link in _links(path, tip):
        if len(link.kept) < PARENTS and link.kept != (tip,):
            previous, parents = link.previous, list(link.kept)
        break
    parents += add
    program.run(path, "hash-object", "-t", "tree", "-w", "--stdin")  # the empty one
    for at in range(0, len(parents), PARENTS):
        previous = _written(path, previous, sorted(parents[at : at + PARENTS]))
    assert previous is not None
    return previous


def _written(path: Path | str, previous: str | None, parents: list[str]) -> str:
    """A link as an object. Equal content has an equal id: nobody's name, no time.

    The date is the oldest there is, so that what walks history by date comes to it last.
    """
    who = "gitdags <gitdags@localhost> 0 +0000"
    lines = [f"tree {_EMPTY_TREE}"]
    lines += [f"parent {sha}" for sha in ([previous] if previous else []) + parents]
    lines += [f"author {who}", f"committer {who}", "", f"gitdags keeps {len(parents)} commits", ""]
    data = "\n".join(lines).encode()
    written = program.run(path, "hash-object", "-t", "commit", "-w", "--stdin", input=data)
    sha = hashlib.sha1(b"commit %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()
    assert written.decode().strip() == sha
    return sha


def _attempts() -> Iterator[bool]:
    """Whether it is the last one, some times; with a growing, uneven pause before each but the first."""
    for number in range(_TRIES):
        if number:
            time.sleep(random.uniform(0.005, 0.02) * 2 ** min(number, 5))  # noqa: S311 - no secret
        yield number == _TRIES - 1
