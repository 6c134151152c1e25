"""What stands around every answer: a request id, headers that bind a browser, one line in the log.

Plain ASGI, outermost.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gitdags.web.metrics import Metrics
from gitdags.web.routing import part_slashes

log = logging.getLogger("gitdags.web")

# Nothing inline, nothing from elsewhere, nobody's frame but this site's own, and those in web_frames.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Frame:
    """Wraps an application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, frames: Sequence[str] = ()) -> None:
        self._app, self._metrics = app, metrics
        self._policy = b" ".join((_POLICY, *(origin.encode() for origin in frames)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = dict(scope)  # the server goes on to read its own
        began = time.perf_counter()
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        ident = given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)
        scope["request_id"] = ident
        told: dict[str, Any] = {"status": 0, "bytes": 0}

        async def out(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                headers = list(message.get("headers", ()))
                names = {name for name, _ in headers}
                headers += [(n, v) for n, v in _HEADERS if n not in names]
                if b"content-security-policy" not in names:
                    headers.append((b"content-security-policy", self._policy))
                headers.append((b"x-request-id", ident.encode()))
                message["headers"] = headers
            elif message["type"] == "http.response.body":
                told["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            if not part_slashes(scope):
                await _refuse(out)
                return
            await self._app(scope, receive, out)
        finally:
            seconds = time.perf_counter() - began
            self._note(scope, told, seconds)

    def _note(self, scope: Scope, told: dict[str, Any], seconds: float) -> None:
        route = scope.get("route")
        name = getattr(route, "path", "") or "none"
        self._metrics.answered(name, scope["method"], told["status"], seconds)
        if log.isEnabledFor(logging.INFO):
            raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
            query = scope.get("query_string", b"")
            client = scope.get("client")
            log.info(
                "request",
                extra={
                    "request_id": scope["request_id"],
                    "method": scope["method"],
                    "path": raw.decode("latin-1")
                    + ("?" + query.decode("latin-1") if query else ""),
                    "status": told["status"],
                    "bytes": told["bytes"],
                    "ms": round(seconds * 1_000, 1),
                    "peer": client[0] if client else None,
                    "who": scope.get("who"),
                },
            )


async def _refuse(send: Send) -> None:
    body = b"a path holds no NUL\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
