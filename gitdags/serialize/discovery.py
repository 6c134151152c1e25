"""Which files of a tree Airflow would parse: ``.airflowignore``, safe mode, links, archives.

Works on Git objects, so a commit need not be on disk. Follows the rules of Airflow's
``list_py_file_paths``, whose two eras differ in the default syntax of ``.airflowignore`` and in
the words that safe mode looks for.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import regex
from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.basic import GitIgnoreBasicPattern

from gitdags.git import Repository
from gitdags.model import MODE_LINK, Entry

_IGNORE_FILE = b".airflowignore"
_COMMENT = re.compile(r"\s*#.*")
_IMPORT = re.compile(rb"^[ \t]*import[ \t]+(airflow\.[A-Za-z_][\w.]*)", re.M)
_FROM_IMPORT = re.compile(
    rb"^[ \t]*from[ \t]+(airflow(?:\.[A-Za-z_]\w*)*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)", re.M
)
_NAME = re.compile(rb"([A-Za-z_]\w*)(?:[ \t]+as[ \t]+\w+)?")
_PATTERN_SECONDS = 0.05
"""What one pattern may take on one path: patterns come from whoever wrote the commit."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a repository keeps its DAGs and how its ignore files are to be read."""

    dags_folder: str = "dags"
    ignore_syntax: str = "glob"
    safe_mode: bool = True
    era: int = 3
    """major version of the Airflow whose rules hold"""


@dataclass(frozen=True, slots=True)
class DagFile:
    """A file to parse: its path (bytes), its blob, and what it imports of Airflow.

    ``imports`` are ``module`` or ``module:name``, by the look of its lines only.
    """

    path: bytes
    blob: str
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The files to parse, in path order, and the archives that gitdags does not read."""

    files: tuple[DagFile, ...]
    archives: tuple[bytes, ...]


class Discovery:
    """Finds the DAG files of trees of one repository; what it learns of a blob it keeps."""

    def __init__(self, repo: Repository, layout: Layout) -> None:
        self._repo, self._layout = repo, layout
        self._blobs: dict[str, tuple[bool, tuple[str, ...]]] = {}

    def find(self, tree: str) -> Found:
        """What Airflow would parse of a commit's tree. Raises TreeTooLarge."""
        self._repo.measure(tree)
        base = self._layout.dags_folder.encode()
        top = self._repo.follow(tree, base)
        files: list[DagFile] = []
        archives: list[bytes] = []
        if top is None or not top[1].is_tree:
            return Found((), ())
        for path, entry in self._candidates(tree, base, top[1].oid):
            name = path.rpartition(b"/")[2]
            if name.endswith(b".zip") and zipfile.is_zipfile(
                io.BytesIO(self._repo.blob(entry.oid))
            ):
                archives.append(path)
            elif name.endswith(b".py") and name != b".py":  # as Path.suffix has it
                wanted, imports = self._inspect(entry.oid)
                if wanted:
                    files.append(DagFile(path, entry.oid, imports))
        return Found(
            tuple(sorted(files, key=lambda f: f.path)),
            tuple(sorted(archives)),
        )

    def _candidates(self, tree: str, base: bytes, oid: str) -> Iterator[tuple[bytes, Entry]]:
        """Every file that no ignore file excludes, with links to files and folders followed."""
        prefix = base + b"/" if base else b""
        rules = _Rules(self._layout.ignore_syntax, self._layout.era, len(prefix))
        stack: list[tuple[bytes, str, _Rules, tuple[str, ...]]] = [(prefix, oid, rules, (oid,))]
        while stack:
            prefix, oid, rules, above = stack.pop()
            entries = self._repo.tree(oid)
            if _IGNORE_FILE in entries:
                ignore = self._repo.follow(tree, prefix + _IGNORE_FILE)
                if ignore is not None and ignore[1].is_file:
                    rules = rules.extended(self._repo.blob(ignore[1].oid), prefix)
            for name, entry in entries.items():
                path = prefix + name
                if entry.mode == MODE_LINK:
                    target = self._repo.follow(tree, path)
                    if target is None:
                        continue
                    entry = target[1]
                if entry.is_tree:
                    # Airflow gives up on a folder inside itself; here it is only not entered again.
                    if entry.oid not in above and not rules.match(path, is_dir=True):
                        stack.append((path + b"/", entry.oid, rules, (*above, entry.oid)))
                elif entry.is_file and name != _IGNORE_FILE and not rules.match(path, is_dir=False):
                    yield path, entry

    def _inspect(self, blob: str) -> tuple[bool, tuple[str, ...]]:
        """(whether to parse, Airflow modules imported) of a Python file."""
        known = self._blobs.get(blob)
        if known is None:
            data = self._repo.blob(blob)
            wanted = True
            if self._layout.safe_mode:
                lower = data.lower()
                words = (b"dag", b"asset") if self._layout.era >= 3 else (b"dag",)
                wanted = b"airflow" in lower and any(word in lower for word in words)
            known = self._blobs[blob] = (wanted, _imports(data) if wanted else ())
        return known


