"""The store on a real SQLite file: schema, idempotent writes, races, and what goes wrong."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from gitdags.model import ParseFailure, RegisteredRepository
from gitdags.serialize import document
from gitdags.serialize.environment import Environment
from gitdags.store import (
    FoundDag,
    NewerStore,
    OlderStore,
    Snapshot,
    Store,
    StoreUnavailable,
    migrate,
)
from gitdags.store.schema import REVISION, metadata

ENVIRONMENT = Environment("airflow", "3.3.2", "3.12.1", {"standard": "1.0"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "store.db"


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


@pytest.fixture
def repo(store: Store) -> RegisteredRepository:
    return store.register(RegisteredRepository("dags", "/srv/dags"))


def made(dag_id: str, **fields: object) -> document.Document:
    empty = {
        "schema": document.SCHEMA, "dag_id": dag_id, "tags": [], "owners": [], "tasks": [],
        "groups": [], "edges": [],
    }  # fmt: skip
    return document.make(empty | fields)


def snapshot(commit: str, *documents: document.Document, tree: str = "t" * 40) -> Snapshot:
    code = document.canonical([["dags/a.py", "b" * 40]])
    key = document.digest(code)
    return Snapshot(
        commit * 40,
        tree,
        ENVIRONMENT,
        tuple(FoundDag(doc, "dags/a.py", key) for doc in documents),
        (ParseFailure("dags/bad.py", "SyntaxError", "bad", "Traceback"),),
        {key: code.decode()},
        {doc.dag_hash: json.dumps({"dag": doc.dag_id}) for doc in documents},
        2,
        0.5,
    )


class TestSchema:
    def test_an_empty_database_is_made(self, store: Store) -> None:
        assert store.repositories() == []
        assert store.revision() == REVISION

    def test_the_tables_are_what_the_migrations_make(self, store: Store) -> None:
        store.upgrade()
        engine = create_engine(store.url)
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            heads = ScriptDirectory.from_config(migrate.config(connection)).get_heads()
        engine.dispose()
        assert heads == [REVISION]

    def test_down_and_up_again(self, store: Store) -> None:
        from alembic import command

        store.upgrade()
        engine = create_engine(store.url)
        with engine.begin() as connection:
            command.downgrade(migrate.config(connection), "base")
        engine.dispose()
        assert store.upgrade() == REVISION

    @pytest.mark.parametrize(("found", "error"), [("9999", NewerStore), ("0000", OlderStore)])
    def test_another_version(self, path: Path, found: str, error: type[Exception]) -> None:
        first = Store(f"sqlite:///{path}")
        first.upgrade()
        first.close()
        connection = sqlite3.connect(path)
        connection.execute("UPDATE alembic_version SET version_num = ?", [found])
        connection.commit()
        connection.close()
        second = Store(f"sqlite:///{path}")
        with pytest.raises(error) as caught:
            second.repositories()
        second.close()
        assert getattr(caught.value, "hint", "")

    def test_foreign_keys_and_wal_are_on(self, path: Path) -> None:
        store = Store(f"sqlite:///{path}")
        store.upgrade()
        with store._engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        store.close()


class TestSaving:
    def test_what_was_saved_is_found(self, store: Store, repo: RegisteredRepository) -> None:
        one, two = made("one"), made("two", tags=["x"])
        assert store.save(repo, snapshot("a", one, two)) == 2
        environment = store.environments_of(repo, "a" * 40)[0]
        assert (environment.airflow, environment.family) == ("3.3.2", ENVIRONMENT.family)
        listing = store.listing(repo, "a" * 40, environment)
        assert listing is not None
        assert [(d.dag_id, d.dag_hash, d.file) for d in listing.dags] == [
            ("one", one.dag_hash, "dags/a.py"), ("two", two.dag_hash, "dags/a.py"),
        ]  # fmt: skip
        assert [e.type for e in listing.errors] == ["SyntaxError"]
        assert store.document(two.dag_hash) == two.text
        assert document.digest(two.text.encode()) == two.dag_hash
        assert store.code(listing.dags[0].code_hash) == [("dags/a.py", "b" * 40)]
        assert store.airflow_document(one.dag_hash) == '{"dag": "one"}'

    def test_again_adds_nothing(self, store: Store, repo: RegisteredRepository) -> None:
        assert store.save(repo, snapshot("a", made("one"))) == 1
        before = store.counts()
        assert store.save(repo, snapshot("a", made("one"))) == 0
        assert store.counts() == before

    def test_a_commit_that_changes_no_dag_adds_one_small_row(
        self, store: Store, repo: RegisteredRepository
    ) -> None:
        store.save(repo, snapshot("a", made("one")))
        before = store.counts()
        assert store.save(repo, snapshot("b", made("one"), tree="u" * 40)) == 0
        after = store.counts()
        assert after == before | {"snapshots": before["snapshots"] + 1}

    def test_rows_of_a_commit_never_change(self, store: Store, repo: RegisteredRepository) -> None:
        store.save(repo, snapshot("a", made("one")))
        store.save(repo, snapshot("a", made("one", tags=["later"])))
        environment = store.environments_of(repo, "a" * 40)[0]
        listing = store.listing(repo, "a" * 40, environment)
        assert listing is not None
        assert [d.dag_hash for d in listing.dags] == [made("one").dag_hash]

    def test_the_same_tree_is_shared(self, store: Store, repo: RegisteredRepository) -> None:
        assert not store.share(repo, "b" * 40, "t" * 40, ENVIRONMENT)
        store.save(repo, snapshot("a", made("one")))
        assert store.share(repo, "b" * 40, "t" * 40, ENVIRONMENT)
        other = dataclasses.replace(ENVIRONMENT, airflow="2.11.0")
        assert not store.share(repo, "c" * 40, "t" * 40, other)
        assert set(store.indexed(repo)) == {"a" * 40, "b" * 40}

    def test_two_files_with_one_dag_id_are_both_kept(
        self, store: Store, repo: RegisteredRepository
    ) -> None:
        first = snapshot("a", made("one"))
        key = first.dags[0].code_hash
        files = ("dags/a.py", "dags/b.py")
        both = dataclasses.replace(
            first, dags=tuple(FoundDag(made("one"), file, key) for file in files)
        )
        store.save(repo, both)
        listing = store.listing(repo, "a" * 40, store.environments_of(repo, "a" * 40)[0])
        assert listing is not None
        assert [d.file for d in listing.dags] == ["dags/a.py", "dags/b.py"]

    def test_many_processes_at_once(self, store: Store, repo: RegisteredRepository) -> None:
        code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent.parent)!r})
from tests.store.test_store import Store, made, snapshot
store = Store({store.url!r})
repo = store.repositories()[0]
for n in range(20):
    store.save(repo, snapshot("0123456789abcdef"[n % 16], *[made(f"dag-{{n}}-{{m}}") for m in range(5)]))
"""
        running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
        assert [process.wait() for process in running] == [0, 0, 0]
        assert store.counts()["documents"] == 100
        assert store.counts()["snapshots"] == 16


