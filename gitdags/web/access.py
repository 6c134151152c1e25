"""Who asks, and what they may. Decides; never renders, never opens a repository.

Bound to a loopback address, reading needs nothing. On any other, a reader is a token or a user named
by a proxy that settings list. Writing always needs a token (webhooks: a signature). Read rules per
repository hold for whoever reads, and are asked by everything that shows a repository.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gitdags.config import Settings
from gitdags.errors import GitdagsError, quoted
from gitdags.model import Token

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Unauthorized(GitdagsError):
    """Nobody that is known asks."""

    http_status = 401


class Forbidden(GitdagsError):
    """Whoever asks may not do that."""

    http_status = 403


class Misdirected(GitdagsError):
    """A request that names another host than this server: a web page may have sent it here."""

    http_status = 421


class BadRule(GitdagsError):
    """The setting of who may read is malformed."""

    exit_code = 2


class OpenToAll(GitdagsError):
    """A server that anybody could reach, and nothing that tells who may read."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    name: str | None = None
    """None: nobody known"""
    groups: frozenset[str] = frozenset()
    token: Token | None = None

    @property
    def known(self) -> bool:
        """Whether it is somebody."""
        return self.name is not None


ANYBODY = "*"
Rules = Mapping[str, frozenset[str]]
"""repository, or ``*`` for those without a rule -> users, ``@groups`` and ``*`` that may read it"""


def parse_rules(text: str) -> Rules:
    """``sales=ada @finance, *=*`` as rules. Raises BadRule."""
    rules = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, who = part.partition("=")
        if not equals or not name.strip():
            raise BadRule(
                f"web_readers: {quoted(part)} is not REPOSITORY=USER @GROUP …",
                hint="gitdags -c 'web_readers=sales=ada @finance, *=*' serve",
            )
        rules[name.strip()] = frozenset(who.split())
    return rules


@dataclass(frozen=True)
class Access:
    """The rules of one server. ``local``: it is bound to a loopback address."""

    local: bool = True
    free: bool = False
    """``--no-auth``: whoever reaches it may read"""
    proxies: tuple[Network, ...] = ()
    user_header: str = "x-forwarded-user"
    groups_header: str = "x-forwarded-groups"
    rules: Rules = field(default_factory=dict)
    per_dag: bool = False
    """whether what may be seen differs from asker to asker below a repository"""
    hosts: frozenset[str] = frozenset()
    """names it answers to beside the loopback ones"""

    @classmethod
    def of(cls, settings: Settings, *, local: bool, free: bool = False) -> Access:
        """As settings say. Raises BadSetting or BadRule."""
        return cls(
            local,
            free,
            settings["web_proxies"],
            settings["web_user_header"].lower(),
            settings["web_groups_header"].lower(),
            parse_rules(settings["web_readers"]),
            hosts=frozenset(name.lower() for name in settings["web_hosts"]),
        )

    # ── who ───────────────────────────────────────────────────────────────────────────────

    def principal(self, request: Any, find: Callable[[str], Token | None]) -> Principal:
        """Who sent a Starlette request. Raises Unauthorized for a token that is none.

        A token comes as ``Authorization: Bearer``, or as the password of Basic, which browsers ask for.
        """
        given = request.headers.get("authorization")
        if given is not None:
            words = _token_of(given)
            token = find(words) if words else None
            if token is None:
                raise Unauthorized(
                    "the token is unknown, ended or revoked", hint="gitdags token list"
                )
            return Principal(token.name, frozenset(), token)
        peer = request.client.host if request.client else ""
        if self.proxies and self.is_proxy(peer):
            user = request.headers.get(self.user_header, "").strip()
            groups = request.headers.get(self.groups_header, "")
            if user:
                return Principal(user, frozenset(g.strip() for g in groups.split(",") if g.strip()))
        return Principal()

    def is_proxy(self, peer: str) -> bool:
        """Whether what that address says of users is believed."""
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.proxies)

    def check_host(self, request: Any) -> None:
        """Raises Misdirected where a page of another site made a browser ask this server.

        Only a server that asks for no name needs it: its loopback address is within reach of every
        page that a local browser shows, under whatever name that page's site resolves to it.
        """
        peer = request.client.host if request.client else ""
        if not self.local or self.free or self.is_proxy(peer):
            return
        host = request.headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.strip("[]").lower()
        if name in self.hosts or name == "localhost" or name.endswith(".localhost"):
            return
        try:
            if ipaddress.ip_address(name).is_loopback:
                return
        except ValueError:
            pass  # a name, and none of ours
        raise Misdirected(
            f"this server does not answer to {quoted(name)}",
            hint=f"gitdags -c web_hosts={name} serve",
        )

    # ── what ──────────────────────────────────────────────────────────────────────────────

    def require_reader(self, who: Principal) -> None:
        """Raises Unauthorized or Forbidden unless it may read anything here."""
        if who.token is not None and who.token.scope == "stamp":
            raise Forbidden(
                "this token is for stamps only", hint="gitdags token create --scope read"
            )
        if not (self.local or self.free or who.known or self._anybody_reads):
            raise Unauthorized("this server wants a token", hint="gitdags token create")

    @cached_property
    def _anybody_reads(self) -> bool:
        return any(ANYBODY in who for who in self.rules.values())

    def require_writer(self, who: Principal, repo: str | None = None) -> Token:
        """The token to add stamps with. Raises Unauthorized or Forbidden."""
        if who.token is None:
            raise Unauthorized("writing wants a token", hint="gitdags token create --scope stamp")
        if who.token.scope == "read":
            raise Forbidden(
                "this token is for reading only", hint="gitdags token create --scope stamp"
            )
        if who.token.repository not in (None, repo):
            raise Forbidden(
                f"this token is for {who.token.repository} only", hint="gitdags token list"
            )
        return who.token

    def may_read(self, who: Principal, repo: str) -> bool:
        """Whether it may see a repository, and that there is one."""
        if who.token is not None:
            if who.token.repository not in (None, repo):
                return False
            if who.token.scope == "admin":
                return True
        allowed = self.rules.get(repo, self.rules.get(ANYBODY))
        if allowed is None:
            return self.local or self.free or who.known
        if ANYBODY in allowed or (who.name is not None and who.name in allowed):
            return True
        return any(f"@{group}" in allowed for group in who.groups)

    def may_read_dag(self, who: Principal, repo: str, dag_id: str) -> bool:
        """Whether it may see one DAG of a repository it may read. Here: always."""
        return True

    def may_read_files(self, who: Principal, repo: str) -> bool:
        """Whether it may see every file of a repository it may read. Here: always."""
        return True

    def may_parse(self, request: Any, who: Principal) -> bool:
        """Whether its asking may start a parse: nobody unknown from elsewhere, no page of another site."""
        if request.headers.get("sec-fetch-site", "none") == "cross-site":
            return False
        return self.local or who.known


def is_loopback(host: str) -> bool:
    """Whether an address to bind to is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token_of(header: str) -> str:
    kind, _, words = header.partition(" ")
    if kind.lower() == "bearer":
        return words.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(words, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def refuse_open(access: Access, tokens: bool, host: str) -> None:
    """Raises OpenToAll where others would reach the server, and nothing tells who of them may read."""
    if access.local or access.free or tokens or access.proxies:
        return
    raise OpenToAll(
        f"{host} is reached by others, and nobody has a token: make one, or say --no-auth",
        hint="gitdags token create --scope read",
    )
