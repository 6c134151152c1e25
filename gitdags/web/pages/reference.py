"""The API's reference: its OpenAPI document as a page, without anybody else's script."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gitdags.web.answers import HTML, send
from gitdags.web.pages.place import render
from gitdags.web.views import view

_METHODS = ("get", "post")


def docs(request: Request) -> Response:
    """Every operation, with its parameters and answers."""
    with view(request):  # for those who may read anything here
        schema = request.app.openapi()
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, item in schema["paths"].items():
        for method in _METHODS:
            if method in item:
                operation = item[method]
                tag = (operation.get("tags") or ["other"])[0]
                groups.setdefault(tag, []).append({"path": path, "method": method, **operation})
    body = render("docs.html", request, schema=schema, groups=groups)
    return send(request, body.encode(), HTML)
