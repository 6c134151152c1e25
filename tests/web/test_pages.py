"""Every page: it answers, it binds the browser, and what a repository says appears as text."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from gitdags.catalog import Catalog
from tests.web.conftest import SCRIPT, Server, World

PAGES = [
    "/", "/sales", "/sales?q=etl", "/sales?tag=x&owner=airflow&sort=changed", "/sales/dags/etl",
    "/sales/dags/hostile", "/sales/dags/hostile?task=a", "/sales/dags/hostile?task=nix&down=1",
    "/sales/dags/hostile?fold=inner", "/sales/dags/hostile?fold=*", "/sales/dags/hostile?only=inner.b&way=up",
    "/sales/dags/etl/code", "/sales/dags/etl/code?file=dags/helper.py", "/sales/dags/etl/code?blame=1",
    "/sales/dags/etl/history", "/sales/dags/etl/runs", "/sales/dags/etl/runs?here=1",
    "/sales/dags/etl/document",
    "/sales/source/", "/sales/source/notes", "/sales/source/notes/latin.txt",
    "/sales/source/notes/binary.bin",
    "/sales/source/notes/empty.txt", "/sales/source/dags/jobs/etl.py?blame=1", "/sales/compare",
    "/sales/compare?from=refs/tags/v1&to=main", "/sales/compare?from=refs/tags/v1&to=main&dag=etl",
    "/sales/compare?from=refs/tags/v1&to=main&dag=etl&view=unified&changed=1",
    "/sales/compare?from=refs/tags/v1&to=main&dag=late", "/sales/compare?from=refs/tags/v1&to=main&dag=other",
    "/sales/compare?from=main&to=main~1", "/sales/commits", "/sales/commits?dag=etl", "/sales/deploys",
    "/sales/runs", "/sales/runs/etl/scheduled__2", "/find", "/find?q=et", "/docs", "/sales?at=main~1",
    "/sales/dags/etl?at=main~1", "/sales/dags/etl/history?at=main~2",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_it_answers(server: Server, path: str) -> None:
    answer = server.http.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    body = answer.text
    assert SCRIPT not in body
    assert " style=" not in body
    assert not re.search(r"<[^>]* on[a-z]+=", body)
    assert not re.search(r"<script(?! src=)", body)
    assert not re.search(r'(src|href)="(https?:)?//', body.replace('href="http://example.org', ""))
    assert body.count("<h1") == 1
    assert "{{" not in re.sub(
        r"\{\{ (7 \* 7|ds) \}\}|<pre.*?</pre>|<table>.*?</table>", "", body, flags=re.S
    )


def test_hostile_words_are_shown(server: Server, world: World) -> None:
    shown = SCRIPT.replace("<", "&lt;").replace(">", "&gt;")
    page = server.http.get("/sales/commits").text
    assert shown in page
    assert "\u202e" not in page
    assert "\\u202e" in page
    assert "{{ 7 * 7 }}" in page
    hostile = server.http.get("/sales/dags/hostile").text
    assert 'href="javascript' not in hostile
    assert "<img" not in hostile.partition("<main")[2]
    broken = server.http.get("/sales", params={"at": world.commits["broken"]}).text
    assert f"ValueError</strong>: {shown}" in broken
    assert "<b>bold" not in server.http.get("/sales/source/notes?at=main~4").text


@pytest.mark.parametrize("ref", ["feature/<x>&'quoted'", "feature/ünï-🙂", "main@{2025-01-02}"])
def test_any_ref(server: Server, ref: str) -> None:
    answer = server.http.get("/sales", params={"at": ref})
    assert answer.status_code == 200
    links = re.findall(r'href="(/sales/dags/etl\?[^"]*)"', answer.text)
    assert server.http.get(links[0].replace("&amp;", "&")).status_code == 200


def test_a_tag_and_a_branch_of_one_name(server: Server) -> None:
    page = server.http.get("/sales?at=v1").text
    assert "at=refs%2Ftags%2Fv1" in page
    assert "at=refs%2Fheads%2Fv1" in page


@pytest.mark.parametrize(
    ("path", "status", "near"),
    [
        ("/slaes", 404, 'href="/sales"'), ("/sales?at=mian", 404, "at=main"),
        ("/sales/dags/elt", 404, 'href="/sales/dags/etl"'), ("/sales/dags/nix", 404, ""),
        ("/sales/source/dags/elt.py?at=main~1", 404, "dags/etl.py"),
        ("/sales/runs/etl/scheduled_2", 404, "scheduled__2"),
        ("/sales/dags/etl/code?file=helper.py", 404, "dags/helper.py"), ("/sales/nix", 404, ""),
        ("/sales?sort=x", 400, ""), ("/sales/dags/etl?way=x", 400, ""), ("/sales/commits?n=x", 400, ""),
        ("/sales/compare?from=nix", 404, ""), ("/sales/source/dags/helper.py?from=0", 400, ""),
        ("/static/nix.js", 404, ""), ("/find?dag_id=nix&run_id=x", 404, ""),
    ],
)  # fmt: skip
def test_errors_name_the_next_step(server: Server, path: str, status: int, near: str) -> None:
    answer = server.http.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert near in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_a_run_id_with_anything_in_it(server: Server) -> None:
    page = server.http.get("/sales/runs").text
    link = re.search(r'href="(/sales/runs/etl/manual[^"]*)"', page)[1]
    assert "%2F" in link
    assert server.http.get(link).status_code == 200


class TestFind:
    def test_it_leads_to_the_run(self, server: Server) -> None:
        answer = server.http.get("/find?dag_id=etl&run_id=scheduled__1&airflow=default&task_id=x")
        assert (answer.status_code, answer.headers["location"]) == (
            302,
            "/sales/runs/etl/scheduled__1",
        )

    def test_or_to_the_dag(self, server: Server) -> None:
        answer = server.http.get("/find?dag_id=etl")
        assert answer.headers["location"] == "/sales/dags/etl"

    def test_or_lists_what_is_close(self, server: Server) -> None:
        answer = server.http.get("/find?dag_id=oth")
        assert 'href="/sales/dags/other"' in answer.text


class TestCaching:
    def test_a_page_is_not_sent_twice(self, server: Server) -> None:
        first = server.http.get("/sales/dags/etl")
        tag = first.headers["etag"]
        assert server.http.get("/sales/dags/etl", headers={"if-none-match": tag}).status_code == 304
        assert server.http.get(
            "/sales/dags/other?at=main~1", headers={"if-none-match": tag}
        ).is_success

    def test_packed_and_plain_are_the_same(self, server: Server) -> None:
        plain = server.http.get("/sales", headers={"accept-encoding": "identity"})
        packed = server.http.get("/sales", headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert plain.text == packed.text

    def test_files_of_ours_are_kept_for_good(self, server: Server) -> None:
        page = server.http.get("/").text
        link = re.search(r'href="(/static/site\.css\?v=[0-9a-f]+)"', page)[1]
        assert "immutable" in server.http.get(link).headers["cache-control"]
        assert server.http.get("/static/site.css").headers["cache-control"] == "no-cache"


def test_under_a_prefix(world: World) -> None:
    with Server(world.settings, root_path="/tools/gitdags") as server:
        page = server.http.get("/sales")
        assert page.status_code == 200
        links = re.findall(r'(?:href|action|src)="(/[^"]*)"', page.text)
        assert links
        assert [link for link in links if not link.startswith("/tools/gitdags/")] == []
        svg = server.http.get("/sales/dags/etl").text
        assert 'href="/tools/gitdags/sales/dags/etl/code' in svg


def test_a_ref_that_vanishes_between_two_clicks(server: Server, world: World) -> None:
    sha = world.commits["code"]
    world.repo("branch", "short-lived", sha)
    assert server.http.get("/sales?at=short-lived").status_code == 200
    world.repo("branch", "-D", "short-lived")
    gone = server.http.get("/sales?at=short-lived")
    assert gone.status_code == 404
    assert server.http.get("/sales", params={"at": sha}).status_code == 200


def test_a_store_that_is_away(tmp_path: object, world: World) -> None:
    from gitdags.config import Settings

    settings = Settings(
        {"home": str(world.home), "db": "sqlite:////proc/nowhere/all.db"}, {}, None, None
    )
    with Server(settings) as server:
        assert server.http.get("/readyz").status_code == 503
        assert server.http.get("/healthz").status_code == 200
        page = server.http.get("/sales")
        assert page.status_code == 503
        assert "retry-after" in page.headers


def test_large_and_strange_files(world: World, server: Server) -> None:
    repo = world.repo
    big = "".join(f"x{n} = {n}  # {'y' * 60}\n" for n in range(70_000)).encode()
    assert len(big) > 5_000_000
    files = {
        "big.py": big,
        "long.py": b"x = '" + b"a" * 1_000_000 + b"'\n",
        "cr.py": b"a = 1\r\nb = 2\r\n",
    }
    blobs = {n: repo("hash-object", "-w", "--stdin", input=data) for n, data in files.items()}
    tree = repo(
        "mktree", input="".join(f"100644 blob {o}\t{n}\n" for n, o in blobs.items()).encode()
    )
    sha = repo("commit-tree", tree, "-m", "large")
    page = server.http.get("/sales/source/big.py", params={"at": sha})
    assert page.status_code == 200
    assert len(page.content) < 1_500_000
    assert "70,000 lines" in page.text
    more = re.search(r'href="([^"]*from=5001[^"]*)"', page.text)[1].replace("&amp;", "&")
    assert 'id="L5001"' in server.http.get(more).text
    assert server.http.get("/sales/source/long.py", params={"at": sha}).status_code == 200
    cr = server.http.get("/sales/source/cr.py", params={"at": sha}).text
    assert "\\x0d" not in cr


def test_a_submodule_and_an_empty_repository(
    tmp_path: object, world: World, server: Server
) -> None:
    repo = world.repo
    tree = repo("mktree", "--missing", input=b"160000 commit " + b"1" * 40 + b"\tother\n")
    sha = repo("commit-tree", tree, "-m", "submodule")
    assert "submodule" in server.http.get("/sales/source/", params={"at": sha}).text
    assert server.http.get("/sales/source/other", params={"at": sha}).status_code == 404


def test_documents_that_no_worker_would_write(world: World, server: Server) -> None:
    """Cycles, edges to nowhere, groups in themselves: drawn as far as they go."""
    from gitdags.web import graph
    from gitdags.web.drawing import draw

    tasks = [{"task_id": n, "operator": "X", "group": g, "upstream": [], "downstream": []}
             for n, g in (("a", "g"), ("b", "nix"), ("c", None))]  # fmt: skip
    document = {
        "tasks": tasks, "groups": [{"group_id": "g", "parent": "h"}, {"group_id": "h", "parent": "g"}],
        "edges": [["a", "b", None], ["b", "a", "x"], ["a", "a", None], ["a", "nix", None]],
    }  # fmt: skip
    shown = graph.of(document)
    assert len(shown.edges) == 3
    assert "<svg" in draw(server.site.renderer, graph.of(document, fold=["g"]))
    none = {"tasks": [], "groups": [], "edges": []}
    assert draw(server.site.renderer, graph.of(none)) == ""


def test_two_catalogs_are_not_shared(server: Server) -> None:
    with server.site.catalogs.lend() as one, server.site.catalogs.lend() as other:
        assert isinstance(one, Catalog)
        assert one is not other


def test_dag_ids_with_slashes(world: World) -> None:
    from gitdags.web.urls import Urls

    assert (
        Urls("/x").dag("r", "a/b %2F", "code", at="f/x") == "/x/r/dags/a%2Fb%20%252F/code?at=f%2Fx"
    )
    assert quote("a/b", safe="") in Urls().run("r", "a/b", "c/d")
