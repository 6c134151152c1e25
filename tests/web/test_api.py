"""The API over real HTTP: its answers are those of `--json`, and how long each may be kept."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from urllib.parse import quote

import pytest

from gitdags.catalog import Catalog
from gitdags.config import Settings
from tests.conftest import Repo, dag
from tests.web.conftest import MESSAGE, SCRIPT, Server, World

SALES = "/api/v1/repos/sales"


def test_repositories_and_refs(server: Server) -> None:
    assert [r["name"] for r in server.json("/api/v1/repos")] == ["sales"]
    first = server.json(f"{SALES}/refs", params={"limit": 2})
    assert len(first["refs"]) == 2
    second = server.json(f"{SALES}/refs", params={"limit": 500, "after": first["next"]})
    names = [r["name"] for r in first["refs"] + second["refs"]]
    assert sorted(names) == sorted(set(names))
    assert second["next"] is None
    assert "refs/heads/feature/<x>&'quoted'" in names
    found = server.json(f"{SALES}/refs", params={"q": "FEATURE/ü"})["refs"]
    assert [r["short"] for r in found] == ["feature/ünï-🙂"]


def test_resolving_says_both_meanings(server: Server, world: World) -> None:
    found = server.json(f"{SALES}/resolve", params={"rev": "v1"})
    assert found["commit"] == world.commits["begin"]
    assert "refs/heads/v1" in found["warnings"][0]
    answer = server.http.get(f"{SALES}/resolve", params={"rev": "feature/ünï-🙂"})
    assert answer.headers["x-git-commit"] == world.commits["code"]
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/repos/nix/refs", 404), (f"{SALES}/resolve?rev=nix", 404), (f"{SALES}/dags/nix", 404),
        (f"{SALES}/source/nix.py", 404), (f"{SALES}/tree/nix", 404), (f"{SALES}/documents/{'0' * 64}", 404),
        (f"{SALES}/documents/zz", 422), (f"{SALES}/archive/main", 422), (f"{SALES}/archive/{'0' * 40}", 404),
        (f"{SALES}/refs?limit=0", 422), (f"{SALES}/refs?after=%C3%A9", 422),
        (f"{SALES}/refs?after=LTU=", 422),
        (f"{SALES}/commits?after=x", 422), (f"{SALES}/runs?after=x", 422), (f"{SALES}/compare", 422),
        (f"{SALES}/resolve?rev={'x' * 1025}", 422), (f"{SALES}/suspects?dag_id=etl&run_id=nix", 404),
        ("/api/v1/nix", 404), ("/api/v1/repos/sales/source/a%00b", 400),
    ],
)  # fmt: skip
def test_errors_are_problem_documents(server: Server, path: str, status: int) -> None:
    answer = server.http.get(path)
    assert answer.status_code == status
    if status != 400:
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert (told["status"], bool(told["detail"])) == (status, True)
        assert told["request_id"] == answer.headers["x-request-id"]
        assert answer.headers["cache-control"] == "no-store"


def test_near_matches(server: Server) -> None:
    assert server.json("/api/v1/repos/salse/refs", 404)["near"] == ["sales"]
    assert server.json(f"{SALES}/dags/elt", 404)["near"] == ["etl"]


def test_a_wrong_method(server: Server) -> None:
    answer = server.http.delete("/api/v1/repos")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


class TestDags:
    def test_as_the_command_line_has_them(self, server: Server, world: World) -> None:
        from gitdags import wire

        with Catalog(world.settings) as catalog:
            repo = catalog.repository("sales")
            for rev in ("begin", "broken", "moved"):
                sha = world.commits[rev]
                own = wire.listing(catalog.dags(repo, sha, parse=False))
                assert server.json(f"{SALES}/dags", params={"at": sha}) == own
            shown = wire.document(catalog.document(repo, "etl", "HEAD"), catalog.settings(repo))
        assert server.json(f"{SALES}/dags/etl") == shown

    def test_the_last_good_one_where_it_fails(self, server: Server, world: World) -> None:
        found = server.json(f"{SALES}/dags/etl", params={"at": world.commits["broken"]})
        assert found["stale_from"] == world.commits["structure"]
        errors = server.json(f"{SALES}/dags", params={"at": world.commits["broken"]})["errors"]
        assert errors[0]["dag_ids"] == ["etl"]
        assert SCRIPT in errors[0]["message"]

    def test_a_document_by_its_hash_is_for_good(self, server: Server) -> None:
        row = server.json(f"{SALES}/dags")["dags"][0]
        answer = server.http.get(f"{SALES}/documents/{row['dag_hash']}")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.json()["dag_id"] == row["dag_id"]

    def test_an_unchanged_answer_is_not_sent_again(self, server: Server) -> None:
        first = server.http.get(f"{SALES}/dags")
        again = server.http.get(f"{SALES}/dags", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")

    def test_graph(self, server: Server) -> None:
        answer = server.http.get(f"{SALES}/dags/hostile/graph.svg", params={"fold": "inner"})
        assert answer.headers["content-type"] == "image/svg+xml"
        assert "<script" not in answer.text
        assert "2 tasks" in answer.text


def test_history(server: Server, world: World) -> None:
    found = server.json(f"{SALES}/dags/etl/versions")["versions"]
    assert [v["change"] for v in found] == ["fixed", "failed", "structure", "code", "added"]
    page = server.json(f"{SALES}/commits", params={"limit": 2})
    assert [c["commit"] for c in page["commits"]] == [
        world.commits["moved"],
        world.commits["broken"],
    ]
    assert {"dag_id": "etl", "change": "failed"} in page["commits"][1]["changes"]
    rest = server.json(f"{SALES}/commits", params={"after": page["next"]})["commits"]
    assert [c["commit"] for c in rest] == [world.commits[n] for n in ("structure", "code", "begin")]
    assert rest[1]["subject"] == MESSAGE.strip()
    of_dag = server.json(f"{SALES}/commits", params={"dag": "other"})["commits"]
    assert [c["changes"][0]["change"] for c in of_dag] == ["removed", "added"]
    assert server.json(f"{SALES}/dags/etl/blame")[0]["task_id"] == "extract"


def test_compare(server: Server, world: World) -> None:
    found = server.json(f"{SALES}/compare", params={"from": "refs/tags/v1", "to": "main"})
    assert (found["added"], found["removed"]) == (["late"], ["other"])
    assert found["from"] == world.commits["begin"]


def test_runs_and_suspects(server: Server, world: World) -> None:
    first = server.json(f"{SALES}/runs", params={"limit": 3})
    assert len(first["runs"]) == 3
    rest = server.json(f"{SALES}/runs", params={"after": first["next"]})["runs"]
    assert [r["run_id"] for r in rest] == ["scheduled__0"]
    at = server.json(f"{SALES}/runs", params={"at": world.commits["code"]})["runs"]
    assert [r["run_id"] for r in at] == ["scheduled__1"]
    found = server.json(f"{SALES}/suspects", params={"dag_id": "etl", "run_id": "scheduled__2"})
    assert [s["commit"] for s in found["suspects"]] == [world.commits["structure"]]
    assert server.json(f"{SALES}/deploys") == []


class TestFiles:
    @pytest.mark.parametrize(
        "path", ["dags/etl.py", "notes/<b>bold<b>.txt", "notes/näme with %2F and #.py",
                 "notes/latin.txt", "notes/binary.bin", "notes/empty.txt"],
    )  # fmt: skip
    def test_bytes_are_those_of_git(self, server: Server, world: World, path: str) -> None:
        sha = world.commits["begin"]
        answer = server.http.get(f"{SALES}/source/{quote(path)}", params={"at": sha})
        own = subprocess.run(
            ["git", "show", f"{sha}:{path}"], cwd=world.repo.path, capture_output=True
        )
        assert answer.content == own.stdout
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "html" not in answer.headers["content-type"]
        moving = server.http.get(f"{SALES}/source/{quote(path)}", params={"at": "main"})
        assert moving.headers["cache-control"] == ("no-cache" if moving.is_success else "no-store")

    def test_links_stay_inside(self, server: Server) -> None:
        assert server.http.get(f"{SALES}/source/notes/out.py").status_code == 404
        assert server.http.get(f"{SALES}/source/notes/link.py", params={"at": "main~1"}).is_success
        raw = httpx_raw(server, f"{SALES}/source/../../etc/passwd")
        assert b"root:" not in raw

    def test_tree(self, server: Server, world: World) -> None:
        found = server.json(f"{SALES}/tree/notes", params={"at": world.commits["moved"]})
        kinds = {e["name"]: e["type"] for e in found["entries"]}
        assert kinds["out.py"] == "link"
        assert kinds["latin.txt"] == "file"
        top = server.json(f"{SALES}/tree")["entries"]
        assert [e["name"] for e in top] == ["dags", "notes"]

    def test_names_that_are_no_utf8(self, tmp_path: Path, world: World, server: Server) -> None:
        repo = world.repo
        blob = repo("hash-object", "-w", "--stdin", input=b"x = 1\n")
        tree = repo("mktree", "-z", input=f"100644 blob {blob}\t".encode() + b"caf\xe9.py\0")
        sha = repo("commit-tree", tree, "-m", "bytes")
        found = server.json(f"{SALES}/tree", params={"at": sha})
        assert [e["name"] for e in found["entries"]] == ["caf\\xe9.py"]
        assert b"x = 1" in httpx_raw(server, f"{SALES}/source/caf%E9.py?at={sha}")
        page = httpx_raw(server, f"/sales/source/?at={sha}")
        assert b"caf%E9.py" in page
        assert b"x" in httpx_raw(server, f"/sales/source/caf%E9.py?at={sha}")


def httpx_raw(server: Server, target: str) -> bytes:
    """A GET whose target is sent as it is."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("GET", target, skip_accept_encoding=True)
    connection.endheaders()
    body = connection.getresponse().read()
    connection.close()
    return body


