"""From a request to its view; the one thing that every handler begins with."""

from __future__ import annotations

from contextlib import AbstractContextManager

from starlette.requests import Request

from gitdags.web.site import Site, View


def site_of(request: Request) -> Site:
    """What the application holds."""
    site: Site = request.app.state.site
    return site


def view(request: Request, *, reads: bool = True) -> AbstractContextManager[View]:
    """What a request sees. Raises Misdirected, Unauthorized or Forbidden."""
    return site_of(request).view(request, reads=reads)
