"""Every question about runs, stamps and deployments, answered once. `gitdags.catalog` is the whole.

What is asked here has names of Airflow's in it; the commits behind them are the other half's.
"""

from __future__ import annotations

import difflib
import functools
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitdags import executed, git, hooks, keep, settlement, stamp, suspects
from gitdags.airflow_api import AirflowApi
from gitdags.attribution import Attribution
from gitdags.config import Settings
from gitdags.drain import Drain, DrainReport
from gitdags.errors import GitdagsError, quoted, shown
from gitdags.history import History
from gitdags.model import (
    Commit,
    Comparison,
    Deployment,
    Executed,
    Imported,
    Json,
    Move,
    PastRun,
    RegisteredRepository,
    Resolved,
    RunStamp,
    ShownDocument,
    Stamp,
    Suspicion,
)
from gitdags.past import Past
from gitdags.program import GitFailed
from gitdags.settlement import Settlement
from gitdags.spool import Spool
from gitdags.store import Store, StoreUnavailable
from gitdags.store.airflow_db import AirflowDatabase

log = logging.getLogger("gitdags.runs")


class NoSuchRun(GitdagsError):
    """No run of that id was ever stamped."""

    http_status = 404


class AmbiguousRun(GitdagsError):
    """Several installations, or DAGs, have a run of that id."""

    http_status = 409