class TestArchive:
    def test_it_is_the_tree(self, server: Server, world: World) -> None:
        sha = world.commits["moved"]
        answer = server.http.get(f"{SALES}/archive/{sha}")
        assert "immutable" in answer.headers["cache-control"]
        ours = _members(answer.content, "r:gz")
        git = subprocess.run(["git", "archive", sha], cwd=world.repo.path, capture_output=True)
        theirs = {n: m for n, m in _members(git.stdout, "r:").items() if m[0] != tarfile.DIRTYPE}
        assert {n: (k, d, link) for n, (k, d, link, _) in ours.items()} == {
            n: (k, d, link) for n, (k, d, link, _) in theirs.items()
        }
        again = server.http.get(
            f"{SALES}/archive/{sha}", headers={"if-none-match": answer.headers["etag"]}
        )
        assert again.status_code == 304
        assert server.http.get(f"{SALES}/archive/{sha}").content == answer.content

    def test_a_folder_of_it(self, server: Server, world: World) -> None:
        sha = world.commits["begin"]
        found = _members(server.http.get(f"{SALES}/archive/{sha}?subdir=/dags/").content, "r:gz")
        assert sorted(found) == [
            "dags/etl.py",
            "dags/helper.py",
            "dags/hostile.py",
            "dags/other.py",
        ]
        assert {mode for *_, mode in found.values()} == {0o444}
        assert server.http.get(f"{SALES}/archive/{sha}?subdir=dags/etl.py").status_code == 404
        assert server.http.get(f"{SALES}/archive/{sha}?subdir=../x").status_code == 404

    def test_bundle(self, server: Server, world: World, tmp_path: Path) -> None:
        sha = world.commits["code"]
        file = tmp_path / "x.bundle"
        file.write_bytes(server.http.get(f"{SALES}/bundle/{sha}").content)
        other = Repo(tmp_path / "other")
        other("fetch", "-q", str(file), "refs/gitdags/keep/*:refs/gitdags/keep/*")
        assert other("log", "-1", "--format=%H", sha) == sha


