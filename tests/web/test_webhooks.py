"""Webhooks, sent over real HTTP as each sender sends them: signatures, replays, then a real fetch."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.web.webhooks import meant
from tests.conftest import Repo, dag
from tests.web.conftest import Server

SECRET = b"s3cret"


class Origin:
    """A remote, its mirror here, and a server that knows the secret."""

    def __init__(self, folder: Path, python: str) -> None:
        self.repo = Repo(folder / "origin")
        self.first = self.repo.commit({"dags/a.py": dag("one")})
        (folder / "secret").write_bytes(SECRET + b"\n")
        flags = {"home": str(folder / "home"), "webhook_secret_file": str(folder / "secret"),
                 "python": python, "jobs": "1"}  # fmt: skip
        self.settings = Settings(flags, {}, None, None)
        self.url = f"file://{self.repo.path}"
        with Catalog(self.settings) as catalog:
            catalog.registry.add(self.url, name="mirror")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, airflow_python: str) -> Origin:
    return Origin(tmp_path_factory.mktemp("hooks"), airflow_python)


@pytest.fixture(scope="module")
def server(origin: Origin) -> Iterator[Server]:
    with Server(origin.settings) as running:
        yield running


def signed(sender: str, body: bytes, secret: bytes = SECRET, delivery: str = "1") -> dict[str, str]:
    digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
    if sender == "github":
        return {"x-hub-signature-256": f"sha256={digest}", "x-github-delivery": delivery}
    if sender == "gitea":
        return {"x-gitea-signature": digest, "x-gitea-delivery": delivery}
    return {"x-gitlab-token": secret.decode(), "x-gitlab-event-uuid": delivery}


def standard(body: bytes, at: int, secret: bytes = SECRET, delivery: str = "9") -> dict[str, str]:
    mac = hmac.new(secret, f"{delivery}.{at}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": delivery, "webhook-timestamp": str(at),
            "webhook-signature": "v1," + base64.b64encode(mac).decode()}  # fmt: skip


def payload(origin: Origin, **more: object) -> bytes:
    return json.dumps(
        {"repository": {"clone_url": origin.url}, "n": time.time_ns(), **more}
    ).encode()


def post(
    server: Server, sender: str, body: bytes, headers: dict[str, str], path: str = "/api/v1"
) -> int:
    return server.http.post(f"{path}/hooks/{sender}", content=body, headers=headers).status_code


def wait_for_fetch(server: Server) -> None:
    """Until the fetcher has done what it was asked so far."""
    done = server.site.fetcher.idle(60)
    assert done


@pytest.mark.parametrize("sender", ["github", "gitlab", "gitea"])
class TestEachSender:
    def test_a_wrong_signature(self, server: Server, origin: Origin, sender: str) -> None:
        body = payload(origin)
        refused = server.site.refused_hooks
        assert post(server, sender, body, signed(sender, body, b"other")) == 401
        assert post(server, sender, body, {}) == 401
        if sender != "gitlab":
            assert post(server, sender, body + b" ", signed(sender, body)) == 401
        assert server.site.refused_hooks >= refused + 2

    def test_taken_in_once(self, server: Server, origin: Origin, sender: str) -> None:
        body = payload(origin)
        headers = signed(sender, body, delivery=f"once {sender}")
        assert post(server, sender, body, headers) == 202
        assert post(server, sender, body, headers) == 409
        assert post(server, sender, body, signed(sender, body, delivery=f"another {sender}")) == 409

    def test_what_is_no_hook(self, server: Server, origin: Origin, sender: str) -> None:
        body = payload(origin)
        nameless = {
            k: v for k, v in signed(sender, body).items() if "delivery" not in k and "uuid" not in k
        }
        assert post(server, sender, body, nameless) == 422
        for bad in (b"payload=%7B%7D", b"[]", b"\xff"):
            assert post(server, sender, bad, signed(sender, bad)) == 422
        elsewhere = json.dumps({"repository": {"clone_url": "https://example.org/x.git"}}).encode()
        assert post(server, sender, elsewhere, signed(sender, elsewhere)) == 404


def test_too_long(server: Server) -> None:
    body = b" " * ((1 << 20) + 1)
    assert post(server, "github", body, signed("github", body)) == 413


def test_an_unknown_sender(server: Server) -> None:
    assert post(server, "sourceforge", b"{}", {}) == 422


def test_signed_with_a_time(server: Server, origin: Origin) -> None:
    now = int(time.time())
    body = payload(origin)
    assert post(server, "gitlab", body, standard(body, now - 600)) == 401
    assert post(server, "gitlab", body, standard(body, now, b"other")) == 401
    assert post(server, "gitlab", body, standard(body, now) | {"webhook-timestamp": "x"}) == 422
    assert post(server, "gitlab", body, standard(body, now)) == 202


def test_then_it_fetches_records_and_indexes(server: Server, origin: Origin) -> None:
    wait_for_fetch(server)
    sha = origin.repo.commit({"dags/b.py": dag("two")}, "another")
    body = payload(origin, pusher={"name": "ada"})
    assert (
        post(
            server, "github", body, signed("github", body, delivery="push"), "/api/v1/repos/mirror"
        )
        == 202
    )
    wait_for_fetch(server)
    moved = server.json("/api/v1/repos/mirror/deploys")[0]
    assert (moved["new"], moved["by"], moved["source"]) == (sha, "ada", "webhook")
    indexer = server.site.indexer
    thread = indexer._thread
    indexer.close()
    thread.join(60)
    found = server.json("/api/v1/repos/mirror/dags", params={"at": sha})
    assert [d["dag_id"] for d in found["dags"]] == ["one", "two"]
    assert "gitdags_webhooks_refused_total" in server.http.get("/metrics").text


def test_without_a_secret_nothing_is_taken_in(tmp_path: Path) -> None:
    with Server(Settings({"home": str(tmp_path)}, {}, None, None)) as server:
        assert post(server, "github", b"{}", signed("github", b"{}", b"")) == 403


@pytest.mark.parametrize(
    "told",
    [
        {"repository": {"ssh_url": "git@Example.org:team/dags.git"}}, {"repository": {"html_url": "https://example.org/team/dags"}},
        {"project": {"git_http_url": "https://user@example.org:8443/team/dags.git"}},
    ],
)  # fmt: skip
def test_a_repository_by_any_of_its_addresses(told: object) -> None:
    from gitdags.model import RegisteredRepository

    known = [RegisteredRepository("x", "/x", "https://example.org/team/other.git"),
             RegisteredRepository("y", "/y", "ssh://git@example.org/team/dags.git")]  # fmt: skip
    assert meant(told, known).name == "y"
