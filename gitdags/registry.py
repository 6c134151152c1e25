"""The repositories gitdags knows by name: registering, finding the one that is meant, fetching."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from gitdags import git, mirror
from gitdags.errors import GitdagsError, UsageError, quoted, shown
from gitdags.model import RegisteredRepository
from gitdags.serialize.environment import read_env_file
from gitdags.store import Store

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
# Names that are the first part of a URL of the web pages.
RESERVED = frozenset(
    ["api", "docs", "static", "find", "metrics", "healthz", "readyz", "openapi.json"]
)


class UnknownRepository(GitdagsError):
    """No repository is registered by that name, or none can be told from the others."""

    http_status = 404


class Registry:
    """Registered repositories, kept in the store; mirrors below ``home``."""

    def __init__(self, store: Store, home: Path) -> None:
        self._store, self._home = store, home

    def all(self) -> list[RegisteredRepository]:
        """Every registered repository, by name."""
        return self._store.repositories()

    def find(self, name: str | None, start: Path | None = None) -> RegisteredRepository:
        """The repository of that name; else the one that ``start`` lies in; else the only one.

        Raises UnknownRepository.
        """
        known = self.all()
        if name is not None:
            for repository in known:
                if repository.name == name:
                    return repository
            raise UnknownRepository(
                f"no repository is registered as {quoted(name)}", hint="gitdags repos"
            )
        if start is not None:
            here = git.discover(start)
            for repository in known:
                if here is not None and git.discover(Path(repository.path)) == here:
                    return repository
        if len(known) == 1:
            return known[0]
        if not known:
            raise UnknownRepository("no repository is registered yet", hint="gitdags init .")
        names = ", ".join(r.name for r in known)
        raise UnknownRepository(
            f"several repositories are registered: {names}", hint=f"gitdags -r {known[0].name} ls"
        )

    def add(
        self,
        where: str,
        *,
        name: str | None = None,
        dags_folder: str | None = None,
        env_file: str | None = None,
        pull_requests: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> RegisteredRepository:
        """Register a path, or mirror and register a URL; again: change what is given, fetch.

        Raises NoSuchRepository, EmptyRepository, UnsupportedRepository, CannotFetch, UsageError.
        """
        url = where if mirror.is_url(where) else None
        if url is not None:
            mirror.check_url(url)
        name = name or _name_of(where)
        if not NAME.fullmatch(name) or name in RESERVED:
            raise UsageError(
                f"{quoted(name)} cannot be a repository's name: a-z, 0-9, '.', '_', '-' "
                f"and none of {', '.join(sorted(RESERVED))}",
                hint=f"gitdags init {shown(where)} --name dags",
            )
        if pull_requests and url is None:
            spec = "+refs/pull/*/head:refs/remotes/origin/pull/*"
            raise UsageError(
                "--pull-requests is for mirrors; a repository of your own fetches what it says itself",
                hint=f"git -C {shlex.quote(where)} config --add remote.origin.fetch '{spec}'",
            )
        if env_file is not None:
            read_env_file(Path(env_file))
            env_file = str(Path(env_file).absolute())
        known = {r.name: r for r in self.all()}
        before = known.get(name)
        if url is None:
            path = _repository_path(where)
        else:
            path = self._home / "mirrors" / f"{name}.git"
        if before is not None and (before.url, before.path) != (url, str(path)):
            raise UsageError(
                f"{name!r} is already the name of {before.url or before.path}",
                hint=f"gitdags init {shown(where)} --name {name}-2",
            )
        pull_requests = pull_requests or (before is not None and before.pull_requests)
        if url is not None:
            if path.exists():
                mirror.fetch(path, pull_requests=pull_requests, progress=progress)
            else:
                mirror.clone(url, path, pull_requests=pull_requests, progress=progress)
        git.Repository(path).require_commits()
        given = RegisteredRepository(
            name, str(path), url, dags_folder, env_file, pull_requests=pull_requests
        )
        if before is not None:
            given = dataclasses.replace(
                given,
                dags_folder=dags_folder if dags_folder is not None else before.dags_folder,
                env_file=env_file or before.env_file,
            )
        return self._store.register(given)

    def fetch(
        self, repository: RegisteredRepository, progress: Callable[[str], None] | None = None
    ) -> list[tuple[str, str | None, str | None]]:
        """Fetch; (full ref name, old, new) of every ref that moved. Raises CannotFetch."""
        before = {ref.name: ref.commit for ref in git.Repository(repository.path).refs()}
        if repository.url is not None:
            mirror.fetch(
                Path(repository.path), pull_requests=repository.pull_requests, progress=progress
            )
        else:
            mirror.fetch_working(Path(repository.path))
        after = {ref.name: ref.commit for ref in git.Repository(repository.path).refs()}
        return [
            (name, before.get(name), after.get(name))
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]


def _name_of(where: str) -> str:
    """A name made of the last part of a path or URL."""
    last = where.rstrip("/") if mirror.is_url(where) else str(Path(where).absolute())
    last = re.split(r"[/:]", last)[-1].removesuffix(".git").lower()
    if last == "" and not mirror.is_url(where):
        last = Path(where).absolute().parent.name
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("-._")[:63] or "dags"


def _repository_path(where: str) -> Path:
    """The top of the working clone, or the bare repository, that a path lies in."""
    path = Path(where).absolute()
    try:
        found = git.discover(path) if path.is_dir() else None
    except OSError:
        found = None
    if found is None:
        git.Repository(path)  # raises, saying why
        return path
    repo = git.Repository(found)
    return repo.work_tree or repo.git_dir
