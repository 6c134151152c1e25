"""Who may: tokens, proxies, rules per repository, other hosts; on pages, API, search and compare alike."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitdags.config import Settings
from gitdags.store import Store
from gitdags.web.access import Access, BadRule, is_loopback, parse_rules
from tests.web.conftest import Server, World

PLACES = ["/", "/sales", "/sales/dags/etl", "/sales/source/dags", "/sales/compare?from=main~1", "/find?q=etl",
          "/docs", "/metrics", "/api/v1/repos", "/api/v1/repos/sales/refs",
          "/api/v1/repos/sales/compare?from=main~1",
          "/api/v1/repos/sales/source/dags/etl.py?at=main~1"]  # fmt: skip
LOCAL = ipaddress.ip_network("127.0.0.1")


@pytest.fixture(scope="module")
def tokens(world: World) -> dict[str, str]:
    store = Store(world.settings.database)
    found = {scope: store.tokens.create(scope, scope)[1] for scope in ("read", "stamp", "admin")}
    found["other"] = store.tokens.create("other", "read", "elsewhere")[1]
    store.close()
    return found


@pytest.fixture(scope="module")
def open_server(world: World) -> Iterator[Server]:
    """As on an address that others reach."""
    with Server(world.settings, Access(local=False)) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", PLACES)
def test_elsewhere_a_token_is_wanted(
    open_server: Server, tokens: dict[str, str], path: str
) -> None:
    http = open_server.http
    refused = http.get(path)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert http.get(path, headers=bearer("gitdags_0_x")).status_code == 401
    assert http.get(path, headers=bearer(tokens["read"])).status_code == 200
    basic = base64.b64encode(f"anybody:{tokens['read']}".encode()).decode()
    assert http.get(path, headers={"authorization": f"Basic {basic}"}).status_code == 200
    assert http.get(path, headers=bearer(tokens["stamp"])).status_code == 403


def test_a_token_of_another_repository(open_server: Server, tokens: dict[str, str]) -> None:
    headers = bearer(tokens["other"])
    assert open_server.http.get("/api/v1/repos", headers=headers).json() == []
    unknown = open_server.http.get("/sales", headers=headers)
    assert unknown.status_code == 404
    assert "Did you mean" not in unknown.text
    assert "etl" not in open_server.http.get("/find?q=et", headers=headers).text.partition("<main")[
        2
    ].replace("et”", "")


def test_health_is_for_everybody(open_server: Server) -> None:
    assert open_server.http.get("/healthz").status_code == 200
    assert open_server.http.get("/readyz").status_code == 200


def test_nobody_unknown_starts_a_parse(world: World) -> None:
    repo = world.repo
    tree = repo("rev-parse", "main^{tree}")
    sha = repo("commit-tree", tree, "-m", "never indexed")
    with Server(world.settings, Access(local=False, free=True)) as server:
        page = server.http.get("/sales", params={"at": sha})
        assert page.status_code == 404
        assert "see the files" in page.text
        api = server.http.get("/api/v1/repos/sales/dags", params={"at": sha})
        assert (api.status_code, api.headers["cache-control"]) == (404, "no-store")
        assert server.site.indexer.state("sales", sha) is None
        assert server.http.get("/sales").status_code == 200
    with Server(world.settings) as server:
        cross = {"sec-fetch-site": "cross-site"}
        assert server.http.get("/sales", params={"at": sha}, headers=cross).status_code == 404
        assert server.site.indexer.state("sales", sha) is None


@pytest.fixture(scope="module")
def behind(world: World) -> Iterator[Server]:
    """Behind a proxy on this machine."""
    rules = parse_rules("sales=ada @finance")
    with Server(world.settings, Access(local=False, proxies=(LOCAL,), rules=rules)) as running:
        yield running


class TestProxy:
    @pytest.mark.parametrize("path", PLACES[1:6] + PLACES[9:])
    def test_rules_hold_everywhere(self, behind: Server, path: str) -> None:
        told = [
            behind.http.get(path, headers={"x-forwarded-user": user, "x-forwarded-groups": groups})
            for user, groups in (("ada", ""), ("bob", "finance, x"), ("bob", "x"))
        ]
        shows = [
            a.status_code == 200 and ("find" not in path or "/sales/dags/etl" in a.text)
            for a in told
        ]
        assert shows == [True, True, False]

    def test_nobody(self, behind: Server) -> None:
        assert behind.http.get("/sales").status_code == 401

    def test_a_header_of_another_address_is_not_believed(self, world: World) -> None:
        far = (ipaddress.ip_network("10.0.0.0/8"),)
        with Server(world.settings, Access(local=False, proxies=far)) as server:
            assert server.http.get("/sales", headers={"x-forwarded-user": "ada"}).status_code == 401


class TestHosts:
    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:1", "127.0.0.1:80", "[::1]:80", "a.localhost"]
    )
    def test_ours(self, server: Server, host: str) -> None:
        assert server.http.get("/sales", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host", ["example.org", "127.0.0.1.example.org", "169.254.169.254", "[::2]"]
    )
    def test_others(self, server: Server, host: str) -> None:
        assert server.http.get("/sales", headers={"host": host}).status_code == 421

    def test_named(self, world: World) -> None:
        with Server(world.settings, Access(hosts=frozenset({"dags.example.org"}))) as server:
            assert server.http.get("/", headers={"host": "DAGS.example.org"}).status_code == 200


RECORD = {"kind": "stamp", "airflow": "default", "dag_id": "etl", "run_id": "posted", "state": "running",
          "source": "worker", "repo": "sales", "commit": "x"}  # fmt: skip


class TestStamps:
    def post(self, server: Server, body: object, token: str | None) -> int:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = bearer(token) if token else {}
        return server.http.post("/api/v1/stamps", content=data, headers=headers).status_code

    def test_they_are_on_the_disk_when_answered(
        self, server: Server, tokens: dict[str, str]
    ) -> None:
        before = server.site.spool.waiting()[0]
        assert self.post(server, [RECORD, RECORD], tokens["stamp"]) == 202
        assert self.post(server, RECORD, tokens["admin"]) == 202
        taken = list(server.site.spool.take())
        assert [r["run_id"] for t in taken for r in t.records] == ["posted"] * 3
        assert server.site.spool.waiting()[0] > before
        for one in taken:
            server.site.spool.done(one)

    @pytest.mark.parametrize(
        ("body", "who", "status"),
        [
            (RECORD, None, 401), (RECORD, "read", 403), (b"{", "stamp", 422), ([1], "stamp", 422),
            ({}, "stamp", 422),
            (RECORD | {"kind": "move"}, "stamp", 422), (RECORD | {"v": 99}, "stamp", 422),
            (RECORD | {"id": "x\ny"}, "stamp", 422), ([RECORD] * 1001, "stamp", 413),
            (b"[" + b" " * (1 << 20) + b"]", "stamp", 413), (RECORD | {"dag_id": "x" * 4001}, "stamp", 422),
        ],
    )  # fmt: skip
    def test_what_is_refused(
        self, server: Server, tokens: dict[str, str], body: object, who: str | None, status: int
    ) -> None:
        before = server.site.spool.waiting()
        assert self.post(server, body, tokens[who] if who else None) == status
        assert server.site.spool.waiting() == before

    def test_a_token_for_one_repository(self, server: Server, world: World) -> None:
        store = Store(world.settings.database)
        _, token = store.tokens.create("one", "stamp", "other")
        store.close()
        assert self.post(server, RECORD, token) == 403


class TestServe:
    def serve(self, world: World, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gitdags.cli.main", "serve", "--port", "0", *words],
            capture_output=True,
            text=True,
            timeout=60,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(world.home),
                "GITDAGS_HOME": str(world.home / "fresh"),
            },
        )

    def test_it_does_not_open_to_all_by_mistake(self, world: World) -> None:
        done = self.serve(world, "--host", "0.0.0.0")
        assert done.returncode == 2
        assert "hint: gitdags token create" in done.stderr

    def test_an_address_that_is_not_ours(self, world: World) -> None:
        done = self.serve(world, "--host", "192.0.2.1", "--no-auth")
        assert done.returncode == 3
        assert "cannot listen" in done.stderr


def test_rules() -> None:
    assert parse_rules("sales=ada @finance, *=*") == {"sales": {"ada", "@finance"}, "*": {"*"}}
    assert parse_rules("") == {}
    with pytest.raises(BadRule):
        parse_rules("sales")


def test_loopback() -> None:
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org", "::")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_settings_are_understood(tmp_path: Path) -> None:
    flags = {"home": str(tmp_path), "web_proxies": "127.0.0.1, 10.0.0.0/8", "web_readers": "*=ada"}
    access = Access.of(Settings(flags, {}), local=False)
    assert access.is_proxy("10.1.2.3")
    assert not access.is_proxy("11.1.2.3")
    assert not access.is_proxy("unix")
