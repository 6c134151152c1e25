"""Text of a repository, fit for a page: what would be invisible or turn other text around is shown."""

from __future__ import annotations

import re
import unicodedata
from html import escape

# Controls but tab and line feed; marks that turn the direction of text around (UAX #9); surrogates,
# which stand for bytes that are no UTF-8.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """The same with such characters as ``\\u202e``."""
    return _HIDDEN.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # PEP 383: a byte that was no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def escaped(text: str) -> str:
    """Visible, and safe inside markup and attributes."""
    return escape(visible(text), quote=True)


# Advance widths in thousandths of the size, a little over those of common sans-serif fonts.
_WIDTHS = {
    **dict.fromkeys("ijl.,:;'|!", 320),
    **dict.fromkeys("ft()[]{}/\\-r ", 420),
    **dict.fromkeys("sczxkvy_", 580),
    **dict.fromkeys("mwMW@%", 980),
    **dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ", 740),
}


def width(text: str, size: float) -> float:
    """About how many pixels wide a line is, in a sans-serif font of that size."""
    total = 0
    for character in text:
        known = _WIDTHS.get(character)
        if known is None:
            wide = unicodedata.east_asian_width(character) in ("W", "F")
            known = 1_050 if wide else 640
        total += known
    return total * size / 1_000


def fitted(text: str, size: float, room: float) -> str:
    """The text, cut in its middle where it is wider than there is room: both ends tell most."""
    if width(text, size) <= room:
        return text
    head, tail = text[: len(text) // 2], text[len(text) // 2 :]
    while head and tail and width(head + "…" + tail, size) > room:
        if len(head) >= len(tail):
            head = head[:-1]
        else:
            tail = tail[1:]
    return head + "…" + tail
