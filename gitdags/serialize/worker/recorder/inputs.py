"""What a DAG file asks of its surroundings: Variables, Connections, configuration, environment.

All of it comes from environment variables, as Airflow itself reads them there (``AIRFLOW_VAR_*``,
``AIRFLOW_CONN_*``, ``AIRFLOW__SECTION__KEY``). What is missing is a placeholder that says what it
stands for. A file that cannot live with that is tried again with empty strings, then with None.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from . import notes, standin
from .callers import is_ours
from .standin import Meta, Unknown

LATER_ATTEMPTS = ("tolerant", "choice", "empty", "none")
"""After the first, with placeholders: with dates and durations that take them; with a value that the file
itself compares them with; then without any."""
attempt = "placeholder"
compared: dict[str, str] = {}
"""placeholder -> the first text that a file compared it with, which it can live with then"""

PLACEHOLDER = re.compile(r"__(?:var|conn|env|conf)\.[^\s/]*?__|<secret [^<>]*>")
"""The text of a placeholder, wherever it ends up: for what is missing, and for withheld secrets."""


class Placeholder(str):
    """The text that stands for a value that is missing; a number where one is wanted."""

    def __eq__(self, other: object) -> bool:
        if type(other) is str and other and not PLACEHOLDER.search(other):
            compared.setdefault(str.__str__(self), other)
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __int__(self) -> int:
        return 1

    def __index__(self) -> int:
        return 1

    def __float__(self) -> float:
        return 1.0


_KINDS = {"var": "variable", "conn": "connection", "env": "environment", "conf": "configuration"}


def stand_for(kind: str, name: object, part: str = "") -> Any:
    """What is given for a missing value, in this attempt."""
    if attempt == "empty":
        return ""
    if attempt == "none":
        return None
    text = f"__{kind}.{name}{'.' + part if part else ''}__"
    if attempt == "choice" and text in compared:
        words = _KINDS.get(kind, kind)
        notes.guess(
            f"{words} {name} is taken to be {compared[text]!r}: the file compares it with that"
        )
        return compared[text]
    return Placeholder(text)


def part(text: str, key: object) -> str:
    """The placeholder of a part of what a placeholder stands for."""
    return f"{text[:-1]}.{key}>" if text.endswith(">") else f"{text[:-2]}.{key}__"


class MissingJson(Unknown, dict):  # type: ignore[misc,type-arg]
    """A Variable that is missing and should be JSON: every key has a placeholder."""

    _prefix = ""

    def __getitem__(self, key: Any) -> Any:
        if dict.__contains__(self, key):
            return dict.__getitem__(self, key)
        return MissingText(part(self._prefix, key))

    def get(self, key: Any, default: Any = None) -> Any:
        """The default, which is the author's own guess; else a placeholder."""
        if dict.__contains__(self, key):
            return dict.__getitem__(self, key)
        return self[key] if default is None else default

    def __str__(self) -> str:
        return self._prefix

    __repr__ = __str__
    __len__ = dict.__len__
    __setitem__ = dict.__setitem__
    __delitem__ = dict.__delitem__

    def __iter__(self) -> Iterator[Any]:
        wanted = standin.unpacked(sys._getframe(1))
        if wanted is None or len(self):
            return dict.__iter__(self)
        return iter([MissingText(part(self._prefix, i)) for i in range(wanted)])

    def keys(self) -> Any:
        """Of what was set."""
        return dict.keys(self)

    def values(self) -> Any:
        """Of what was set."""
        return dict.values(self)

    def items(self) -> Any:
        """Of what was set."""
        return dict.items(self)


def missing_json(text: str) -> Any:
    """A JSON value that is missing, named by a placeholder's text."""
    made = MissingJson()
    object.__setattr__(made, "_prefix", text)
    return made


class MissingText(Placeholder):
    """Part of a JSON value that is missing: text, or a mapping if it is used as one."""

    def __getitem__(self, key: Any) -> Any:
        return (
            str.__getitem__(self, key)
            if isinstance(key, (int, slice))
            else MissingText(part(self, key))
        )

    def get(self, key: Any, default: Any = None) -> Any:
        """As of a mapping."""
        return self[key] if default is None else default

    def items(self) -> Any:
        """As of an empty mapping."""
        return ()

    keys = values = items

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def append(self, _: Any) -> None:
        """As of a list."""


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
            if PLACEHOLDER.search(text):
                return missing_json(text)
            return json.loads(text)
        if default_var is _UNSET:
            default_var = default
        if default_var is not _UNSET:
            return default_var
        notes.missing("variable", key)
        if deserialize_json and attempt not in ("empty", "none"):
            return missing_json(f"__var.{key}__")
        found = stand_for("var", key)
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
        if isinstance(extra, Placeholder):
            return missing_json(extra)
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
    return Connection(conn_id, **{name: stand_for("conn", conn_id, name) for name in names})


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


