"""The base of every error a user may see. Each is defined beside its raiser, printed in one place."""

from __future__ import annotations

from collections.abc import Sequence


class GitdagsError(Exception):
    """A known fault: one line, a hint that can be run, an exit code and an HTTP status."""

    exit_code = 3
    http_status = 400

    def __init__(self, message: str, hint: str = "", near: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.near = tuple(near)
        """what may have been meant, best first: names, revisions or paths"""


class UsageError(GitdagsError):
    """The words of a command do not fit together."""

    exit_code = 2


def quoted(text: str | bytes, limit: int = 80) -> str:
    """The same between quotation marks."""
    return f"'{shown(text, limit)}'"


def shown(text: str | bytes, limit: int = 80) -> str:
    """What a user typed or a repository holds, fit for one line of an error message.

    Control characters and bidirectional marks are escaped; past ``limit`` characters it is cut.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
