"""HTTP answers: entity tags, packing, how long each may be kept, problem documents. No questions.

What Git alone determines at a full commit id, and what is addressed by its hash, is `IMMUTABLE`. All
else is asked for again each time, cheaply: its tag is made of what the answer depends on, so that an
unchanged page is neither rendered nor sent.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gitdags import __version__
from gitdags.errors import GitdagsError
from gitdags.model import Json
from gitdags.web.assets import assets
from gitdags.web.cache import Cache

HTML, JSON, SVG = "text/html; charset=utf-8", "application/json", "image/svg+xml"
PROBLEM, TEXT = "application/problem+json", "text/plain; charset=utf-8"
IMMUTABLE, REVALIDATE, NO_STORE = "max-age=31536000, immutable", "no-cache", "no-store"
_WORTH_PACKING = 860  # bytes; less fits one packet either way
RETRY = 2
"""Seconds after which an answer that is being made may be asked for again."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body as it is kept: packed where that is worth it, as nearly every browser takes it so."""

    data: bytes
    packed: bool = False

    @property
    def body(self) -> bytes:
        """As it was given."""
        return gzip.decompress(self.data) if self.packed else self.data


def rendered(body: bytes, level: int = 4) -> Rendered:
    """A body, packed where that is worth it."""
    if len(body) < _WORTH_PACKING:
        return Rendered(body)
    return Rendered(gzip.compress(body, level, mtime=0), packed=True)


def weight(one: Rendered) -> int:
    """Bytes it takes in a cache."""
    return len(one.data)


class Passing(bytes):
    """A body that says less than the next one will: neither kept nor tagged."""


class Pages(Cache[Rendered]):
    """Bodies by what they depend on."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, weight)


def tag_of(*parts: Any) -> str:
    """An entity tag of what an answer depends on, this version of gitdags and its assets included."""
    told = repr((__version__, _build(), parts)).encode("utf-8", "surrogatepass")
    return f'"{hashlib.sha256(told).hexdigest()[:32]}"'


def _build() -> str:
    return "".join(asset.tag for asset in assets().values())


def matches(request: Request, tag: str) -> bool:
    """Whether the asker has the answer of that tag already."""
    known = request.headers.get("if-none-match")
    if known is None:
        return False
    return known.strip() == "*" or tag in [t.strip().removeprefix("W/") for t in known.split(",")]


def send(
    request: Request,
    make: Callable[[], bytes] | bytes,
    kind: str,
    *,
    depends: tuple[Any, ...] | None = None,
    cache: Pages | None = None,
    keep: str = REVALIDATE,
    commit: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer. ``depends`` is all it is a function of: known, it makes tag and cache key.

    Without ``depends`` the tag is that of the body. ``commit`` goes along as X-Git-Commit.
    """
    told = dict(headers or {})
    told["cache-control"] = keep
    told["vary"] = "accept-encoding, authorization"
    if commit is not None:
        told["x-git-commit"] = commit
    tag = None
    if depends is not None:
        tag = told["etag"] = tag_of(kind, depends)
        if status == 200 and matches(request, tag):
            return Response(status_code=304, headers=told)
    found = cache.get(tag) if cache is not None and tag is not None else None
    if found is None:
        body = make if isinstance(make, bytes) else make()
        if tag is None and status == 200 and keep != NO_STORE:
            tag = told["etag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            if matches(request, tag):
                return Response(status_code=304, headers=told)
        found = rendered(body)
        if isinstance(body, Passing):
            told.pop("etag", None)
            told["cache-control"] = NO_STORE
        elif cache is not None and tag is not None and status == 200:
            cache.put(tag, found)
    if found.packed and "gzip" in request.headers.get("accept-encoding", ""):
        told["content-encoding"] = "gzip"
        return Response(found.data, status, told, kind)
    return Response(found.body, status, told, kind)


def as_json(value: Json) -> bytes:
    """A JSON value as text. Lone surrogates, which no JSON text holds, are replaced."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_clean(value))


def _clean(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(_clean(k)): _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value


def problem(request: Request, error: GitdagsError, **more: Json) -> Response:
    """An error as a problem document (RFC 9457): what, why, what may have been meant, what to do."""
    status = HTTPStatus(error.http_status)
    told = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": error.message,
        "hint": error.hint,
        "near": list(error.near),
        "request_id": request.scope.get("request_id", ""),
        **more,
    }
    return Response(as_json(told), int(status), error_headers(error), PROBLEM)


def error_headers(error: GitdagsError) -> dict[str, str]:
    """What goes along with an error, whatever form it has."""
    told = {"cache-control": NO_STORE}
    if error.http_status == 401:
        told["www-authenticate"] = 'Basic realm="gitdags", charset="UTF-8"'
    if error.http_status in (429, 503):
        told["retry-after"] = str(RETRY)
    return told