class RunCatalog(ABC):
    """The half of `Catalog` that is about runs."""

    _settings: Settings
    _store: Store

    @abstractmethod
    def repositories(self) -> list[RegisteredRepository]: ...

    @abstractmethod
    def opened(self, repo: RegisteredRepository) -> git.Repository: ...

    @abstractmethod
    def history(self, repo: RegisteredRepository) -> History: ...

    @abstractmethod
    def resolve(self, repo: RegisteredRepository, rev: str) -> Resolved: ...

    @abstractmethod
    def bring(self, repo: RegisteredRepository, sha: str) -> bool: ...

    @abstractmethod
    def find_document(
        self, repo: RegisteredRepository, dag_id: str, sha: str
    ) -> ShownDocument | None: ...

    @abstractmethod
    def find_comparison(
        self, repo: RegisteredRepository, old: str, new: str, dag_id: str
    ) -> Comparison | None: ...

    # ── deployments ───────────────────────────────────────────────────────────────────────

    def record(self, moves: Sequence[Deployment]) -> list[Deployment]:
        """Note moves of refs; those that were not known yet. One move reported twice is one."""
        return self._store.deployments.add(moves)

    def receive(self, repo: RegisteredRepository) -> list[Deployment]:
        """Take in what the hooks of a repository have written down; the deployments that are new.

        Their commits are kept alive first. What was not taken in for an error stays where it is.
        Raises StoreUnavailable, GitFailed, NoSuchRepository.
        """
        common = hooks.common_dir(repo.path)
        inbox = None if common is None else hooks.Inbox(common)
        if inbox is None or not inbox.is_there or not inbox.waiting():
            return []
        names = [r.name for r in self.repositories() if hooks.common_dir(r.path) == common]
        with inbox.taken(self.opened(repo), repo.name) as moves:
            self._keep(repo, {sha for move in moves for sha in (move.old, move.new) if sha})
            return self.record([replace(move, repo=name) for name in names for move in moves])

    def deployments(
        self,
        repo: RegisteredRepository | None = None,
        ref: str | None = None,
        *,
        limit: int | None = None,
        before: datetime | None = None,
    ) -> list[Deployment]:
        """Recorded moves of refs (full names), newest first."""
        name = None if repo is None else repo.name
        return self._store.deployments.newest(name, ref, limit=limit, before=before)

    def moves(self, repo: RegisteredRepository, ref: str) -> list[Move]:
        """From when on a ref (full name) stood where, as far as deployments tell; of equal moments the last
        comes first.

        HEAD goes along with its branch, which is the branch's deployment and not its own; so where
        deployments of it are recorded, git's own log tells what came between them.
        """
        found = self._store.deployments.moves(repo.name, ref)[::-1]
        if ref != "HEAD" or not found:
            return found
        logged = [Move(at, new) for at, _, new, _ in self.opened(repo).reflog(ref)]
        logged = [move for move in logged if move.at >= found[-1].at.replace(microsecond=0)]
        return logged + [move for move in found if not logged or move.at < logged[-1].at]

    # ── stamps ────────────────────────────────────────────────────────────────────────────

    @property
    def spool(self) -> Spool:
        """Where processes of Airflow leave their stamps."""
        return Spool(self._settings.spool)

    def drain(self) -> DrainReport:
        """Take into the store what the spool holds, and what hooks have seen before it.

        Raises StoreUnavailable; then all of it stays where it is.
        """
        received = 0
        for repo in self.repositories():
            try:
                received += len(self.receive(repo))
            except StoreUnavailable:
                raise
            except Exception as error:  # one repository's trouble holds up no other's stamps
                log.warning("%s: its hooks' moves wait: %s", repo.name, error)
        attribution = Attribution(self.repositories, self.opened, self.moves)
        report = Drain(
            self.spool,
            self._store,
            attribution.complete,
            self._name_at,
            self._settings["rendered_runs"],
            self._keep_named,
        ).run()
        return replace(report, deployments=report.deployments + received)

    def settle(self, commits: int | None = None, *, again: bool = False) -> int:
        """Make the documents of runs that have none, of at most so many commits; how many runs.

        Their commits are kept alive. ``again``: also of runs whose repository or commit was unknown.
        """
        if again:
            self._store.runs.doubt_again(settlement.RECHECKED)
        return Settlement(
            self._store,
            self.repositories,
            self.opened,
            self.history,
            self.find_document,
            self._keep,
            self.bring,
        ).run(commits)

    def stamp(
        self,
        repo: RegisteredRepository,
        dag_id: str,
        run_id: str,
        rev: str = "HEAD",
        airflow: str | None = None,
    ) -> RunStamp:
        """Say by hand which commit a run ran at. The same again is nothing; another one stays beside it.

        Without ``airflow`` it is the installation that has the run, else the one of the settings.

        Raises what `resolve` raises.
        """
        commit = self.resolve(repo, rev).commit
        known = {run.airflow for run in self._store.runs.find(dag_id, run_id)}
        if airflow is None and len(known) == 1:
            airflow = known.pop()
        event = Stamp(
            id="",
            airflow=airflow or self._settings["airflow_name"],
            dag_id=dag_id,
            run_id=run_id,
            state="unknown",
            source="manual",
            at=datetime.now(UTC),
            repo=repo.name,
            commit=commit,
        )
        self._store.stamps.add([replace(event, id=stamp.manual_id(event))])
        self.settle()
        return self.run(dag_id, run_id, event.airflow)

    def import_runs(
        self,
        *,
        database: str | None = None,
        api: str | None = None,
        airflow: str | None = None,
        repo: RegisteredRepository | None = None,
        since: datetime | None = None,
    ) -> Imported:
        """Stamp the runs that an Airflow had before, by its database or its API.

        ``repo``: where a run without a bundle version is taken to have run. Raises NoAirflowDatabase
        or ApiRefused; what was stored stays, and the next import goes on.
        """
        name = airflow or self._settings["airflow_name"]
        infer = None if repo is None else functools.partial(self._stood_at, repo)
        past = Past(name, repo.name if repo else None, infer)
        report = Imported()
        if database is None:
            source = AirflowApi(api or "", self._settings["airflow_token"])
            for batch in past.stamps(source.runs(since)):
                report = self._import(batch, report)
            return report
        with closing(AirflowDatabase(database)) as rows:
            for batch in past.stamps(rows.runs(since)):
                report = self._import(batch, report)
                began_with: dict[Any, list[tuple[str, str, str]]] = {}
                for run, event in batch:
                    if run.executed is not None:
                        key = (event.airflow, event.dag_id, event.run_id)
                        began_with.setdefault(run.executed, []).append(key)
                for version, keys in began_with.items():
                    body = rows.executed(version)
                    if body is not None:
                        kept = self._store.evidence.execute(keys, body)
                        report = report._replace(executed=report.executed + kept)
        return report

    def _import(self, batch: Sequence[tuple[PastRun, Stamp]], report: Imported) -> Imported:
        events = [event for _, event in batch]
        return report._replace(
            runs=report.runs + len(events),
            new=report.new + self._store.stamps.add(events),
            inferred=report.inferred + sum(e.source != "imported" for e in events),
            without=report.without + sum(e.commit is None for e in events),
        )

    def _stood_at(self, repo: RegisteredRepository, at: datetime) -> Resolved | None:
        """Where the default branch stood at a moment; None before it began."""
        branch = self.opened(repo).default_branch()
        try:
            return self.resolve(repo, f"{branch}@{{{at.astimezone(UTC).isoformat()}}}")
        except (git.BadRevision, git.ShallowHistory):
            return None

    # ── runs ──────────────────────────────────────────────────────────────────────────────

    def runs(
        self,
        dag_id: str | None = None,
        commit: str | None = None,
        airflow: str | None = None,
        repo: RegisteredRepository | None = None,
        *,
        limit: int | None = None,
        before: tuple[datetime, int] | None = None,
        tries: bool = True,
    ) -> list[RunStamp]:
        """Stamped runs, newest first; ``commit`` (full SHA): that they, or one of their tries, ran at.

        ``before``: (stamped_at, id) of the last run of the page before.
        """
        name = None if repo is None else repo.name
        return self._store.runs.newest(
            airflow=airflow, dag_id=dag_id, commit=commit, repo=name, limit=limit, before=before,
            tries=tries,
        )  # fmt: skip

    def run(self, dag_id: str, run_id: str, airflow: str | None = None) -> RunStamp:
        """The newest run of that id. Raises NoSuchRun, or AmbiguousRun where installations have one each."""
        found = self.generations(dag_id, run_id, airflow)
        names = sorted({run.airflow for run in found})
        if len(names) > 1:
            raise AmbiguousRun(
                f"{quoted(run_id)} of {shown(dag_id)} ran in several installations: {', '.join(names)}",
                hint=f"gitdags runs {shown(dag_id)} --airflow {names[0]}",
            )
        return found[0]

    def generations(
        self, dag_id: str | None, run_id: str, airflow: str | None = None
    ) -> list[RunStamp]:
        """All runs of that id, the newest made first in each installation. Raises NoSuchRun."""
        found = self._store.runs.find(dag_id, run_id, airflow)
        if found:
            return found
        of_dag = self._store.runs.newest(dag_id=dag_id, airflow=airflow, limit=500, tries=False)
        close = difflib.get_close_matches(run_id, [run.run_id for run in of_dag], 3)
        meant = f"; close: {', '.join(map(shown, close))}" if close else ""
        whose = f" of {shown(dag_id)}" if dag_id is not None else ""
        where = f" in {shown(airflow)}" if airflow is not None else ""
        raise NoSuchRun(
            f"no run {quoted(run_id)}{whose} was stamped{where}{meant}",
            hint=f"gitdags runs {shown(dag_id)}" if of_dag and dag_id else "gitdags runs",
            near=close,
        )

    def last_success(self, run: RunStamp) -> RunStamp | None:
        """The newest successful run of the same DAG and installation before a run."""
        return self._store.runs.last_success(run)

    def events(self, run: RunStamp) -> list[Stamp]:
        """Everything that was said of a run, in the order it arrived."""
        return self._store.stamps.events(run)

    def suspects(self, run: RunStamp, *, parse: bool = True) -> Suspicion:
        """What changed since the last successful run of the same DAG in the same installation.

        Parses what it needs of the commits in between, unless told not to. Raises NoAirflow where
        it cannot.
        """
        good = self.last_success(run)
        found = suspects.nothing(run, good)
        known = {repo.name: repo for repo in self.repositories()}
        repo = known.get(run.repo or "")
        if repo is None or found.commit is None or found.good_commit is None:
            return found
        opened = self.opened(repo)
        both = (found.commit, found.good_commit)
        missing = tuple(sha for sha in dict.fromkeys(both) if not self._has(repo, sha))
        if missing:
            return replace(found, missing=missing)
        investigation = suspects.Investigation(
            opened,
            run.dag_id,
            lambda sha: self._reads(repo, run.dag_id, sha),
            lambda commits: self._index(repo, commits) if parse else None,
            lambda old, new: self.find_comparison(repo, old, new, run.dag_id),
        )
        since, undone, commits = investigation.between(found.good_commit, found.commit)
        return replace(found, suspects=tuple(since), undone=tuple(undone), commits=commits)

    def _has(self, repo: RegisteredRepository, sha: str) -> bool:
        return git.is_sha(sha) and self.bring(repo, sha)

    def _reads(self, repo: RegisteredRepository, dag_id: str, sha: str) -> list[str]:
        shown_document = self.find_document(repo, dag_id, sha)
        if shown_document is None:
            return []
        return [path for path, _ in self._store.code(shown_document.row.code_hash)]

    def _index(self, repo: RegisteredRepository, commits: Sequence[Commit]) -> None:
        self.history(repo).index(list(dict.fromkeys(commits)))

    def executed(self, run: RunStamp) -> Executed | None:
        """The DAG of a run as Airflow executed it, where its database was imported; and the difference."""
        text = self._store.evidence.executed(run)
        if text is None:
            return None
        body = json.loads(text)
        own = None if run.dag_hash is None else self._store.airflow_document(run.dag_hash)
        if own is None:
            return Executed(body, None)
        return Executed(body, tuple(executed.differences(body, json.loads(own))))

    def rendered(self, run: RunStamp) -> dict[tuple[str, int, int], Json]:
        """(task_id, map_index, try_number) -> rendered template fields, where they were kept."""
        return self._store.evidence.rendered(run)

    def run_counts(self) -> dict[str, int]:
        """Runs, those in conflict, in doubt, and without a document yet."""
        return self._store.runs.counts()

    # ── helpers ───────────────────────────────────────────────────────────────────────────

    def _name_at(self, path: str) -> str | None:
        """The name of the repository registered at a path, its git directory or a folder in it."""
        try:
            wanted = git.discover(Path(path))
        except OSError:
            return None
        for repo in self.repositories():
            if wanted is not None and git.discover(Path(repo.path)) == wanted:
                return repo.name
        return None

    def _keep_named(self, commits: Collection[tuple[str | None, str]]) -> None:
        """Keep commits that were just stamped, in the repository named, else in whichever has them."""
        for repo in self.repositories() if commits else ():
            mine = {sha for name, sha in commits if name in (None, repo.name) and git.is_sha(sha)}
            if mine:
                self._keep(repo, mine)

    @staticmethod
    def _keep(repo: RegisteredRepository, commits: Collection[str]) -> None:
        """Keep commits alive; in a repository that we may only read that is its owner's to do.

        What git refuses is said and holds up nothing: runs have their documents all the same.
        """
        try:
            keep.keep(repo.path, commits)
        except GitFailed as error:
            if os.access(repo.path, os.W_OK):
                log.warning("%s: commits of runs are not kept alive: %s", repo.name, error.message)
