"""Which files must be parsed at which commit, and getting that done: Git + serializer + store."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

from gitdags import git, scratch
from gitdags.checkout import Checkout
from gitdags.config import Settings
from gitdags.git import Repository, display
from gitdags.model import Commit, ParseFailure, RegisteredRepository, StoredEnvironment
from gitdags.parsers import Parser, Parsers
from gitdags.pools import Pools
from gitdags.reading import ParsedFile, Reader
from gitdags.serialize import document
from gitdags.serialize.discovery import DagFile, Discovery, Layout
from gitdags.serialize.environment import RECORDER, Environment
from gitdags.serialize.era import Eras
from gitdags.serialize.pool import Limits, Pool, Request, Surroundings
from gitdags.store import FoundDag, Snapshot, Store
from gitdags.trust import Untrusted

_NEAR = 500
"""How far back the nearest indexed commit is looked for."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an index run did, in counts; ``errors`` are failures in the commits it parsed."""

    commits: int = 0
    parsed: int = 0
    reused: int = 0
    documents_new: int = 0
    errors: int = 0
    seconds: float = 0.0
    recorded: int = 0
    """files that the recorder parsed beside Airflow"""
    skipped: tuple[tuple[str, str], ...] = ()
    """(commit, reason) of those whose trees cannot be read, or that are not trusted enough here"""
    warnings: tuple[str, ...] = ()
    """what was not as the settings, or the machine, would best have it"""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an index run is: commits done and to do, files parsed so far."""

    done: int
    total: int
    parsed: int
    commit: str


class History:
    """Parses commits of one repository, as the settings in force say, into the store."""

    def __init__(
        self, repo: Repository, registered: RegisteredRepository, store: Store, settings: Settings
    ) -> None:
        self.repo, self.registered, self.store, self.settings = repo, registered, store, settings
        self.parsers = Parsers(repo, registered, settings, self.layout)
        self._reader = Reader(repo, settings, self.parsers.withheld)
        self._discoveries: dict[int, Discovery] = {}  # era -> how it finds files
        self._eras = Eras(repo)
        self.heard: Callable[[int, int], None] | None = None
        """told (files parsed, files to parse) of the commit in work"""

    @property
    def dags_folder(self) -> str:
        """The folder of DAG files: flag and environment, what `init` was told, other settings."""
        text, source = self.settings.origin("dags_folder")
        told = self.registered.dags_folder
        if told is not None and source not in ("flag", "environment"):
            return told
        folder: str = self.settings["dags_folder"] if text else ""
        return folder

    @cached_property
    def layout(self) -> str:
        """Hash of the settings that decide which files are parsed, and with what around them."""
        names = ["ignore_syntax", "safe_mode", "plugins"]
        if self.settings["plugins"]:
            names.append("plugins_folder")
        told = {name: self.settings[name] for name in names} | {"dags_folder": self.dags_folder}
        return document.digest(document.canonical(told))

    def fits(self, environment: StoredEnvironment) -> bool:
        """Whether what was parsed in an environment is what the settings in force ask for.

        Another version of Airflow or Python is no reason to parse again, unless an interpreter was
        asked for in so many words.
        """
        if environment.layout != self.layout or environment.env_file not in self.parsers.env_files:
            return False
        if self.settings["engine"] not in ("auto", environment.engine):
            return False
        if self.settings.origin("python")[1] != "flag":
            return True
        wanted = self.parsers.default(environment.engine).environment
        return (environment.airflow, environment.python) == (wanted.airflow, wanted.python)

    @property
    def engines(self) -> tuple[str, ...]:
        """What parses: the engine asked for; of ``auto``, Airflow where there is one, the recorder.

        The first of them parses every commit. The recorder after Airflow parses those that Airflow
        leaves files of unread, and their neighbours. Raises NoAirflow or BadRules.
        """
        return self.parsers.engines

    def environment(self, commit: Commit, engine: str | None = None) -> Environment:
        """What this commit would be parsed in now, by the first engine or another. Raises NoAirflow."""
        base = self.parsers.of(commit, engine or self.engines[0]).environment
        if not self.settings["plugins"] or not base.exact:
            return base
        plugins = self.repo.follow(commit.tree, self.settings["plugins_folder"].encode())
        oid = plugins[1].oid if plugins is not None and plugins[1].is_tree else None
        return dataclasses.replace(base, plugins=oid)

    def missing(self, commits: Sequence[Commit], engine: str | None = None) -> list[Commit]:
        """The commits, in the order given, that the store lacks in their environment."""
        indexed = self.store.indexed(self.registered)
        return [c for c in commits if self.environment(c, engine).id not in indexed.get(c.sha, ())]

    def index(
        self, commits: Sequence[Commit], progress: Callable[[Progress], None] | None = None
    ) -> IndexReport:
        """Parse what the store lacks of these commits. Each is stored whole or not at all.

        A commit whose tree another one has already shown is stored without parsing. Of several
        commits, one whose tree cannot be read, or that needs a sandbox where there is none, is
        skipped and reported. Raises NoAirflow, BadRules, Untrusted, StoreUnavailable, TreeTooLarge,
        CorruptObject or MissingObject; what was stored stays.
        """
        began = time.monotonic()
        report = IndexReport(commits=len(commits))
        self.parsers.look_again()
        for number, engine in enumerate(self.engines):
            wanted = commits if number == 0 else self._neighbourhood(commits)
            todo = self.missing(wanted, engine)
            for done, part in enumerate(self._run(todo, engine) if todo else ()):
                if number > 0:
                    part = dataclasses.replace(
                        part, parsed=0, reused=0, errors=0, recorded=part.parsed
                    )
                report = _sum(report, part)
                if progress is not None:
                    progress(Progress(done + 1, len(todo), report.parsed, todo[done].sha))
        done_any = report.parsed or report.recorded or report.skipped
        return dataclasses.replace(
            report,
            seconds=round(time.monotonic() - began, 3),
            warnings=self._warnings() if done_any else (),
        )

    def record(self, commits: Sequence[Commit]) -> bool:
        """Have the recorder parse what it has not yet of these commits; False where it may not."""
        if RECORDER not in self.engines:
            return False
        todo = self.missing(commits, RECORDER)
        for _ in self._run(todo, RECORDER) if todo else ():
            pass
        return True

    def _neighbourhood(self, commits: Sequence[Commit]) -> list[Commit]:
        """The commits at which Airflow could not read a file, and those beside them in history.

        Whether a commit changed a DAG is asked of its parent. Where Airflow reads the file on one
        side only, the recorder's documents of both are needed; anywhere else none of them is.
        """
        if not commits:
            return []
        indexed = self.store.indexed(self.registered)
        families = {self.environment(commit).family for commit in commits}
        mine = {e.id for e in self.store.environments().values() if e.family in families}
        failing = self.store.failing(self.registered, mine)
        known = {sha for sha, environments in indexed.items() if mine.intersection(environments)}
        found: dict[str, Commit] = {}
        for commit in commits:
            above = itertools.islice(self.repo.first_parents(commit.sha), 1, _NEAR)
            parent = next((c for c in above if c.sha in known), None)
            if commit.sha in failing or (parent is not None and parent.sha in failing):
                found[commit.sha] = commit
                if parent is not None:
                    found[parent.sha] = parent
        return list(found.values())

    def parse(
        self, commit: Commit, *, hash_seed: str = "0", only: Collection[str] | None = None
    ) -> Iterator[ParsedFile]:
        """Parse a commit anew, without the store: all its DAG files, or ``only`` some (as shown).

        Raises NoAirflow, BadRules or Untrusted.
        """
        wanted = [(commit, only)]
        yield from (parsed for _, parsed in self.parse_each(wanted, hash_seed=hash_seed))

    def parse_each(
        self, wanted: Sequence[tuple[Commit, Collection[str] | None]], *, hash_seed: str = "0"
    ) -> Iterator[tuple[Commit, ParsedFile]]:
        """The same of several commits, each with its own ``only``, by as few parsers as can be."""
        self.parsers.look_again()
        found = []
        for commit, only in wanted:
            self.parsers.admit(commit)
            environment = self.environment(commit)
            there = self._discovery(environment).find(commit.tree).files
            mine = [file for file in there if only is None or display(file.path) in only]
            found.append((commit, environment, mine, self._era(environment, commit, there)))
        most = max((len(files) for _, _, files, _ in found), default=0)
        if not most:
            return
        engine = self.engines[0]
        with ExitStack() as stack:
            checkout, pools = self._tools(stack, hash_seed, most)
            for commit, environment, files, era in found:
                pool = pools.of(self.parsers.of(commit, engine))
                for parsed in self._parse(pool, checkout, commit, environment, files, era):
                    yield commit, parsed

    # ── one run ───────────────────────────────────────────────────────────────────────────

    def _run(self, todo: Sequence[Commit], engine: str) -> Iterator[IndexReport]:
        """Index each commit; one report a commit."""
        with ExitStack() as stack:
            tools: tuple[Checkout, Pools] | None = None
            for commit in todo:
                try:
                    environment = self.environment(commit, engine)
                    # Which files are looked at is the first engine's to say: the others are held
                    # against it.
                    discovery = self._discovery(self.environment(commit))
                    if self.store.share(self.registered, commit.sha, commit.tree, environment):
                        yield IndexReport(reused=len(discovery.find(commit.tree).files))
                        continue
                    self.parsers.admit(commit)
                    if tools is None:
                        tools = self._tools(stack)
                    pool = tools[1].of(self.parsers.of(commit, engine))
                    yield self._index_one(pool, tools[0], commit, environment, discovery)
                except (
                    git.TreeTooLarge,
                    git.CorruptObject,
                    git.MissingObject,
                    Untrusted,
                ) as error:
                    if len(todo) == 1:
                        raise
                    yield IndexReport(skipped=((commit.sha, error.message),))

    def _tools(
        self, stack: ExitStack, hash_seed: str = "0", files: int = 0
    ) -> tuple[Checkout, Pools]:
        """A checkout, and pools that parse what is in it; ended with the stack."""
        checkout = stack.enter_context(self._checkout())
        pools = Pools(lambda parser: self._pool(parser, checkout, hash_seed, files))
        return checkout, stack.enter_context(pools)

    def _warnings(self) -> tuple[str, ...]:
        found = [f"environment {name}: {why}" for name, why in self.parsers.problems.items()]
        confinement = self.parsers.confinement
        if not confinement.confined:
            found.append(
                f"there is no sandbox ({confinement.reason}): only trusted commits are parsed"
            )
        return tuple(found)

    @contextmanager
    def _checkout(self) -> Iterator[Checkout]:
        place = scratch.make("tree")
        try:
            # Its parent is ours alone; what lies in it, a DAG file's user must be able to read.
            yield Checkout(self.repo, place / "trees", bytecode=False, public=True)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _index_one(
        self,
        pool: Pool,
        checkout: Checkout,
        commit: Commit,
        environment: Environment,
        discovery: Discovery,
    ) -> IndexReport:
        began = time.monotonic()
        found = discovery.find(commit.tree)
        era = self._era(environment, commit, found.files)
        parsed = self._parse(pool, checkout, commit, environment, found.files, era)
        results = sorted(parsed, key=lambda r: r.file)
        errors = [error for result in results for error in result.errors]
        errors += [
            ParseFailure(
                display(path),
                "UnsupportedArchive",
                "a zip archive of DAG files; gitdags reads DAG files as such only",
            )
            for path in found.archives
        ]
        codes = {}
        dags = []
        airflow = {}
        for result in results:
            text = document.canonical([list(pair) for pair in result.code])
            key = document.digest(text)
            for doc, own in zip(result.documents, result.airflow, strict=True):
                codes[key] = text.decode()
                dags.append(FoundDag(doc, result.file, key, result.guesses, result.placeholders))
                if own is not None:
                    airflow[doc.dag_hash] = own
        snapshot = Snapshot(
            commit.sha,
            commit.tree,
            environment,
            tuple(dags),
            tuple(sorted(errors, key=lambda e: (e.file, e.message))),
            codes,
            airflow,
            len(found.files),
            time.monotonic() - began,
        )
        new = self.store.save(self.registered, snapshot)
        return IndexReport(parsed=len(found.files), documents_new=new, errors=len(errors))

    def _parse(
        self,
        pool: Pool,
        checkout: Checkout,
        commit: Commit,
        environment: Environment,
        files: Sequence[DagFile],
        era: str,
    ) -> Iterator[ParsedFile]:
        """Parse files of a commit, in any order, from a checkout that none of them has changed.

        Where a file changes the checkout, all are parsed again, each from a fresh one: what a file
        is found to be never depends on which others were parsed with it.
        """
        good = []
        for file in files:
            try:
                file.path.decode()
                good.append(file)
            except UnicodeDecodeError:
                name = display(file.path)
                failure = ParseFailure(
                    name, "FileNameError", "the file's name is not UTF-8; Airflow cannot import it"
                )
                yield ParsedFile(name, (), (), (failure,), ())
        checkout.move(commit.tree)
        checkout.seal()
        outcomes = []
        for outcome in pool.run([_request(checkout, file, era) for file in good]):
            outcomes.append(outcome)
            if self.heard is not None:
                self.heard(len(outcomes), len(good))
        if not checkout.intact():
            outcomes = []
            for file in good:
                if not checkout.intact():
                    checkout.reset(commit.tree)
                    checkout.seal()
                outcomes += pool.run([_request(checkout, file, era)])
            checkout.reset(commit.tree)
        for outcome in outcomes:
            yield self._reader.read(outcome, pool.home, commit, environment)

    def _discovery(self, environment: Environment) -> Discovery:
        if environment.era not in self._discoveries:
            syntax = self.settings["ignore_syntax"]
            if syntax == "auto":
                syntax = "glob" if environment.era >= 3 else "regexp"
            layout = Layout(self.dags_folder, syntax, self.settings["safe_mode"], environment.era)
            self._discoveries[environment.era] = Discovery(self.repo, layout)
        return self._discoveries[environment.era]

    def _era(self, environment: Environment, commit: Commit, files: Sequence[DagFile]) -> str:
        """The version of Airflow that a commit is for, where it is a stand-in that parses."""
        if environment.exact:
            return ""
        return self._eras.of(commit.tree, [file.blob for file in files])

    def _pool(self, parser: Parser, checkout: Checkout, hash_seed: str, files: int) -> Pool:
        """A pool of as many jobs as settings say, and no more than ``files`` (0: any number)."""
        settings = self.settings
        jobs = settings["jobs"] or os.cpu_count() or 1
        surroundings = Surroundings(
            parser.python,
            self.dags_folder,
            settings["plugins_folder"],
            settings["plugins"],
            self.parsers.variables(parser),
            hash_seed,
            parser.environment.engine,
            self.parsers.confinement,
            checkout.place,
            (*parser.environment.readable, *settings["sandbox_paths"]),
        )
        limits = Limits(
            settings["parse_timeout"],
            settings["parse_memory"],
            settings["parse_output"],
            settings["parse_result"],
            settings["parse_disk"],
            settings["parse_processes"],
        )
        return Pool(surroundings, limits, min(jobs, files) if files else jobs)


def _request(checkout: Checkout, file: DagFile, era: str) -> Request:
    return Request(checkout.folder, file.path, file.imports[:200], era)


def _sum(a: IndexReport, b: IndexReport) -> IndexReport:
    return dataclasses.replace(
        a,
        parsed=a.parsed + b.parsed,
        reused=a.reused + b.reused,
        documents_new=a.documents_new + b.documents_new,
        errors=a.errors + b.errors,
        recorded=a.recorded + b.recorded,
        skipped=a.skipped + b.skipped,
    )