def _members(data: bytes, mode: str) -> dict[str, tuple[bytes, bytes, str, int]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode=mode) as tar:
        return {
            m.name: (m.type, tar.extractfile(m).read() if m.isfile() else b"", m.linkname, m.mode)
            for m in tar
        }


class TestIndexing:
    def test_an_unindexed_commit_is_indexed_in_the_background(
        self, tmp_path: Path, airflow_python: str
    ) -> None:
        repo = Repo(tmp_path / "fresh")
        sha = repo.commit({"dags/a.py": dag("mine")})
        flags = {"home": str(tmp_path / "home"), "python": airflow_python, "jobs": "1"}
        settings = Settings(flags, {}, None, None)
        with Catalog(settings) as catalog:
            catalog.registry.add(str(repo.path))
        with Server(settings) as server:
            base = "/api/v1/repos/fresh"
            page = server.http.get("/fresh", params={"at": sha})
            assert (page.status_code, page.headers["retry-after"]) == (202, "2")
            assert "dags/a.py" in page.text
            answer = server.http.get(f"{base}/dags", params={"at": sha})
            assert answer.status_code in (200, 202)
            thread = server.site.indexer._thread
            server.site.indexer.close()
            thread.join(60)
            assert server.json(f"{base}/dags", params={"at": sha})["dags"][0]["dag_id"] == "mine"
            assert "mine" in server.http.get("/fresh", params={"at": sha}).text

    def test_files_need_only_git(self, tmp_path: Path) -> None:
        repo = Repo(tmp_path / "fresh")
        sha = repo.commit({"a.py": "x = 1\n"})
        settings = Settings({"home": str(tmp_path / "home")}, {}, None, None)
        with Catalog(settings) as catalog:
            catalog.registry.add(str(repo.path))
        with Server(settings) as server:
            assert "x" in server.http.get("/fresh/source/a.py", params={"at": sha}).text
            assert server.json("/api/v1/repos/fresh/tree", params={"at": sha})["entries"]


@pytest.mark.slow
def test_what_is_shown_is_what_git_has(examples: Server, real_history: Path) -> None:
    """200 random (commit, file): the API's bytes, and the page's text, are those of `git show`."""
    import html
    import random
    import re

    def git(*words: str) -> bytes:
        done = subprocess.run(["git", *words], cwd=real_history, capture_output=True, check=True)
        return done.stdout

    rng = random.Random(7)
    commits = git("rev-list", "--all").decode().split()
    for number in range(200):
        sha = rng.choice(commits)
        path = rng.choice(git("ls-tree", "-r", "-z", "--name-only", sha).decode().split("\0")[:-1])
        own = git("show", f"{sha}:{path}")
        answer = examples.http.get(
            f"/api/v1/repos/examples/source/{quote(path)}", params={"at": sha}
        )
        assert answer.content == own, (sha, path)
        if number % 4 == 0:
            page = examples.http.get(f"/examples/source/{quote(path)}", params={"at": sha}).text
            cells = re.findall(r'<td class="tx">(.*?)</td></tr>', page, flags=re.S)
            lines = [html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in cells]
            assert lines == own.decode().removesuffix("\n").split("\n") * bool(own), (sha, path)
