"""Revisions: what a person typed becomes a commit, once, at the edge.

The rules are those of gitrevisions(7) where they name one commit, with the differences that
docs/architecture.md lists under "Resolving".
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta

from gitdags.errors import GitdagsError, quoted, shown
from gitdags.git.repository import MIN_ABBREVIATION, Repository, ShallowHistory
from gitdags.model import Move, Ref, Resolved, is_sha

MAX_LENGTH = 1_024
"""Characters of a revision; git refuses ref names past about 250 a component."""

_STEP = re.compile(r"~(\d{0,9})|\^(\d{0,9})(?![{@!-])|\^\{([^}]*)\}")
_AT = re.compile(r"@\{([^}]*)\}")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f ?*\[\\]|\.\.|//|^-|^/|/$|\.lock$")
_HEX = re.compile(rf"[0-9a-fA-F]{{{MIN_ABBREVIATION},40}}")
_DESCRIBED = re.compile(r".+-g([0-9a-fA-F]{4,40})")
_PLACES = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}",
           "refs/remotes/{}/HEAD")  # fmt: skip
_MANY = 5_000  # refs past which none is looked for that a wrong name may have meant
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_AGO = re.compile(r"(\d{1,6})[ .](second|minute|hour|day|week)s?[ .]ago")

Moves = Callable[[str], Sequence[Move]]
"""Full ref name -> its recorded deployments, in any order."""


class BadRevision(GitdagsError):
    """A revision that is malformed, refused, ambiguous or names no commit."""

    http_status = 404


def split_range(text: str) -> tuple[str, str] | None:
    """(A, B) of ``A..B``, an empty side being HEAD; None where the text is no range.

    Raises BadRevision for ``A...B`` and for a range of two empty sides.
    """
    if ".." not in text or "@{" in text.partition("..")[0].rpartition("}")[2]:
        return None
    old, _, new = text.partition("..")
    if new.startswith(".") or ".." in new:
        raise _bad(text, "is no range of the form A..B", "git log A..B")
    if not old and not new:
        raise _bad(text, "is a range without ends", "git log A..B")
    return old or "HEAD", new or "HEAD"


def resolve(
    repo: Repository,
    rev: str,
    *,
    moves: Moves | None = None,
    now: datetime | None = None,
) -> Resolved:
    """The commit that a revision means.

    ``moves`` gives the recorded deployments of a ref, for ``REF@{date}``; ``now`` is the present
    for relative dates. Raises BadRevision, ShallowHistory or MissingObject.
    """
    return _Resolution(repo, rev, moves, now or datetime.now(UTC)).run()


class _Resolution:
    """One revision on its way to a commit."""

    def __init__(self, repo: Repository, rev: str, moves: Moves | None, now: datetime) -> None:
        self.repo, self.rev, self.moves, self.now = repo, rev, moves, now
        self.warnings: list[str] = []

    def run(self) -> Resolved:
        rev = self.rev
        if not rev or len(rev) > MAX_LENGTH:
            what = "is empty" if not rev else f"is longer than {MAX_LENGTH:,} characters"
            raise _bad(rev, what, "git for-each-ref")
        if is_sha(rev.lower()):
            return Resolved(rev, self._object(rev.lower()), "object")
        exact = self._ref(rev)
        if exact is not None:
            name, commit = exact
            return Resolved(rev, commit, "ref", name, tuple(self.warnings))
        self._refuse(rev)
        base, at, steps = self._split(rev)
        ref, commit, source = self._base(base, at)
        if steps:
            commit, source = self._walk(commit, steps), "expression"
        return Resolved(rev, commit, source, ref, tuple(self.warnings))  # type: ignore[arg-type]  # source is one of Resolved's words

    def _refuse(self, rev: str) -> None:
        if rev.startswith(":/") or "^{/" in rev:
            raise _bad(rev, "searches commit messages, which is refused", "git log --grep TEXT")
        if rev.startswith("-"):
            raise _bad(rev, "begins with a dash", "git for-each-ref")
        before_at = rev.partition("@{")[0]
        if ":" in before_at:
            raise _bad(rev, "names a file, not a commit", f"git show {shown(rev)}")
        if ".." in before_at:
            raise _bad(rev, "is a range, where one commit is wanted", "git log A..B")
        if _FORBIDDEN.search(before_at):
            raise _bad(rev, "is malformed", "git for-each-ref")
        if re.search(r"\^[@!-]", rev):
            raise _bad(rev, "names several commits", f"git rev-list {shown(rev)}")

    def _split(self, rev: str) -> tuple[str, str | None, list[tuple[str, str]]]:
        """(ref or id, text inside ``@{}`` if any, steps) of a revision."""
        end = min((i for i in (rev.find(c) for c in ("~", "^", "@{")) if i >= 0), default=len(rev))
        base, rest = rev[:end], rev[end:]
        at = None
        found = _AT.match(rest)
        if found:
            at, rest = found[1], rest[found.end() :]
        steps: list[tuple[str, str]] = []
        while rest:
            step = _STEP.match(rest)
            if step is None:
                raise _bad(rev, f"is malformed at {quoted(rest, 20)}", "git help revisions")
            generation, parent, kind = step.groups()
            if generation is not None:
                steps.append(("~", generation or "1"))
            elif parent is not None:
                steps.append(("^", parent or "1"))
            elif kind not in ("", "commit", "object"):
                raise _bad(rev, f"asks for a {shown(kind, 20)}, not a commit", "git log")
            rest = rest[step.end() :]
        return base, at, steps

    def _base(self, base: str, at: str | None) -> tuple[str | None, str, str]:
        """(ref, commit, source) that the part before the steps means."""
        if at is not None:
            return self._at(base, at)
        if base == "@":
            base = "HEAD"
        exact = self._ref(base)
        if exact is not None:
            return exact[0], exact[1], "ref"
        if is_sha(base.lower()):
            return None, self._object(base.lower()), "object"
        described = _DESCRIBED.fullmatch(base)
        digits = described[1] if described else base
        if _HEX.fullmatch(digits):
            found = self.repo.expand(digits.lower())
            if len(found) == 1:
                return None, found[0], "abbreviation"
            if found:
                listed = ", ".join(sha[:16] for sha in found[:6])
                more = f" and {len(found) - 6} more" if len(found) > 6 else ""
                raise BadRevision(
                    f"{shown(digits)} abbreviates {len(found)} commits: {listed}{more}",
                    hint=f"git show -s {found[0]}",
                    near=found[:6],
                )
        self.repo.require_commits()
        raise _bad(self.rev, "names no commit here", "git for-each-ref", self._near(base))

    def _near(self, base: str) -> list[str]:
        """Refs whose names are like what was typed; of a repository with very many, none."""
        names = self.repo.ref_names() if len(base) < 200 else []
        if len(names) > _MANY:
            return []
        short = {Ref(name.decode("utf-8", "replace"), "").short for name in names}
        return difflib.get_close_matches(base, sorted(short), 5)

    def _object(self, sha: str) -> str:
        commit = self.repo.peel(sha)
        if commit is None:
            raise _bad(sha, "is no commit of this repository", f"git cat-file -t {sha}")
        return commit

    def _ref(self, name: str) -> tuple[str, str] | None:
        """(full name, commit) of an exact ref, in git's order of places; warns of a second one."""
        if name == "@":
            name = "HEAD"
        if "@{" in name or not name or name.startswith("-"):
            return None
        found: list[tuple[str, str]] = []
        for place in _PLACES:
            full = place.format(name)
            if place == "{}" and not (name.startswith("refs/") or re.fullmatch("[A-Z_]+", name)):
                continue  # a plain file in the git directory is no ref
            commit = self.repo.ref(full)
            if commit is not None:
                found.append((full, commit))
        if not found:
            return None
        tag, branch = f"refs/tags/{name}", f"refs/heads/{name}"
        if found[0][0] == tag and any(full == branch for full, _ in found):
            self.warnings.append(f"{shown(name)} is a tag and a branch; took {tag}, not {branch}")
        return found[0]

    def _at(self, base: str, text: str) -> tuple[str | None, str, str]:
        """(ref, commit, source) of ``base@{text}``."""
        if re.fullmatch(r"-\d{1,6}", text):
            return self._earlier_checkout(int(text[1:]))
        named = self._ref(base) if base else self._current()
        if named is None:
            raise _bad(self.rev, f"names no ref: {shown(base)}", "git for-each-ref")
        ref, tip = named
        if text.lower() in ("u", "upstream"):
            tracked = self.repo.upstream(self.repo.head_name() or ref if ref == "HEAD" else ref)
            commit = self.repo.ref(tracked) if tracked else None
            if tracked is None or commit is None:
                raise _bad(
                    self.rev, f"asks for the upstream of {ref}, which has none", "git branch -vv"
                )
            return tracked, commit, "ref"
        if re.fullmatch(r"\d{1,6}", text):
            log = self.repo.reflog(ref)
            number = int(text)
            if number >= len(log) and not (number == 0):
                raise _bad(self.rev, f"reaches past the reflog of {ref}", f"git reflog {ref}")
            commit = tip if number == 0 else log[number][2]
            return ref, self._object(commit), "reflog"
        instant = parse_instant(text, self.now)
        if instant is None:
            raise _bad(
                self.rev, f"holds no date: {quoted(text)}", "gitdags ls --at 'main@{2025-03-01}'"
            )
        return self._dated(ref, tip, instant)

    def _current(self) -> tuple[str, str] | None:
        name = self.repo.head_name() or "HEAD"
        commit = self.repo.ref(name)
        return (name, commit) if commit else None

    def _earlier_checkout(self, number: int) -> tuple[str | None, str, str]:
        moved = [
            match[1]
            for _, _, _, message in self.repo.reflog("HEAD")
            if (match := re.match(r"checkout: moving from (\S+) to ", message))
        ]
        if not 0 < number <= len(moved):
            raise _bad(self.rev, "reaches past the reflog of HEAD", "git reflog HEAD")
        ref, commit, _ = self._base(moved[number - 1], None)
        return ref, commit, "reflog"

    def _dated(self, ref: str, tip: str, instant: datetime) -> tuple[str, str, str]:
        """Where a ref stood at an instant: deployments, then the reflog, then commit dates."""
        recorded: list[tuple[str, Iterable[tuple[datetime, str]]]] = [
            ("deployment", [(m.at, m.new) for m in (self.moves(ref) if self.moves else ())]),
            ("reflog", [(at, new) for at, _, new, _ in self.repo.reflog(ref)]),
        ]
        for source, entries in recorded:
            before = [(at, new) for at, new in entries if at <= instant]
            if before:
                newest = max(at for at, _ in before)
                commit = self.repo.peel(next(new for at, new in before if at == newest))
                if commit is not None:  # else deleted then, or pruned since
                    return ref, commit, source
        for commit_at in self.repo.first_parents(tip):
            if commit_at.committed_at <= instant:
                return ref, commit_at.sha, "commit date"
        if self.repo.is_shallow:
            raise ShallowHistory(
                f"{quoted(self.rev)} reaches before the history of this clone: it is shallow",
                hint=f"git -C {shlex.quote(str(self.repo.path))} fetch --unshallow",
            )
        first = f"{instant:%Y-%m-%d %H:%M:%S} UTC"
        raise _bad(
            self.rev, f"reaches before the first commit ({first})", f"git log --reverse {ref}"
        )

    def _walk(self, commit: str, steps: list[tuple[str, str]]) -> str:
        for kind, number in steps:
            try:
                if kind == "^" and int(number) > 0:
                    commit = self.repo.parent(self.repo.commit(commit), int(number))
                elif kind == "~":
                    for _ in range(int(number)):
                        commit = self.repo.parent(self.repo.commit(commit), 1)
            except LookupError:
                raise _bad(
                    self.rev, f"reaches past {commit[:12]}, which has no such parent", "git log"
                ) from None
        return commit


def parse_instant(text: str, now: datetime) -> datetime | None:
    """The moment, in UTC, that a date means; a date without a time is the end of that day.

    ISO 8601 (a time without a zone is UTC), ``now``, ``yesterday``, ``N days ago`` (or seconds,
    minutes, hours, weeks; dots for blanks as git writes them). None for anything else.
    """
    text = text.strip()
    if text == "now":
        return now
    if text == "yesterday":
        return _end_of(now.date() - timedelta(days=1))
    ago = _AGO.fullmatch(text)
    if ago:
        try:
            return now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        except OverflowError:
            return None
    try:
        return _end_of(date.fromisoformat(text))
    except ValueError:
        pass  # not a date alone: perhaps a date and a time
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time.max, UTC)


def _bad(rev: str, why: str, hint: str, near: Sequence[str] = ()) -> BadRevision:
    return BadRevision(f"{quoted(rev)} {why}", hint=hint, near=near)
