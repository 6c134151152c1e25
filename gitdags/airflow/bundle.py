"""GitDagsBundle: Airflow's DAG files at a commit, without a clone.

    [dag_processor]
    dag_bundle_config_list = [{"name": "sales", "classpath": "gitdags.airflow.bundle.GitDagsBundle",
        "kwargs": {"repo": "sales", "ref": "main", "subdir": "dags", "mount": "/mnt/dags"}}]

A version is a commit's full id. A bundle with a version has the path of that commit's tree; one without
has a path that never changes, a link in the bundle's storage that moves only in `refresh`. Airflow makes
both kinds in the same process, so that the version decides, never the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import (
    BaseDagBundle,
    BundleVersion,
    get_bundle_tracking_dir,
)

from gitdags import config
from gitdags.airflow import holders
from gitdags.airflow.supply import Mounted, Supply, Unavailable
from gitdags.errors import GitdagsError, quoted, shown
from gitdags.model import is_sha
from gitdags.spool import Spool

log = logging.getLogger("gitdags.bundle")


class BadBundle(Unavailable):
    """The bundle's entry in Airflow's configuration does not fit together."""


class GitDagsBundle(BaseDagBundle):
    """DAG files of a repository that gitdags knows.

    :param repo: the repository's name
    :param ref: branch, tag or other revision that Airflow follows
    :param subdir: folder of the DAG files in the repository
    :param mount: where `gitdags mount` has mounted, on every host; or
    :param export: folder for plain files, shared by all commits (True: below gitdags' data directory); or
    :param url: of a `gitdags serve` that hands out the files (its token in GITDAGS_TOKEN)
    :param web_url: of gitdags' pages, which Airflow links to; the setting ``web_url``, else ``url``
    """

    supports_versioning = True

    def __init__(
        self,
        *,
        repo: str,
        ref: str = "HEAD",
        subdir: str = "dags",
        mount: str | None = None,
        export: str | bool | None = None,
        url: str | None = None,
        web_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        ways = [bool(way) for way in (mount, export, url)]
        if sum(ways) != 1:
            raise BadBundle(
                f"bundle {self.name}: give one of mount, export and url",
                hint="airflow config get-value dag_processor dag_bundle_config_list",
            )
        parts = subdir.strip("/").split("/") if subdir.strip("/") else []
        if ".." in parts:
            raise BadBundle(f"bundle {self.name}: subdir {quoted(subdir)} leaves the repository")
        self.repo, self.ref, self.subdir = repo, ref, "/".join(parts)
        self._mount, self._export, self._url = mount, export, url
        self._web_url = web_url
        self._current: Path = self.base_dir / holders.CURRENT

    # ── what Airflow asks for ─────────────────────────────────────────────────────────────

    def initialize(self) -> None:
        """See to it that the files are there, or raise saying why they are not. Clones nothing."""
        with self._told():
            self._initialize()
        super().initialize()

    def _initialize(self) -> None:
        if self.version is None:
            if not self._moved_lately():
                self._move()
            else:
                self._have(self._standing() or "")
        else:
            if not is_sha(self.version):
                raise Unavailable(
                    f"bundle {self.name}: version {quoted(self.version)} is no commit's full id",
                    hint=f"git rev-parse {self.ref}",
                )
            self._have(self.version)
            self._hold(self.version)
        if self._supply.depot is not None:
            self._keep_bytecode_out()

    @property
    def path(self) -> Path:
        """Where the DAG files are: of the version, or of wherever `refresh` moved last."""
        if self.version is None:
            return self._current / self.subdir
        return self._supply.folder(self.version) / self.subdir

    def get_current_version(self) -> BundleVersion:
        """The commit of `path`."""
        commit = self.version or self._standing() or self._supply.latest(self.ref)[0]
        return BundleVersion(version=commit, data=None)

    def refresh(self) -> None:
        """Go along with the ref; a move is recorded as a deployment. Raises GitdagsError."""
        if self.version is not None:
            raise Unavailable(f"bundle {self.name} is pinned to {self.version} and never moves")
        with self._told():
            moved = self._move()
        if moved and self._supply.depot is not None:
            try:
                holders.clear(self._supply.depot)
            except GitdagsError as error:
                log.warning("bundle %s: %s", self.name, error.message)
        self._heal()

    def view_url_template(self) -> str | None:
        """gitdags' page of the version."""
        given: str | None = super().view_url_template()
        web_url = (self._web_url or self._settings["web_url"] or self._url or "").rstrip("/")
        if given is not None or not web_url:
            return given
        return f"{web_url}/{self.repo}?at={{version}}"

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Airflow logs an exception's text: give it the bundle's name, and the hint."""
        try:
            yield
        except Unavailable:
            raise
        except GitdagsError as error:
            raise Unavailable(f"bundle {self.name}: {error.message}", error.hint) from None

    def _have(self, commit: str) -> None:
        """See to it that a commit's DAG files are there. Raises GitdagsError."""
        self._supply.ready(commit)
        if not (self._supply.folder(commit) / self.subdir).is_dir():
            raise Unavailable(
                f"bundle {self.name}: commit {commit} of {self.repo} has no folder "
                f"{quoted(self.subdir)}",
                hint=f"git ls-tree {commit}",
            )

    # ── the stable path ───────────────────────────────────────────────────────────────────

    def _move(self) -> bool:
        """Lead the link to the ref's commit; whether that is another than before."""
        commit, full_name = self._supply.latest(self.ref)
        self._have(commit)
        target, old = self._supply.folder(commit), self._standing()
        try:
            self.base_dir.mkdir(parents=True, exist_ok=True)
            if old != commit or os.readlink(self._current) != str(target):
                aside = self.base_dir / f".{holders.CURRENT}.{os.getpid()}"
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(aside)
                os.symlink(target, aside)
                os.replace(aside, self._current)
            else:
                os.utime(self._current, follow_symlinks=False)
        except OSError as error:
            raise Unavailable(
                f"bundle {self.name}: cannot write {error.filename}: {error.strerror}",
                hint=f"ls -ld {self.base_dir}",
            ) from None
        if self._supply.depot is not None:
            holders.remember(self._supply.depot, self.base_dir)
        if old == commit:
            return False
        log.info("bundle %s: %s moved from %s to %s", self.name, self.ref, old, commit)
        # An expression such as main~1 is nothing that moves; a gitdags that takes stamps over HTTP
        # takes no moves, which it sees for itself.
        if full_name is not None and not self._settings["stamps_url"]:
            self._record(full_name, old, commit)
        return True

    def _standing(self) -> str | None:
        """The commit that the link leads to."""
        try:
            commit = os.readlink(self._current).rpartition("/")[2]
        except OSError:
            return None
        return commit if is_sha(commit) else None

    def _moved_lately(self) -> bool:
        """Whether some process here still refreshes the link.

        Where a DAG processor runs, a task whose run is not pinned must not move it under its feet; on
        a host with workers alone nobody else does.
        """
        try:
            age = time.time() - os.lstat(self._current).st_mtime
        except OSError:
            return False
        return bool(abs(age) < 2 * self.refresh_interval)

    def _record(self, ref: str, old: str | None, new: str) -> None:
        name = self._settings["airflow_name"]
        try:
            Spool(self._settings.spool).append(
                {
                    "kind": "move", "repo": self.repo, "ref": ref, "old": old, "new": new,
                    "by": f"{name}/{self.name} on {socket.gethostname()}", "source": "airflow",
                }
            )  # fmt: skip
        except OSError as error:
            log.error(
                "bundle %s: the move to %s is not recorded: %s: %s",
                self.name, new, shown(str(error.filename)), error.strerror,
            )  # fmt: skip

    # ── what Airflow's cleanup expects ────────────────────────────────────────────────────

    def _hold(self, commit: str) -> None:
        """An empty folder that stands for the version: Airflow's cleanup removes it, or fails."""
        try:
            (self.versions_dir / commit).mkdir(parents=True, exist_ok=True)
            if self._supply.depot is not None:
                holders.remember(self._supply.depot, self.base_dir)
        except OSError as error:  # another user's task (`run_as_user`) cannot, and need not
            log.debug("bundle %s: %s: %s", self.name, error.filename, error.strerror)

    def _heal(self) -> None:
        """Give every version that Airflow tracks its folder again.

        A task may begin between the removal of the folder and its own tracking file; the next cleanup
        would find no folder, raise, and never get past it.
        """
        with contextlib.suppress(OSError):
            for version in os.listdir(get_bundle_tracking_dir(self.name)):
                if is_sha(version):
                    self._hold(version)

    def _keep_bytecode_out(self) -> None:
        """Folders of a depot are closed to writing, which root does not notice."""
        if sys.pycache_prefix is None and os.access(self.path, os.W_OK):
            sys.dont_write_bytecode = True

    # ── settings ──────────────────────────────────────────────────────────────────────────

    @cached_property
    def _settings(self) -> config.Settings:
        return config.load()

    @cached_property
    def _supply(self) -> Supply:
        if self._mount is not None:
            return Mounted(Path(self._mount), self.repo)
        from gitdags.airflow import stocked  # Git, for which a mount has no need

        if self._url is not None:
            return stocked.downloaded(self.base_dir / "depot", self.repo, self._url, self._settings)
        folder = self._settings.home / "depot" if self._export is True else Path(str(self._export))
        return stocked.exported(folder.absolute(), self.repo, self._settings)