def _imports(source: bytes) -> tuple[str, ...]:
    """``module`` and ``module:name`` of the lines that import something of Airflow's, sorted."""
    found = {module.decode() for module in _IMPORT.findall(source)}
    for module, names in _FROM_IMPORT.findall(source):
        bare = re.sub(rb"#[^\n]*", b"", names)
        found |= {f"{module.decode()}:{name.decode()}" for name in _NAME.findall(bare)}
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: regex.Pattern[str]
    ignore: bool = True
    start: int | None = 0
    """where in a path the part to match begins; None: the last name only"""
    dirs_only: bool = False


@dataclass(frozen=True, slots=True)
class _Rules:
    """The patterns in force in a folder, in order; a later one may take back an earlier one.

    The two eras differ in globs: 2.x matches at the beginning only, gives a folder its slash for
    patterns that end in one, and keeps the first of two equal patterns.
    """

    syntax: str
    era: int
    base: int
    """length of the DAG folder's own prefix"""
    rules: Sequence[_Rule] = field(default_factory=tuple)

    def extended(self, content: bytes, prefix: bytes) -> _Rules:
        """With the patterns of an ignore file that lies in the folder ``prefix``."""
        make = self._regexp if self.syntax == "regexp" else self._glob
        lines = (_COMMENT.sub("", ln) for ln in _lines(content))
        new = [rule for line in lines if line and (rule := make(line, len(prefix))) is not None]
        rules = (*self.rules, *new)
        if self.era < 3:
            rules = tuple(dict.fromkeys(rules))
        return _Rules(self.syntax, self.era, self.base, rules)

    def match(self, path: bytes, is_dir: bool) -> bool:
        """Whether a file or folder is to be left out."""
        ignored = False
        for rule in self.rules:
            if self.era >= 3 and rule.dirs_only and not is_dir:
                continue
            part = path.rpartition(b"/")[2] if rule.start is None else path[rule.start :]
            text = part.decode("utf-8", "surrogateescape")
            if is_dir and self.syntax != "regexp" and (self.era >= 3 or rule.dirs_only):
                text += "/"
            at_start = self.era < 3 and self.syntax != "regexp"
            look = rule.pattern.match if at_start else rule.pattern.search
            try:
                if look(text, timeout=_PATTERN_SECONDS):
                    ignored = rule.ignore
            except TimeoutError:
                continue  # a pattern made to hang is as good as none
        return ignored

    def _regexp(self, line: str, _: int) -> _Rule | None:
        if self.era < 3 and _NOT_RE2.search(line):
            return None
        try:
            return _Rule(regex.compile(line), start=self.base)
        except regex.error:
            return None  # Airflow warns and goes on

    def _glob(self, line: str, folder: int) -> _Rule | None:
        if line.strip() == "/":
            return None
        anchored = line.startswith("/") or "/" in line.rstrip("/")
        bare = line.lstrip("!").rstrip() if self.era >= 3 else line
        try:
            text, include = GitIgnoreBasicPattern.pattern_to_regex(line)
        except (GitIgnorePatternError, ValueError):
            return None
        if text is None or include is None:
            return None
        return _Rule(
            regex.compile(text),
            ignore=include,
            start=folder if anchored else None,
            dirs_only=bare != bare.rstrip("/"),
        )


_NOT_RE2 = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]")
"""Look-around and back-references, which the RE2 of Airflow 2.x refuses."""


def _lines(content: bytes) -> list[str]:
    """The lines of a text file, whatever ends them."""
    return io.TextIOWrapper(io.BytesIO(content), "utf-8", "replace").read().split("\n")
