"""Commits a mirror lacks: from its remote by full id, else from the gitdags that serves the repository."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gitdags import keep, mirror
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.git import BadRevision
from gitdags.mirror import CannotFetch, Server
from gitdags.model import RegisteredRepository
from tests.conftest import Repo

GONE = "1" * 40


@pytest.fixture
def lost(repo: Repo) -> str:
    """A commit that its branch has left; the remote still has it."""
    repo.commit({"dags/a.py": "1"})
    sha = repo.commit({"dags/a.py": "2"})
    repo("reset", "-q", "--hard", "HEAD~")
    return sha


@pytest.fixture
def mirrored(catalog: Catalog, repo: Repo, lost: str) -> RegisteredRepository:
    return catalog.registry.add(f"file://{repo.path}", name="sales")


@contextmanager
def serving(repo: Path, token: str = "") -> Iterator[tuple[str, list[str]]]:
    """(address, paths asked for) of a server that hands out bundles as `gitdags serve` does."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            given = self.headers.get("Authorization", "")
            *_, name, kind, sha = self.path.split("/")
            there = keep._commits(repo, [sha]) and (name, kind) == ("sales", "bundle")
            if given != (f"Bearer {token}" if token else "") or not there:
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.writelines(keep.bundle(repo, [sha]))

        def log_message(self, *args: object) -> None:
            """Nothing to say."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", asked
        finally:
            server.shutdown()
            thread.join()


class TestFromTheRemote:
    def test_a_full_id_is_asked_for(
        self, catalog: Catalog, mirrored: RegisteredRepository, lost: str
    ) -> None:
        assert catalog.opened(mirrored).peel(lost) is None
        assert catalog.resolve(mirrored, lost.upper()).commit == lost
        assert catalog.source(mirrored, "dags/a.py", lost) == b"2"
        assert keep.kept(mirrored.path) == {lost}

    def test_not_where_anybody_asks(
        self, catalog: Catalog, mirrored: RegisteredRepository, lost: str
    ) -> None:
        catalog.asks_remotes = False
        with pytest.raises(BadRevision):
            catalog.resolve(mirrored, lost)

    def test_what_it_lacks_is_asked_for_once(
        self, catalog: Catalog, repo: Repo, mirrored: RegisteredRepository, lost: str
    ) -> None:
        repo.path.rename(repo.path.with_name("away"))
        with pytest.raises(BadRevision):
            catalog.resolve(mirrored, lost)
        repo.path.with_name("away").rename(repo.path)
        assert catalog.bring(mirrored, lost) is False  # not again so soon
        with Catalog(catalog._settings) as other:
            assert other.bring(mirrored, lost)

    def test_nothing_but_an_id(self, mirrored: RegisteredRepository) -> None:
        for text in ("--upload-pack=touch pwned", "main", "../../x", GONE[:39]):
            assert mirror.fetch_commit(Path(mirrored.path), text) is False


class TestFromTheServer:
    @pytest.fixture
    def elsewhere(
        self, repo: Repo, mirrored: RegisteredRepository, tmp_path: Path, lost: str
    ) -> Path:
        """Another host's mirror, which kept the commit; the remote has lost it."""
        other = tmp_path / "elsewhere.git"
        repo("clone", "-q", "--bare", str(repo.path), str(other))
        repo("-C", str(other), "fetch", "-q", str(repo.path), lost)
        keep.keep(other, [lost])
        repo("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
        repo("gc", "-q", "--prune=now")
        return other

    def test_after_the_remote(
        self, elsewhere: Path, mirrored: RegisteredRepository, settings: Settings, lost: str
    ) -> None:
        with serving(elsewhere, "secret") as (address, asked):
            given = {"home": str(settings.home), "server": address, "token": "secret"}
            with Catalog(Settings(given, {})) as catalog:
                assert catalog.source(mirrored, "dags/a.py", lost) == b"2"
        assert asked == [f"/api/v1/repos/sales/bundle/{lost}"]
        assert keep.kept(mirrored.path) == {lost}

    def test_that_has_it_neither(self, elsewhere: Path, mirrored: RegisteredRepository) -> None:
        with serving(elsewhere) as (address, asked):
            assert not mirror.fetch_commit(Path(mirrored.path), GONE, Server(address, "sales"))
            assert len(asked) == 1

    def test_that_sends_another_commit(
        self, elsewhere: Path, repo: Repo, mirrored: RegisteredRepository, lost: str
    ) -> None:
        other = repo("rev-parse", "main")

        class Liar(Server):
            def download(self, sha: str, file) -> bool:
                file.writelines(keep.bundle(elsewhere, [other]))
                file.flush()
                return True

        assert not mirror.fetch_commit(Path(mirrored.path), lost, Liar("http://x", "sales"))
        assert keep.kept(mirrored.path) == set()

    def test_that_is_away(self, elsewhere: Path, mirrored: RegisteredRepository, lost: str) -> None:
        server = Server("http://127.0.0.1:1", "sales")
        assert not mirror.fetch_commit(Path(mirrored.path), lost, server)

    def test_by_http_only(self, elsewhere: Path, mirrored: RegisteredRepository, lost: str) -> None:
        with pytest.raises(CannotFetch, match="no http"):
            mirror.fetch_commit(Path(mirrored.path), lost, Server("file:///etc", "sales"))


class TestFetchingIsDeploying:
    def test_what_moved_is_recorded_and_kept(
        self, catalog: Catalog, repo: Repo, mirrored: RegisteredRepository
    ) -> None:
        old = repo("rev-parse", "main")
        new = repo.commit({"dags/a.py": "3"})
        repo("tag", "-a", "v1", "-m", "v1")
        catalog.fetch(mirrored)
        found = {(d.ref, d.old, d.new, d.source) for d in catalog.deployments(mirrored)}
        assert found == {
            ("refs/heads/main", old, new, "fetch"), ("refs/tags/v1", None, new, "fetch"),
        }  # fmt: skip
        repo("reset", "-q", "--hard", old)
        catalog.fetch(mirrored)
        repo("-C", mirrored.path, "gc", "-q", "--prune=now")
        assert catalog.opened(mirrored).peel(new) == new

    def test_remote_branches_of_a_clone_are_not(
        self, catalog: Catalog, repo: Repo, lost: str, tmp_path: Path
    ) -> None:
        clone = tmp_path / "clone"
        repo("clone", "-q", str(repo.path), str(clone))
        registered = catalog.registry.add(str(clone))
        repo.commit({"dags/a.py": "3"})
        assert [ref for ref, _, _ in catalog.fetch(registered)] == [
            "refs/remotes/origin/HEAD", "refs/remotes/origin/main",
        ]  # fmt: skip
        assert catalog.deployments(registered) == []