# ── configuration ─────────────────────────────────────────────────────────────────────────────


class Configuration:
    """``conf``: what the environment says, a few values every Airflow has, the fallback."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], str] = {}
        self.places: dict[str, str] = {}

    def place(self, root: str, dags: str, plugins: str) -> None:
        """Say where things are."""
        self.places = {"AIRFLOW_HOME": root, "DAGS_FOLDER": dags, "PLUGINS_FOLDER": plugins}
        self.known = {
            ("core", "dags_folder"): dags, ("core", "plugins_folder"): plugins,
            ("core", "airflow_home"): root,
            ("core", "executor"): "LocalExecutor", ("core", "default_timezone"): "utc",
            ("core", "unit_test_mode"): "False", ("core", "parallelism"): "32",
            ("webserver", "base_url"): "http://localhost:8080", ("api", "base_url"): "http://localhost:8080",
            ("logging", "base_log_folder"): os.path.join(root, "logs"),
            ("core", "base_log_folder"): os.path.join(root, "logs"),
            ("operators", "default_owner"): "airflow", ("operators", "default_queue"): "default",
            ("kubernetes", "namespace"): "default", ("kubernetes_executor", "namespace"): "default",
        }  # fmt: skip

    def get(self, section: Any, key: Any = None, fallback: Any = _UNSET, **_: Any) -> Any:
        """A value as text."""
        section, key = str(section).lower(), str(key).lower()
        found = os.environ.get(f"AIRFLOW__{section.upper()}__{key.upper()}")
        if found is None:
            found = self.known.get((section, key))
        if found is not None:
            return found
        if fallback is not _UNSET:
            return fallback
        notes.missing("configuration", f"{section}.{key}")
        return stand_for("conf", f"{section}.{key}")

    get_mandatory_value = get

    def getboolean(self, section: Any, key: Any, fallback: Any = False, **_: Any) -> bool:
        """A value as a boolean."""
        return str(self.get(section, key, fallback)).lower() in ("1", "true", "t", "yes")

    def getint(self, section: Any, key: Any, fallback: Any = 0, **_: Any) -> int:
        """A value as an integer."""
        return int(self.get(section, key, fallback))

    def getfloat(self, section: Any, key: Any, fallback: Any = 0, **_: Any) -> float:
        """A value as a number."""
        return float(self.get(section, key, fallback))

    def getjson(self, section: Any, key: Any, fallback: Any = None, **_: Any) -> Any:
        """A value as JSON."""
        found = self.get(section, key, fallback)
        return json.loads(found) if isinstance(found, str) and found[:1] in "[{" else found

    def has_option(self, section: Any, key: Any, **_: Any) -> bool:
        """Whether there is a value."""
        return self.get(section, key, None) is not None

    def getsection(self, section: Any) -> Mapping[str, Any]:
        """Nothing: sections are not kept whole."""
        return {}

    as_dict = getsection

    def set(self, *_: Any, **__: Any) -> None:
        """Nothing is kept."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return standin.value(f"conf.{name}")


conf = Configuration()


# ── environment ───────────────────────────────────────────────────────────────────────────────


def watch_environment(root: str) -> None:
    """Have ``os.environ`` answer the repository's own code with placeholders for what is missing."""
    root = os.path.realpath(root) + os.sep
    kind: Any = type(os.environ)
    plain_item = kind.__getitem__

    def item(self: Any, key: Any) -> Any:
        try:
            return plain_item(self, key)
        except KeyError:
            if self is not os.environ or not is_ours(sys._getframe(1), root):
                raise
            notes.missing("environment", key)
            found = stand_for("env", key)
            return "" if found is None else found

    def get(self: Any, key: Any, default: Any = None) -> Any:
        try:
            return plain_item(self, key)
        except KeyError:
            if default is None and self is os.environ and is_ours(sys._getframe(1), root):
                notes.missing("environment", key)
                # Who asks so is prepared for None; only a file that is not gets something else.
                return None if attempt == "placeholder" else stand_for("env", key)
            return default

    def contains(self: Any, key: Any) -> bool:
        try:
            plain_item(self, key)
        except (KeyError, TypeError):
            return False
        return True

    kind.__getitem__, kind.__contains__, kind.get = item, contains, get