class TestUnavailable:
    def test_no_such_folder(self) -> None:
        store = Store("sqlite:////proc/nowhere/store.db")
        with pytest.raises(StoreUnavailable) as caught:
            store.repositories()
        assert "/proc/nowhere" in caught.value.message
        store.close()

    def test_no_database_at_all(self, tmp_path: Path) -> None:
        file = tmp_path / "store.db"
        file.write_bytes(b"this is no database" * 100)
        store = Store(f"sqlite:///{file}")
        with pytest.raises(StoreUnavailable, match="not a database"):
            store.repositories()
        store.close()

    @pytest.mark.parametrize("url", ["nonsense", "mysql://host/db", "oracle://x"])
    def test_a_url_we_do_not_know(self, url: str) -> None:
        with pytest.raises(StoreUnavailable) as caught:
            Store(url)
        assert caught.value.hint


def test_moving_refs_are_noted(store: Store, repo: RegisteredRepository) -> None:
    assert store.ref_updated(repo, "refs/heads/main") is None
    store.update_ref(repo, "refs/heads/main", "a" * 40)
    store.update_ref(repo, "refs/heads/main", "b" * 40)
    found = store.ref_updated(repo, "refs/heads/main")
    assert found is not None
    assert found[0] == "b" * 40
    assert found[1].tzinfo is not None
