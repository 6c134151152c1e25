"""Tokens: the secret is kept nowhere, and what ended opens nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gitdags.store import Store
from gitdags.store.tokens import UnknownToken


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def test_a_token_is_found_by_its_text(store: Store) -> None:
    token, words = store.tokens.create("ada", "stamp", "sales")
    assert store.tokens.find(words) == token
    assert (token.name, token.scope, token.repository) == ("ada", "stamp", "sales")
    assert store.tokens.any()


@pytest.mark.parametrize("change", ["x", "", "_", "gitdags__", "gitdags_0_x", "\0", "ü"])
def test_other_words_open_nothing(store: Store, change: str) -> None:
    _, words = store.tokens.create("ada", "admin")
    assert store.tokens.find(change) is None
    assert store.tokens.find(words + "x") is None
    assert store.tokens.find(words[:-1]) is None


def test_the_secret_is_not_in_the_database(store: Store) -> None:
    _, words = store.tokens.create("ada", "read")
    with store.read() as db:
        row = tuple(map(str, db.execute(text("SELECT * FROM tokens")).one()))
    secret = words.split("_", 2)[2]
    assert not [value for value in row if secret in value]


def test_revoked_and_ended_ones_open_nothing(store: Store) -> None:
    token, words = store.tokens.create("ada", "read")
    _, old = store.tokens.create("bob", "read", None, datetime.now(UTC) - timedelta(seconds=1))
    assert store.tokens.find(old) is None
    store.tokens.revoke(token.id)
    assert store.tokens.find(words) is None
    assert not store.tokens.any()
    with pytest.raises(UnknownToken):
        store.tokens.revoke(token.id)


def test_a_delivery_is_taken_in_once(store: Store) -> None:
    tokens = store.tokens
    assert [tokens.first_delivery("github", "1") for _ in range(2)] == [True, False]
    assert tokens.first_delivery("gitea", "1")
    assert tokens.forget_deliveries(datetime.now(UTC) + timedelta(seconds=1)) == 2
    assert tokens.first_delivery("github", "1")
