"""Secrets among the variables that DAG files may read: found by name, replaced by placeholders.

As Airflow decides what to mask in its logs and pages: by what a name contains. A connection keeps
what describes it (type, host, port, schema, login) and loses its password and every extra. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from gitdags.model import Json

# airflow._shared.secrets_masker, DEFAULT_SENSITIVE_FIELDS, of 3.3.2: it has those of 2.x too.
SENSITIVE = (
    "access_key", "access_token", "api_key", "apikey", "auth_header", "authorization", "bearer",
    "connection_string", "dsn", "keyfile_dict", "passphrase", "passwd", "password", "private_key",
    "proxies", "proxy", "secret", "service_account", "service_key", "token", "webhook_url",
)  # fmt: skip
_CONNECTION, _VARIABLE = "AIRFLOW_CONN_", "AIRFLOW_VAR_"
_SETTING = re.compile(r"AIRFLOW__[A-Z0-9_]+__[A-Z0-9_]+")
_PLAIN_PARTS = frozenset({"conn_type", "description", "host", "login", "port", "schema"})


def withhold(variables: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """(the variables without their secrets, names of those that lost some, sorted)."""
    shown = {name: _withheld(name, value) for name, value in variables.items()}
    return shown, tuple(sorted(name for name in shown if shown[name] != variables[name]))


def placeholder(name: str) -> str:
    """What stands where a secret was: the same for each value, so that rotating one changes nothing."""
    return f"<secret {name}>"


def seen(text: str, names: Iterable[str]) -> list[str]:
    """The variables among ``names`` whose secrets a text has placeholders for."""
    return [
        f"secret {name}"
        for name in names
        if any(f"{start}secret{gap}{name}" in text for start, gap in (("<", " "), ("%3C", "%20")))
    ]


def is_sensitive(name: str) -> bool:
    """Whether Airflow would mask the value of a variable, or of a key, by this name."""
    plain = re.sub(r"\W+", "_", name.strip().lower())
    return any(part in plain for part in SENSITIVE)


def _withheld(name: str, value: str) -> str:
    if name.startswith(_CONNECTION):
        return _connection(name, value)
    if is_sensitive(name.removeprefix(_VARIABLE)):
        return placeholder(name)
    if _SETTING.fullmatch(name) and name.endswith(("_CONN", "_CMD", "_SECRET", "_KEY", "_KWARGS")):
        return placeholder(name)  # of Airflow's own configuration: databases, fernet key, backends
    try:
        inner = json.loads(value)
    except ValueError:
        return _address(name, value)
    except RecursionError:
        return placeholder(name)
    if not isinstance(inner, (dict, list)):
        return value
    cleaned = _inner(name, inner)
    return value if cleaned == inner else json.dumps(cleaned)


def _inner(name: str, value: Json) -> Json:
    """JSON with the values of sensitive keys replaced, at any depth."""
    if isinstance(value, dict):
        return {
            key: placeholder(f"{name}.{key}")
            if is_sensitive(key) and item not in (None, "")
            else _inner(f"{name}.{key}", item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_inner(name, item) for item in value]
    return value


def _connection(name: str, value: str) -> str:
    """A connection, as URI or as JSON, with its description only."""
    if value.lstrip().startswith("{"):
        try:
            parts = json.loads(value)
        except (ValueError, RecursionError):
            return placeholder(name)
        if not isinstance(parts, dict):
            return placeholder(name)
        return json.dumps(
            {
                key: part
                if key in _PLAIN_PARTS or part in (None, "", {})
                else _all(f"{name}.{key}", part)
                for key, part in parts.items()
            }
        )
    try:
        parts = urlsplit(value)
        host = parts.netloc.rpartition("@")[2]
        login, colon, password = parts.netloc.rpartition("@")[0].partition(":")
        extras = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return placeholder(name)
    if not parts.scheme:
        return placeholder(name)
    if not (password or parts.query or parts.fragment):
        return value
    secret = quote(placeholder(f"{name}.password"), safe="")
    user = f"{login}:{secret}" if password else f"{login}{colon}"
    query = urlencode([(key, placeholder(f"{name}.{key}")) for key, _ in extras], quote_via=quote)
    netloc = f"{user}@{host}" if "@" in parts.netloc else host
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


def _all(name: str, value: Json) -> Json:
    """Every leaf replaced, the keys kept: a DAG file may ask which extras there are."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.dumps(_all(name, json.loads(value)))
        except (ValueError, RecursionError):
            return placeholder(name)
    if isinstance(value, dict):
        return {key: _all(f"{name}.{key}", item) for key, item in value.items()}
    return placeholder(name)


def _address(name: str, value: str) -> str:
    """A plain value; if it is an address with a password in it, without that."""
    found = re.fullmatch(r"([a-zA-Z][a-zA-Z0-9+.-]*://[^/@:\s]*):([^/@\s]+)@(.*)", value, re.S)
    if not found:
        return value
    return f"{found[1]}:{quote(placeholder(name), safe='')}@{found[3]}"
