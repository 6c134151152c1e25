"""What the recorder had to guess while one file was parsed, and what the file asked for in vain."""

from __future__ import annotations

MOST = 100
"""Lines kept of each kind; a file that needs more is told of the first ones."""

guesses: dict[str, None] = {}
placeholders: dict[str, None] = {}


def guess(text: str) -> None:
    """Something a document may be wrong in."""
    if len(guesses) < MOST:
        guesses[text[:200]] = None


def missing(kind: str, name: object) -> None:
    """A variable, connection or environment variable that is not there."""
    if len(placeholders) < MOST:
        placeholders[f"{kind} {name}"[:200]] = None


def keep() -> tuple[dict[str, None], dict[str, None]]:
    """What was noted so far, to be brought back."""
    return dict(guesses), dict(placeholders)


def bring_back(kept: tuple[dict[str, None], dict[str, None]]) -> None:
    """Forget what was noted since `keep`."""
    clear()
    guesses.update(kept[0])
    placeholders.update(kept[1])


def clear() -> None:
    """Begin a file."""
    guesses.clear()
    placeholders.clear()
