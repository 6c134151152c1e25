"""Settings: one table, five places they come from, strongest first.

A flag (``-c NAME=VALUE``), the environment (``GITDAGS_NAME``), ``[tool.gitdags]`` in the
pyproject.toml of the default branch's tip (for layout and display only: any commit may say how
the repository is laid out, none may say what runs where), the user's ``config.toml``, the default.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitdags.errors import GitdagsError, quoted, shown


class BadSetting(GitdagsError):
    """A setting that is unknown, of the wrong type or out of bounds."""

    exit_code = 2


def _boolean(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError("is neither true nor false")
    return known[text.lower()]


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("is no whole number")
    return int(text)


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 256:
        raise ValueError("is no number from 0 to 256")
    return int(text)


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise ValueError("is no number from 1 to 64")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("is no number of seconds") from None
    if not 0 <= value <= 86_400:
        raise ValueError("is no number of seconds from 0 to 86400")
    return value


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)\s*([KMG]?)i?B?", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError("is no size such as 512K, 64M or 1G")
    return int(found[1]) * _UNITS[found[2].upper()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _paths(text: str) -> tuple[str, ...]:
    found = _names(text)
    if any(not path.startswith("/") for path in found):
        raise ValueError("is no list of absolute paths")
    return tuple(os.path.normpath(path) for path in found)


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    try:
        return tuple(ipaddress.ip_network(name, strict=False) for name in _names(text))
    except ValueError:
        raise ValueError("is no list of addresses such as 127.0.0.1, 10.1.0.0/16") from None


def _origins(text: str) -> tuple[str, ...]:
    for origin in _names(text):
        if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", origin):
            raise ValueError("is no list of origins such as https://airflow.example:8080")
    return _names(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return text

    return parse


def _folder(text: str) -> str:
    parts = text.strip("/").split("/") if text.strip("/") not in ("", ".") else []
    if text.startswith("/") or ".." in parts:
        raise ValueError("is no folder inside the repository")
    return "/".join(p for p in parts if p != ".")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. ``project`` rows may stand in ``[tool.gitdags]``."""

    name: str
    default: str
    help: str
    parse: Callable[[str], Any] = str
    project: bool = False
    secret: bool = False
    """whether `gitdags config` says only that it is set"""

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return "GITDAGS_" + self.name.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting("home", "", "data directory; empty: $XDG_DATA_HOME/gitdags"),
    Setting("db", "", "SQLAlchemy URL of the store; empty: SQLite in the data directory"),
    Setting("python", "", "interpreter whose Airflow parses; empty: the one gitdags runs in"),
    Setting("jobs", "0", "DAG files parsed at once; 0: one per core", _jobs),
    Setting(
        "engine",
        "auto",
        "what parses: Airflow, and the recorder where it cannot (auto), or one of the two",
        _one_of("auto", "airflow", "recorder"),
    ),
    Setting("parse_timeout", "30", "seconds a DAG file may take to parse", _seconds),
    Setting("parse_memory", "4G", "address space of a parse, in bytes", _bytes),
    Setting("parse_output", "8M", "bytes a DAG file may print while it is parsed", _bytes),
    Setting("parse_result", "64M", "bytes of documents one DAG file may yield", _bytes),
    Setting("parse_disk", "256M", "bytes of temporary files a DAG file may write", _bytes),
    Setting("parse_processes", "128", "processes and threads a DAG file may have, in the sandbox", _count),
    Setting(
        "sandbox",
        "auto",
        "what confines DAG files: the best that is here (auto), full, landlock or off",
        _one_of("auto", "full", "landlock", "off"),
    ),
    Setting("sandbox_user", "nobody", "whom DAG files run as where gitdags runs as root"),
    Setting("sandbox_paths", "", "folders beside the environment that DAG files may read", _paths),
    Setting(
        "trusted_refs",
        "",
        "branches, or full names of refs, whose commits are trusted; empty: the default branch",
        _names,
    ),
    Setting(
        "secrets",
        "never",
        "which commits' files may read the secrets of the env file: never any, or trusted ones",
        _one_of("never", "trusted"),
    ),
    Setting("environments", "", "file of environments; empty: environments.toml beside config.toml"),
    Setting(
        "build_environments", "false", "build what trusted commits ask for, with uv", _boolean
    ),
    Setting("min_update_interval", "0", "seconds between two `index REF` of one moving ref", _seconds),
    Setting("min_fetch_interval", "10", "seconds until `load_dag` asks again what a ref means", _seconds),
    Setting("size_budget", "1M", "largest document that `check` passes", _bytes, project=True),
    Setting(
        "dags_folder", "dags", "folder of the DAG files in the repository", _folder, project=True
    ),
    Setting(
        "ignore_syntax",
        "auto",
        "how .airflowignore is read: as the parsing Airflow does (auto), glob or regexp",
        _one_of("auto", "glob", "regexp"),
        project=True,
    ),
    Setting(
        "safe_mode",
        "true",
        "skip files that never say airflow, and neither dag nor asset, as Airflow does",
        _boolean,
        project=True,
    ),
    Setting("plugins", "false", "load the repository's plugins for a parse", _boolean, project=True),
    Setting("plugins_folder", "plugins", "folder of the plugins", _folder, project=True),
    Setting("include", "", "document fields to show; empty: all", _names, project=True),
    Setting("exclude", "", "document fields not to show", _names, project=True),
    Setting(
        "json_library", "orjson", "what writes JSON that is shown", _one_of("orjson", "json")
    ),
    Setting("spool", "", "folder of stamps not yet in the store; empty: spool in the data directory"),
    Setting("rendered_runs", "30", "newest runs of a task whose rendered fields are kept", _count),
    Setting("airflow_name", "default", "name of this Airflow installation in stamps"),
    Setting(
        "listener",
        "auto",
        "whether the Airflow plugin stamps runs; auto: where a bundle of gitdags is configured",
        _one_of("auto", "on", "off"),
    ),
    Setting("image", "", "digest of the container image that tasks run in, for their stamps"),
    Setting("rendered", "false", "keep rendered template fields of tasks, secrets masked", _boolean),
    Setting("web_url", "", "where these pages are served, for links from Airflow to them"),
    Setting("stamps_url", "", "of a gitdags that takes this host's stamps; empty: drained here"),
    Setting("stamps_token", "", "token of scope stamp for stamps_url", secret=True),
    Setting("server", "", "a gitdags that is asked for commits which a mirror and its remote lack"),
    Setting("token", "", "token of scope read, for server and bundles with a url", secret=True),
    Setting("web_memory", "64M", "pages and drawings that `serve` keeps, in bytes", _bytes),
    Setting("web_threads", "8", "requests that `serve` answers at once", _threads),
    Setting("web_frames", "", "origins whose pages may show these in a frame: Airflow's", _origins),
    Setting("web_hosts", "", "names, beside localhost, that a server on loopback answers to", _names),
    Setting("web_proxies", "", "addresses of proxies whose user header is believed", _networks),
    Setting("web_user_header", "X-Forwarded-User", "header in which a proxy names the user"),
    Setting("web_groups_header", "X-Forwarded-Groups", "header with the user's groups, by commas"),
    Setting("web_readers", "", "who may read: sales=ada @finance, *=*; empty: who may enter"),
    Setting("airflow_web", "false", "pages inside Airflow's API server, below /gitdags", _boolean),
    Setting("webhook_secret_file", "", "file with the secret that webhooks are signed with"),
    Setting("airflow_api", "", "where Airflow's pages are, for `run`"),
    Setting("airflow_token", "", "bearer token for Airflow's own API", secret=True),
    Setting("tree_memory", "64M", "parsed trees kept in memory, in bytes", _bytes),
    Setting("mount_trees", "24M", "parsed trees a mount keeps in memory, in bytes", _bytes),
    Setting("mount_files", "16M", "files a mount keeps while they are read, in bytes", _bytes),
    Setting("mount_nodes", "32M", "what a mount remembers of files in use, in bytes", _bytes),
    Setting("mount_packs", "24M", "pack files a mount maps at a time, in bytes", _bytes),
    Setting("mount_spool", "4G", "disk for files larger than mount_files, in bytes", _bytes),
    Setting("mount_deadline", "5", "seconds a mount looks for what HEAD~3 means", _seconds),
)  # fmt: skip

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class Settings:
    """The values in force, by name, and where each came from."""

    def __init__(
        self,
        flags: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        project: Mapping[str, Any] | None = None,
        user: Mapping[str, Any] | None = None,
    ) -> None:
        self._flags, self._env = dict(flags or {}), dict(os.environ if env is None else env)
        self._project, self._user = dict(project or {}), dict(user or {})
        for name in self._flags:
            if name not in _BY_NAME:
                raise BadSetting(f"there is no setting {quoted(name)}", hint="gitdags config")

    def with_project(self, project: Mapping[str, Any]) -> Settings:
        """The same, with what a repository's own pyproject.toml says beneath flags and environment."""
        return Settings(self._flags, self._env, project, self._user)

    def origin(self, name: str) -> tuple[str, str]:
        """(text, source) of a setting; source is flag, environment, project, user or default."""
        setting = _BY_NAME[name]
        if name in self._flags:
            return self._flags[name], "flag"
        if self._env.get(setting.env):
            return self._env[setting.env], "environment"
        if setting.project and name in self._project:
            return _as_text(self._project[name]), "project"
        if name in self._user:
            return _as_text(self._user[name]), "user"
        return setting.default, "default"

    def __getitem__(self, name: str) -> Any:
        text, source = self.origin(name)
        try:
            return _BY_NAME[name].parse(text)
        except ValueError as error:
            where = _BY_NAME[name].env if source == "environment" else f"{source} setting {name}"
            raise BadSetting(f"{where}: {quoted(text)} {error}", hint="gitdags config") from None

    @property
    def home(self) -> Path:
        """The data directory; made when something is first written to it."""
        if self["home"]:
            return Path(self["home"]).expanduser().absolute()
        base = self._env.get("XDG_DATA_HOME") or "~/.local/share"
        return Path(base).expanduser().absolute() / "gitdags"

    @property
    def environments(self) -> Path:
        """The file of rules that say which interpreter parses which commits."""
        if self["environments"]:
            return Path(self["environments"]).expanduser().absolute()
        return user_file(self._env).with_name("environments.toml")

    @property
    def spool(self) -> Path:
        """Where processes of Airflow leave their stamps."""
        return Path(self["spool"]).expanduser().absolute() if self["spool"] else self.home / "spool"

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the store."""
        return self["db"] or f"sqlite:///{self.home / 'gitdags.db'}"


def load(flags: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Settings from flags, environment and the user's config.toml. Raises BadSetting."""
    env = os.environ if env is None else env
    return Settings(flags, env, None, _read_user(user_file(env)))


def user_file(env: Mapping[str, str]) -> Path:
    """Where the user's own settings are kept."""
    base = env.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "gitdags" / "config.toml"


def project_table(pyproject: bytes) -> dict[str, Any]:
    """``[tool.gitdags]`` of a pyproject.toml, project settings only; {} where it is unreadable.

    A commit cannot make gitdags fail by what it says about itself: a table that is no TOML, or
    names a setting that a repository may not set, is left out.
    """
    try:
        table = tomllib.loads(pyproject.decode()).get("tool", {}).get("gitdags", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError):
        return {}
    if not isinstance(table, dict):
        return {}
    allowed = {}
    for name, value in table.items():
        setting = _BY_NAME.get(name)
        if setting is None or not setting.project:
            continue
        try:
            setting.parse(_as_text(value))
        except ValueError:
            continue  # as above: the repository's mistake is not its reader's
        allowed[name] = value
    return allowed


def _read_user(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: {shown(str(error))}", hint=f"cat {path}") from None
    for name in table:
        if name not in _BY_NAME:
            raise BadSetting(f"{path}: there is no setting {quoted(name)}", hint="gitdags config")
    return table


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)
