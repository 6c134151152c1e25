"""Which interpreter parses a commit: an administrator's rules, in a file beside the settings.

The rules of a repository are tried in order; the first that fits a commit, and whose interpreter
is there or may be built, is taken. Only an administrator writes them: a commit can be what a rule
looks at, never what says which program runs. Building is `serialize.builds`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import regex

from gitdags.errors import GitdagsError, quoted, shown
from gitdags.git import Repository
from gitdags.model import Commit
from gitdags.serialize.builds import UNNEEDED, BadRequirements, Recipe, recipe

_LARGEST = 1 << 20  # bytes of a file that a rule looks into
_PATIENCE = 1.0  # seconds a rule's pattern may take on a file that whoever made the commit wrote
_KEYS = frozenset({"name", "python", "packages", "requirements", "constraints", "since", "before"})
_KEYS |= frozenset({"without", "refs", "path", "file", "matches"})
_GROUP = re.compile(r"\{([a-z_]+)\}")


class BadRules(GitdagsError):
    """The file of environments is no TOML, or a rule in it makes no sense."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """One environment and the commits it is for; every condition that is given must hold.

    ``python`` is the path of an interpreter, or a version such as 3.12 to build with.
    ``packages`` and ``python`` may hold ``{name}`` of a group of ``matches``.
    """

    name: str
    python: str
    packages: tuple[str, ...] = ()
    requirements: str = ""
    constraints: str = ""
    without: tuple[str, ...] = UNNEEDED
    since: datetime | None = None
    before: datetime | None = None
    refs: tuple[str, ...] = ()
    path: str = ""
    file: str = ""
    matches: str = ""

    @property
    def built(self) -> bool:
        """Whether gitdags builds it, rather than being told where it is."""
        return "/" not in self.python

    @property
    def conditions(self) -> str:
        """When it is taken, in words."""
        found = [
            f"since {self.since:%Y-%m-%d %H:%M}" if self.since else "",
            f"before {self.before:%Y-%m-%d %H:%M}" if self.before else "",
            f"reached by {', '.join(self.refs)}" if self.refs else "",
            f"{self.path} is there" if self.path else "",
            f"{self.file} matches {self.matches}" if self.file else "",
        ]
        return ", ".join(part for part in found if part) or "every commit"


@dataclass(frozen=True, slots=True)
class Fitting:
    """A rule that fits a commit: what to build for it, or the interpreter that is there."""

    rule: Rule
    recipe: Recipe | None = None
    python: str = ""
    problem: str = ""
    """why nothing can be built from what the commit says"""


def load(path: Path, repository: str) -> tuple[Rule, ...]:
    """The rules for a repository of that name, those under ``"*"`` last; () without a file.

    Raises BadRules.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return ()
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRules(f"{path}: {shown(str(error))}", hint=f"cat {path}") from None
    found: list[Rule] = []
    for key in (repository, "*"):
        rows = tables.get(key, [])
        if not isinstance(rows, list):
            raise BadRules(f"{path}: {key} is no list of tables", hint=f"cat {path}")
        for number, row in enumerate(rows, 1):
            try:
                found.append(_rule(row))
            except (ValueError, regex.error) as error:
                where = f"{path}: {key}, rule {number}"
                raise BadRules(f"{where}: {shown(str(error), 200)}", hint=f"cat {path}") from None
    names = [rule.name for rule in found]
    for name in names:
        if names.count(name) > 1:
            raise BadRules(f"{path}: two rules are named {quoted(name)}", hint=f"cat {path}")
    return tuple(found)


