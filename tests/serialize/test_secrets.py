"""What is kept from DAG files, and what they may still know."""

from __future__ import annotations

import json
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdags.serialize.secrets import is_sensitive, withhold

SECRET = "s3cr3t"


def shown(name: str, value: str) -> str:
    return withhold({name: value})[0][name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIRFLOW_VAR_API_TOKEN", SECRET),
        ("AIRFLOW_VAR_DB_PASSWORD", SECRET),
        ("AIRFLOW_VAR_CONF", json.dumps({"n": 1, "deep": [{"client_secret": SECRET}]})),
        ("AIRFLOW_CONN_DB", f"postgres://me:{SECRET}@host:5432/db"),
        ("AIRFLOW_CONN_DB", f"postgres://me:a%40{SECRET}@host/db?sslmode={SECRET}&x={SECRET}"),
        ("AIRFLOW_CONN_DB", f"http://:{SECRET}@host"),
        ("AIRFLOW_CONN_AWS", f"aws://?aws_secret_access_key={SECRET}"),
        ("AIRFLOW_CONN_J", json.dumps({"conn_type": "http", "host": "h", "password": SECRET})),
        ("AIRFLOW_CONN_J", json.dumps({"conn_type": "x", "extra": {"a": {"b": SECRET}}})),
        ("AIRFLOW_CONN_J", json.dumps({"conn_type": "x", "extra": json.dumps({"a": SECRET})})),
        ("AIRFLOW_CONN_BROKEN", f'{{"password": "{SECRET}"'),
        ("AIRFLOW_CONN_ODD", SECRET),
        ("AIRFLOW_CONN_ODD", f"http://[{SECRET}"),
        ("AIRFLOW__CORE__FERNET_KEY", SECRET),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"postgresql://a:{SECRET}@h/d"),
        ("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps({"url": SECRET})),
        ("GITHUB_TOKEN", SECRET),
        ("DATABASE_URL", f"postgresql://me:{SECRET}@host/db"),
        ("slack_webhook_url", f"https://hooks.example.org/{SECRET}"),
    ],
)
def test_a_secret_is_gone(name: str, value: str) -> None:
    variables, names = withhold({name: value})
    assert SECRET not in variables[name]
    assert SECRET not in unquote(variables[name])
    assert names == (name,)
    assert "secret" in variables[name]


def test_a_connection_keeps_what_describes_it() -> None:
    parts = urlsplit(
        shown("AIRFLOW_CONN_DB", f"postgres://me:{SECRET}@host:5432/db?a={SECRET}&b=2")
    )
    assert (parts.scheme, parts.username, parts.hostname, parts.port, parts.path) == (
        "postgres", "me", "host", 5432, "/db",
    )  # fmt: skip
    assert unquote(parts.password or "") == "<secret AIRFLOW_CONN_DB.password>"
    assert unquote(parts.query) == ("a=<secret AIRFLOW_CONN_DB.a>&b=<secret AIRFLOW_CONN_DB.b>")
    told = {"conn_type": "http", "host": "h", "login": "me", "port": 1, "extra": {"k": SECRET}}
    found = json.loads(shown("AIRFLOW_CONN_J", json.dumps(told)))
    assert found == told | {"extra": {"k": "<secret AIRFLOW_CONN_J.extra.k>"}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIRFLOW_VAR_BUCKET", "s3://bucket/path"),
        ("AIRFLOW_VAR_CONF", '{"retries": 3,   "hosts": ["a"]}'),
        ("AIRFLOW_VAR_N", "12"),
        ("AIRFLOW_CONN_FS", "fs:///data"),
        ("AIRFLOW_CONN_DB", "postgres://me@host/db"),
        ("REGION", "eu-west-1"),
        ("HOMEPAGE", "https://example.org/a?b=c"),
        ("EMPTY", ""),
    ],
)
def test_what_is_no_secret_stays_as_it_is(name: str, value: str) -> None:
    assert withhold({name: value}) == ({name: value}, ())


def test_another_secret_of_the_same_name_changes_nothing() -> None:
    for name, value in (("AIRFLOW_VAR_TOKEN", "{}"), ("AIRFLOW_CONN_A", "http://u:{}@h?k={}")):
        assert shown(name, value.format("one", "two")) == shown(name, value.format("three", "four"))


def test_the_names_are_airflows_own() -> None:
    masker = pytest.importorskip("airflow._shared.secrets_masker.secrets_masker")
    assert all(map(is_sensitive, masker.DEFAULT_SENSITIVE_FIELDS))
    assert not is_sensitive("bucket")


@given(
    st.dictionaries(st.sampled_from(["AIRFLOW_CONN_A", "AIRFLOW_VAR_B", "C", "A_TOKEN"]), st.text())
)
def test_any_text_is_taken(variables: dict[str, str]) -> None:
    found, names = withhold(variables)
    assert found.keys() == variables.keys()
    assert set(names) <= variables.keys()
    assert withhold(found)[0].keys() == found.keys()
