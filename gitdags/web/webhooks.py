"""Webhooks of GitHub, GitLab and Gitea: each means «go and fetch», once it is known who sent it.

A signature covers the body and, of some senders, a time; never more is believed than that. What was
fetched is what counts: a forged or replayed call can at most make the mirror be asked again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from gitdags.errors import GitdagsError, quoted
from gitdags.model import Json, RegisteredRepository
from gitdags.registry import UnknownRepository
from gitdags.web import schemas
from gitdags.web.answers import JSON, NO_STORE, as_json, send
from gitdags.web.intake import MOST_BYTES, read
from gitdags.web.site import Site
from gitdags.web.views import site_of

log = logging.getLogger("gitdags.web")
router = APIRouter(prefix="/api/v1", responses=schemas.PROBLEMS)

Sender = Literal["github", "gitlab", "gitea"]
_LATE = timedelta(minutes=5)
"""How far a signed time may be off: standardwebhooks.com, "Webhook timestamps"."""
_KEPT = timedelta(days=30)
"""For which a delivery is remembered."""


class BadSignature(GitdagsError):
    """A webhook that is not signed with our secret."""

    http_status = 401


class Replayed(GitdagsError):
    """A webhook that was taken in before."""

    http_status = 409


class NoSecret(GitdagsError):
    """Nothing is known that webhooks could be signed with."""

    http_status = 403


class NotAHook(GitdagsError):
    """A body, or headers, that no sender sends."""

    http_status = 422


# ── who sent it ───────────────────────────────────────────────────────────────────────────


def verify(sender: Sender, headers: Mapping[str, str], body: bytes, secret: bytes) -> str:
    """The id of a delivery that is signed with the secret. Raises BadSignature or NotAHook.

    Every comparison takes the same time whatever was sent.
    """
    if sender == "github":
        given = headers.get("x-hub-signature-256", "").removeprefix("sha256=")
        _same(given, hmac.new(secret, body, hashlib.sha256).hexdigest())
        return _delivery(headers, "x-github-delivery")
    if sender == "gitea":
        _same(
            headers.get("x-gitea-signature", ""), hmac.new(secret, body, hashlib.sha256).hexdigest()
        )
        return _delivery(headers, "x-gitea-delivery")
    if "webhook-signature" in headers:
        return _standard(headers, body, secret)
    _same(headers.get("x-gitlab-token", ""), secret.decode("utf-8", "replace"))
    return _delivery(headers, "x-gitlab-event-uuid", "idempotency-key")


def _standard(headers: Mapping[str, str], body: bytes, secret: bytes) -> str:
    """As standardwebhooks.com has it: id, time and body are signed together."""
    ident = _delivery(headers, "webhook-id")
    at = headers.get("webhook-timestamp", "")
    if not at.isascii() or not at.isdecimal() or len(at) > 11:
        raise NotAHook("webhook-timestamp is no time")
    text = secret.decode("utf-8", "replace")
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = secret
    signed = hmac.new(key, f"{ident}.{at}.".encode() + body, hashlib.sha256).digest()
    wanted = base64.b64encode(signed).decode()
    given = [part.removeprefix("v1,") for part in headers["webhook-signature"].split(" ")[:10]]
    known = [hmac.compare_digest(one.encode(), wanted.encode()) for one in given]
    if not any(known):
        raise _bad()
    if abs(datetime.fromtimestamp(int(at), UTC) - datetime.now(UTC)) > _LATE:
        raise BadSignature("the signed time is more than five minutes off", hint="date -u")
    return ident


def _same(given: str, wanted: str) -> None:
    if not given or not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
        raise _bad()


def _bad() -> BadSignature:
    return BadSignature(
        "the signature is not one of our secret's", hint="gitdags config webhook_secret_file"
    )


def _delivery(headers: Mapping[str, str], *names: str) -> str:
    for name in names:
        found = headers.get(name, "")
        if 0 < len(found) <= 200 and found.isprintable():
            return found
    raise NotAHook(f"there is no {names[0]} in the headers")


def secret_of(site: Site) -> bytes:
    """What webhooks are signed with. Raises NoSecret."""
    file = site.settings["webhook_secret_file"]
    try:
        secret = Path(file).expanduser().read_bytes().strip() if file else b""
    except OSError as error:
        raise NoSecret(f"webhook_secret_file: {error.strerror}", hint=f"ls -l {file}") from None
    if not secret:
        raise NoSecret(
            "no secret for webhooks is set",
            hint="gitdags -c webhook_secret_file=/etc/gitdags/webhook serve",
        )
    return secret


# ── what it is about ──────────────────────────────────────────────────────────────────────


def meant(payload: Json, known: list[RegisteredRepository]) -> RegisteredRepository:
    """The registered mirror of the repository a payload speaks of. Raises UnknownRepository."""
    told = set(_addresses(payload))
    for repo in known:
        if repo.url is not None and _plain(repo.url) in told:
            return repo
    raise UnknownRepository(
        "no repository is mirrored from where this webhook comes from", hint="gitdags repos"
    )


def _addresses(payload: Json) -> Iterator[str]:
    """Where the repository is said to be, in every form a sender has for it."""
    for part in ("repository", "project"):
        about = payload.get(part) if isinstance(payload, dict) else None
        for name, value in about.items() if isinstance(about, dict) else ():
            if isinstance(value, str) and "url" in name and "/" in value:
                yield _plain(value)


def _plain(url: str) -> str:
    """``host/path`` of an address, however it is written."""
    found = re.sub(r"^[a-z+]+://", "", url.strip(), flags=re.IGNORECASE)
    found = re.sub(r"^[^@/]*@", "", found)
    found = re.sub(r"^([^/:]+):(?!\d+/)", r"\1/", found)  # as scp writes it
    host, _, rest = found.partition("/")
    return f"{host.partition(':')[0].lower()}/{rest.strip('/').removesuffix('.git')}"


def sender_of(payload: Json) -> str:
    """The name of whoever pushed, as the payload has it."""
    for names in (("pusher", "name"), ("pusher", "login"), ("user_username",), ("sender", "login")):
        value: Json = payload
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            return value[:200]
    return "webhook"


# ── taking it in ──────────────────────────────────────────────────────────────────────────


@router.post(
    "/hooks/{sender}", response_model=schemas.Accepted, status_code=202, tags=["webhooks"],
    responses={409: schemas.PROBLEMS[400], 413: schemas.PROBLEMS[400]},
)  # fmt: skip
async def hook(
    request: Request, sender: Annotated[Sender, InPath(description="who sends it")]
) -> Response:
    """Fetch the repository that the payload speaks of, record what moved, and index it."""
    body = await read(request, MOST_BYTES)
    return await run_in_threadpool(_take, request, sender, body, None)


@router.post(
    "/repos/{repo:segment}/hooks/{sender}", response_model=schemas.Accepted, status_code=202,
    tags=["webhooks"], responses={409: schemas.PROBLEMS[400], 413: schemas.PROBLEMS[400]},
)  # fmt: skip
async def hook_of(
    request: Request,
    repo: Annotated[str, InPath(max_length=63)],
    sender: Annotated[Sender, InPath(description="who sends it")],
) -> Response:
    """The same for a repository that is named, whatever the payload calls it."""
    body = await read(request, MOST_BYTES)
    return await run_in_threadpool(_take, request, sender, body, repo)


def _take(request: Request, sender: Sender, body: bytes, name: str | None) -> Response:
    site = site_of(request)
    try:
        delivery = verify(sender, request.headers, body, secret_of(site))
        payload = _payload(request, body)
        with site.catalogs.lend() as catalog:
            if name is not None:
                repo = catalog.repository(name)
            else:
                repo = meant(payload, catalog.repositories())
            # The id is not signed by all of them; the body is.
            digest = hashlib.sha256(body).hexdigest()
            catalog.forget_deliveries(datetime.now(UTC) - _KEPT)
            if not (
                catalog.first_delivery(sender, f"id {delivery}")
                and catalog.first_delivery(sender, f"body {digest}")
            ):
                raise Replayed("this delivery was taken in before", hint="gitdags fetch")
    except GitdagsError as error:
        with site.lock:
            site.refused_hooks += 1
        told = {
            "sender": sender,
            "error": error.message,
            "request_id": request.scope.get("request_id"),
        }
        log.warning("webhook refused", extra=told)
        raise
    site.fetcher.ask(repo.name, sender_of(payload))
    return send(request, as_json({"accepted": 1}), JSON, keep=NO_STORE, status=202)


def _payload(request: Request, body: bytes) -> Json:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NotAHook(
            f"the body is no JSON but {quoted(request.headers.get('content-type', 'nothing'))}: "
            "set the webhook's content type to application/json"
        ) from None
    if not isinstance(payload, dict):
        raise NotAHook("the body is no JSON object")
    return payload
