"""Variables and Connections that a DAG file asks for.

They come from environment variables, as Airflow itself reads them there (``AIRFLOW_VAR_*``,
``AIRFLOW_CONN_*``). What is missing is a placeholder.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from . import notes, placeholders, standin
from .standin import Meta, Unknown

# ── Variables ─────────────────────────────────────────────────────────────────────────────────

_UNSET = object()


class Variable(metaclass=Meta):
    """``Variable.get`` and its kin."""

    def __init__(self, key: Any = None, val: Any = None, **kwargs: Any) -> None:
        self.key, self.val, self.value = key, val, val

    @classmethod
    def get(
        cls,
        key: Any,
        default_var: Any = _UNSET,
        deserialize_json: bool = False,
        *,
        default: Any = _UNSET,
        **_: Any,
    ) -> Any:
        """The variable, the default, or what stands for it."""
        text = os.environ.get(f"AIRFLOW_VAR_{str(key).upper()}")
        if text is not None:
            if not deserialize_json:
                return text
            if placeholders.PLACEHOLDER.search(text):
                return placeholders.missing_json(text)
            return json.loads(text)
        if default_var is _UNSET:
            default_var = default
        if default_var is not _UNSET:
            return default_var
        notes.missing("variable", key)
        if deserialize_json and placeholders.attempt not in ("empty", "none"):
            return placeholders.missing_json(f"__var.{key}__")
        found = placeholders.stand_for("var", key)
        return {} if deserialize_json and found == "" else found

    @classmethod
    def setdefault(
        cls, key: Any, default: Any, description: Any = None, deserialize_json: bool = False
    ) -> Any:
        """The variable, or the default."""
        return cls.get(key, default, deserialize_json)

    @classmethod
    def set(cls, *_: Any, **__: Any) -> None:
        """Nothing is kept."""

    update = delete = set

    @classmethod
    def get_variable_from_secrets(cls, key: Any, **_: Any) -> Any:
        """The variable or None."""
        return cls.get(key, None)


# ── Connections ───────────────────────────────────────────────────────────────────────────────


class Connection(Unknown):
    """A connection, from its URI or JSON, or one of placeholders."""

    def __init__(self, conn_id: Any = None, *_: Any, uri: Any = None, **fields: Any) -> None:
        state = self.__dict__
        state.update(
            conn_id=conn_id, conn_type=None, host=None, login=None, password=None, schema=None, port=None,
            extra=None,
        )  # fmt: skip
        state.update(_of_uri(uri) if uri else {})
        state.update(fields)
        if isinstance(state["extra"], dict):
            state["extra"] = json.dumps(state["extra"])

    @property
    def extra_dejson(self) -> Any:
        """The extra as a mapping."""
        extra = self.__dict__.get("extra")
        if isinstance(extra, placeholders.Placeholder):
            return placeholders.missing_json(extra)
        try:
            return json.loads(extra) if extra else {}
        except ValueError:
            return {}

    def get_password(self) -> Any:
        """The password."""
        return self.__dict__["password"]

    def get_extra(self) -> Any:
        """The extra as text."""
        return self.__dict__["extra"]

    def get_uri(self) -> Any:
        """As a URI."""
        own = self.__dict__
        return f"{own['conn_type']}://{own['login']}:{own['password']}@{own['host']}:{own['port']}/{own['schema']}"

    @classmethod
    def get_connection_from_secrets(cls, conn_id: Any) -> Any:
        """The connection of that id."""
        return connection(conn_id)

    get = get_connection_from_secrets


def _of_uri(uri: str) -> dict[str, Any]:
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return {}
    return {
        "conn_type": "postgres" if parts.scheme == "postgresql" else parts.scheme.replace("-", "_"),
        "host": unquote(parts.hostname or ""),
        "login": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "schema": unquote(parts.path[1:]) if parts.path else "",
        "port": port,
        "extra": json.dumps(dict(parse_qsl(parts.query))) if parts.query else None,
    }


def connection(conn_id: Any) -> Any:
    """The connection of an id, from the environment, or one of placeholders."""
    text = os.environ.get(f"AIRFLOW_CONN_{str(conn_id).upper()}")
    if text is not None:
        if text.lstrip().startswith("{"):
            try:
                fields = json.loads(text)
            except ValueError:
                fields = {}
            if isinstance(fields, dict):
                return Connection(conn_id, **{str(k): v for k, v in fields.items()})
        return Connection(conn_id, uri=text)
    notes.missing("connection", conn_id)
    names = ("host", "login", "password", "schema", "port", "extra", "conn_type")
    return Connection(
        conn_id, **{name: placeholders.stand_for("conn", conn_id, name) for name in names}
    )


class BaseHook(Unknown):
    """What hooks stand on; it knows connections."""

    @classmethod
    def get_connection(cls, conn_id: Any) -> Any:
        """The connection of an id."""
        return connection(conn_id)

    @classmethod
    def get_connections(cls, conn_id: Any) -> Any:
        """The connections of an id: one."""
        return [connection(conn_id)]

    @classmethod
    def get_hook(cls, conn_id: Any = None, **_: Any) -> Any:
        """A hook for a connection."""
        return standin.value(f"hook of {conn_id}")
