"""A gitdags somewhere else, over HTTP: what a ref means there, a commit's files, taking stamps.

Standard library only: processes of Airflow import this. Redirects are not followed, so that the token
goes to the host it is for.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from gitdags.errors import GitdagsError, shown

_SECONDS = 30.0  # that a server may be silent


class Unreachable(GitdagsError):
    """The other gitdags does not answer, or not with what was asked for."""

    http_status = 502


class Refused(Unreachable):
    """It answered, and said no. ``status``: of HTTP."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.status = status


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Leave the answer as it is: an error."""


class Remote:
    """The API of a `gitdags serve` at ``url``. Any thread may use it."""

    def __init__(self, url: str, token: str = "") -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise Unreachable(f"{shown(url)} is no http or https URL", hint="gitdags serve")
        self.url, self._token = url.rstrip("/"), token
        self._opener = urllib.request.build_opener(_NoRedirect)

    def resolve(self, repo: str, rev: str) -> tuple[str, str | None]:
        """(commit, full name of the ref where the answer has it). Raises Unreachable."""
        with self._ask(f"repos/{quote(repo, safe='')}/resolve?{urlencode({'rev': rev})}") as answer:
            try:
                data = json.load(answer)
                return str(data["commit"]), data.get("ref")
            except (ValueError, KeyError, TypeError, AttributeError):
                raise Unreachable(f"{self.url} gave no commit for {shown(rev)}") from None

    def archive(self, repo: str, commit: str) -> IO[bytes]:
        """The commit's tree as a compressed tar, to be read once and closed. Raises Unreachable."""
        return self._ask(f"repos/{quote(repo, safe='')}/archive/{commit}")

    def post(self, records: Sequence[Mapping[str, Any]], *, seconds: float = _SECONDS) -> None:
        """Hand over records, which it may have already. Raises Unreachable."""
        body = json.dumps(list(records), default=str).encode()
        with self._ask("stamps", body, seconds):
            pass

    def _ask(self, what: str, body: bytes | None = None, seconds: float = _SECONDS) -> IO[bytes]:
        request = urllib.request.Request(f"{self.url}/api/v1/{what}", data=body)  # noqa: S310 - checked above
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            answer: IO[bytes] = self._opener.open(request, timeout=seconds)
            return answer
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(
                    error.code,
                    f"{self.url} answered {error.code} to {what.partition('?')[0]}: {_said(error)}",
                    "gitdags token create"
                    if error.code in (401, 403)
                    else f"curl -i {self.url}/healthz",
                ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(
                f"{self.url} cannot be reached: {shown(str(reason))}",
                hint=f"curl -i {self.url}/healthz",
            ) from None


def _said(error: urllib.error.HTTPError) -> str:
    """What a problem document (RFC 9457) says, or the first words of anything else."""
    text = error.read(4_096).decode("utf-8", "replace")
    try:
        data = json.loads(text)
        text = data.get("detail") or data.get("title") or text
    except (ValueError, AttributeError):
        pass
    return shown(text.strip() or str(error.reason), 200)