class Rules:
    """The rules of one repository, asked about its commits."""

    def __init__(self, repo: Repository, rules: Sequence[Rule]) -> None:
        self._repo, self.rules = repo, tuple(rules)
        self._reached: dict[tuple[str, ...], set[str]] = {}
        self._read: dict[tuple[str, str], Mapping[str, str] | None] = {}

    def fitting(self, commit: Commit) -> list[Fitting]:
        """What fits a commit, the best first. Raises what reading the commit's tree raises."""
        found = []
        for rule in self.rules:
            groups = self._groups(rule, commit)
            if groups is not None:
                found.append(self._fitting(rule, commit, groups))
        return found

    def _fitting(self, rule: Rule, commit: Commit, groups: Mapping[str, str]) -> Fitting:
        python = _filled(rule.python, groups)
        if not rule.built:
            return Fitting(rule, python=python)
        lines = "\n".join(_filled(line, groups) for line in rule.packages)
        texts = []
        for name in (rule.requirements, rule.constraints):
            text = self._text(commit, name) if name else ""
            if text is None:
                return Fitting(rule, problem=f"there is no {name} at {commit.sha[:12]}")
            texts.append(text)
        try:
            return Fitting(rule, recipe(python, f"{lines}\n{texts[0]}", texts[1], rule.without))
        except BadRequirements as error:
            return Fitting(rule, problem=error.message)

    def _groups(self, rule: Rule, commit: Commit) -> Mapping[str, str] | None:
        """What the groups of a rule's pattern matched, or None where the rule does not fit."""
        when = commit.committed_at
        if (rule.since and when < rule.since) or (rule.before and when >= rule.before):
            return None
        if rule.refs and commit.sha not in self._ancestors(rule.refs):
            return None
        if rule.path and self._repo.follow(commit.tree, rule.path.encode()) is None:
            return None
        if not rule.file:
            return {}
        found = self._repo.follow(commit.tree, rule.file.encode())
        if found is None or not found[1].is_file:
            return None
        key = (rule.matches, found[1].oid)
        if key not in self._read:
            self._read[key] = self._match(rule, self._text(commit, rule.file) or "")
        return self._read[key]

    def _match(self, rule: Rule, text: str) -> Mapping[str, str] | None:
        try:
            found = regex.search(rule.matches, text, regex.MULTILINE, timeout=_PATIENCE)
        except TimeoutError:
            return None
        if found is None:
            return None
        return {name: value for name, value in found.groupdict().items() if value is not None}

    def _text(self, commit: Commit, path: str) -> str | None:
        found = self._repo.follow(commit.tree, path.encode())
        if found is None or not found[1].is_file or self._repo.size(found[1].oid) > _LARGEST:
            return None
        return self._repo.blob(found[1].oid).decode("utf-8", "replace")

    def _ancestors(self, names: tuple[str, ...]) -> set[str]:
        if names not in self._reached:
            full = [name if name.startswith("refs/") else f"refs/heads/{name}" for name in names]
            tips = [tip for tip in map(self._repo.ref, full) if tip is not None]
            self._reached[names] = self._repo.ancestors(tips)
        return self._reached[names]


def _rule(row: Any) -> Rule:
    if not isinstance(row, dict):
        raise ValueError("it is no table")
    for key in row:
        if key not in _KEYS:
            raise ValueError(f"there is no {quoted(key)}; there are {', '.join(sorted(_KEYS))}")
    for key in ("name", "python"):
        if not isinstance(row.get(key), str) or not row[key]:
            raise ValueError(f"it has no {key}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", row["name"]):
        raise ValueError(f"{quoted(row['name'])} is no name: letters, digits, '.', '_', '-'")
    known: dict[str, Any] = {}
    for key, value in row.items():
        if key in ("since", "before"):
            known[key] = _moment(key, value)
        elif key in ("packages", "refs", "without"):
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ValueError(f"{key} is no list of strings")
            known[key] = tuple(value)
        elif not isinstance(value, str):
            raise ValueError(f"{key} is no string")
        else:
            known[key] = value
    made = Rule(**known)
    if bool(made.file) != bool(made.matches):
        raise ValueError("file and matches go together")
    groups = set(regex.compile(made.matches, regex.MULTILINE).groupindex) if made.matches else set()
    for text in (made.python, *made.packages):
        for name in _GROUP.findall(text):
            if name not in groups:
                raise ValueError(f"{quoted(text)}: matches has no group {quoted(name)}")
    if made.built and not (made.packages or made.requirements):
        raise ValueError("python is a version, so packages or requirements must say what to build")
    if not made.built and (made.packages or made.requirements or made.constraints):
        raise ValueError("python is the path of an interpreter, so there is nothing to build")
    if not made.built and _GROUP.search(made.python):
        raise ValueError("the path of an interpreter takes nothing from a commit")
    return made


def _moment(key: str, value: object) -> datetime:
    """A date is its beginning, a time without a zone is one of UTC."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise ValueError(f"{key} is no date such as 2025-06-01")


def _filled(text: str, groups: Mapping[str, str]) -> str:
    return _GROUP.sub(lambda found: groups.get(found[1], ""), text)
