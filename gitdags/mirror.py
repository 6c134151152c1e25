"""Mirrors of remote repositories: clone, fetch. The only importer of GitPython.

A mirror is bare and holds the remote's branches and tags under their own names. Its refspec names
branches only, so that refs of gitdags' own survive a pruning fetch.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from gitdags import keep
from gitdags.errors import GitdagsError, shown
from gitdags.git import is_sha

_SCHEMES = ("https", "ssh", "file")
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://\S+")
_SCP_LIKE = re.compile(r"[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:[^-\s]\S*")
_PATIENCE = 30.0  # seconds without a byte from a server
_BRANCHES = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_PULL_REQUESTS = (
    "+refs/pull/*/head:refs/pull/*/head",  # GitHub, Gitea
    "+refs/merge-requests/*/head:refs/merge-requests/*/head",  # GitLab
)
# Old histories have these; gitdags reads trees itself and drops hostile names.
_FORGIVEN = ("zeroPaddedFilemode", "missingSpaceBeforeDate", "badTimezone", "missingEmail",
             "missingNameBeforeEmail", "missingSpaceBeforeEmail")  # fmt: skip


class CannotFetch(GitdagsError):
    """A remote cannot be cloned or fetched from."""

    http_status = 502


def is_url(text: str) -> bool:
    """Whether `init` was given the address of a remote rather than a path."""
    return _URL.fullmatch(text) is not None or (
        _SCP_LIKE.fullmatch(text) is not None and not Path(text).exists()
    )


def clone(
    url: str, folder: Path, *, pull_requests: bool, progress: Callable[[str], None] | None = None
) -> None:
    """Mirror a remote into ``folder``, which must not exist; all of it or nothing.

    Raises CannotFetch.
    """
    check_url(url)
    with _made(folder, url) as repo:
        _fetch(repo, pull_requests, progress)
        _point_head(repo)


def create(folder: Path, url: str | None, fill: Callable[[Path], None]) -> None:
    """A mirror of a remote, or of nothing, that ``fill`` puts objects and refs into; all or nothing."""
    if url is not None:
        check_url(url)
    with _made(folder, url) as repo:
        fill(Path(repo.git_dir))


@contextlib.contextmanager
def _made(folder: Path, url: str | None) -> Iterator[Any]:
    """An empty mirror, which is moved to its place when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    import git as gitpython  # half of what a command that fetches nothing would import

    try:
        repo = gitpython.Repo.init(aside / "mirror", bare=True, initial_branch="main")
        with repo.config_writer() as config:
            if url is not None:
                config.set_value('remote "origin"', "url", url)
            config.set_value("core", "hooksPath", os.devnull)  # of a template, if there is one
            config.set_value("transfer", "fsckObjects", "true")
            for name in _FORGIVEN:
                config.set_value('fetch "fsck"', name, "ignore")
        yield repo
        repo.close()
        os.replace(aside / "mirror", folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def fetch(
    folder: Path, *, pull_requests: bool, progress: Callable[[str], None] | None = None
) -> None:
    """Bring a mirror up to date; branches that are gone at the remote go here. Raises CannotFetch."""
    import git as gitpython

    repo = gitpython.Repo(folder)
    _fetch(repo, pull_requests, progress)
    _point_head(repo)
    repo.close()


def fetch_commit(folder: Path, sha: str, server: Server | None = None) -> bool:
    """Get one commit that a mirror lacks, by its full id, and keep it; whether it is there now.

    First from origin, which may still have what no ref of it reaches; then from the gitdags that serves
    the repository. What either sends is checked by git: its objects, and that nothing is missing.
    """
    import git as gitpython

    if not is_sha(sha):
        return False
    repo = gitpython.Repo(folder)
    spec = f"+{sha}:{keep.KEEP}{sha}"
    try:
        if repo.remotes:
            with contextlib.suppress(CannotFetch):
                _run(repo, "fetch", "--no-tags", "--quiet", "origin", spec)
                return True
        if server is not None:
            with tempfile.NamedTemporaryFile(prefix="gitdags-", suffix=".bundle") as file:
                if server.download(sha, file):
                    with contextlib.suppress(CannotFetch):
                        spec = f"+{keep.KEEP}{sha}:{keep.KEEP}{sha}"
                        _run(repo, "fetch", "--no-tags", "--quiet", file.name, spec)
                        return True
    finally:
        repo.close()
    return False


@dataclass(frozen=True, slots=True)
class Server:
    """A gitdags that serves a repository: where, by which name, with which token (may be empty)."""

    url: str
    repository: str
    token: str = ""

    def download(self, sha: str, file: IO[bytes]) -> bool:
        """Write the bundle of a commit to a file; False where the server has none, or is away."""
        address = f"{self.url.rstrip('/')}/api/v1/repos/{quote(self.repository)}/bundle/{sha}"
        if not address.startswith(("https://", "http://")):
            raise CannotFetch(
                f"server: {shown(self.url)} is no http or https address", hint="gitdags config"
            )
        request = urllib.request.Request(address)  # noqa: S310 - its scheme was looked at
        if self.token:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - as above
                shutil.copyfileobj(answer, file, 1 << 20)
        except (OSError, http.client.HTTPException):
            return False
        file.flush()
        return True


def fetch_working(folder: Path) -> None:
    """``git fetch --all`` in a repository of the user's own. Raises CannotFetch."""
    import git as gitpython

    repo = gitpython.Repo(folder, search_parent_directories=True)
    _run(repo, "fetch", "--all", "--quiet")
    repo.close()


def check_url(url: str) -> None:
    """Raises CannotFetch for a transport that could run a program or be taken for an option."""
    found = _URL.fullmatch(url)
    if url.startswith("-") or (found and found["scheme"] not in _SCHEMES):
        raise CannotFetch(
            f"{shown(url)} is not fetched from: only {', '.join(_SCHEMES)} are",
            hint="gitdags init https://example.org/dags.git",
        )


def _fetch(repo: Any, pull_requests: bool, progress: Callable[[str], None] | None) -> None:
    specs = _BRANCHES + (_PULL_REQUESTS if pull_requests else ())
    if progress is not None:
        progress(f"fetching {shown(repo.remotes.origin.url)}")
    _run(repo, "fetch", "--prune", "--no-tags", "--force", "--quiet", "origin", *specs)


def _point_head(repo: Any) -> None:
    """Make HEAD the branch that is HEAD at the remote, so that the mirror's default is its own."""
    answer = _run(repo, "ls-remote", "--symref", "origin", "HEAD")
    for line in answer.splitlines():
        if line.startswith("ref: refs/heads/"):
            repo.git.symbolic_ref("HEAD", line.split()[1])


def _run(repo: Any, *words: str) -> str:
    """Run git. Nothing a user typed is among the words but the URL, which is in the config."""
    from git.exc import CommandError, GitCommandNotFound

    try:
        with repo.git.custom_environment(**_environment()):
            return str(getattr(repo.git, words[0].replace("-", "_"))(*words[1:]))
    except GitCommandNotFound:
        raise CannotFetch("there is no git program", hint="apt-get install git") from None
    except CommandError as error:
        text = str(error.stderr or error).replace("stderr:", "").strip().strip("'")
        lines = [ln.strip() for ln in text.splitlines() if ln.strip()]
        fatal = next((ln for ln in lines if "fatal" in ln or "error" in ln), lines[-1:] or ["?"])
        reason = fatal if isinstance(fatal, str) else fatal[0]
        raise CannotFetch(
            f"git {words[0]}: {shown(reason, 200)}",
            hint=f"git ls-remote {shown(_url_of(repo))}",
        ) from None


def _url_of(repo: Any) -> str:
    return str(repo.remotes.origin.url) if repo.remotes else str(repo.git_dir)


def _environment() -> dict[str, str]:
    return {
        "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES),
        "GIT_TERMINAL_PROMPT": "0",  # a question nobody is there to answer would hang
    }
