"""Colours that operators ask for: believed only when they are colours, and made legible. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

_HEX = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
# The named colours that Airflow and its providers use; any other name is taken for none.
_NAMES = {
    "aliceblue": "#f0f8ff", "azure": "#f0ffff", "beige": "#f5f5dc", "black": "#000000", "blue": "#0000ff",
    "brown": "#a52a2a", "cornflowerblue": "#6495ed", "cyan": "#00ffff", "darkgreen": "#006400",
    "gold": "#ffd700", "gray": "#808080", "green": "#008000", "grey": "#808080", "ivory": "#fffff0",
    "lavender": "#e6e6fa", "lightblue": "#add8e6", "lightgray": "#d3d3d3", "lightgreen": "#90ee90",
    "lightgrey": "#d3d3d3", "lightpink": "#ffb6c1", "lightsteelblue": "#b0c4de", "lightyellow": "#ffffe0",
    "lime": "#00ff00", "magenta": "#ff00ff", "maroon": "#800000", "navy": "#000080", "olive": "#808000",
    "orange": "#ffa500", "orchid": "#da70d6", "pink": "#ffc0cb", "plum": "#dda0dd", "purple": "#800080",
    "red": "#ff0000", "salmon": "#fa8072", "silver": "#c0c0c0", "skyblue": "#87ceeb", "tan": "#d2b48c",
    "teal": "#008080", "turquoise": "#40e0d0", "violet": "#ee82ee", "white": "#ffffff",
    "yellow": "#ffff00",
}  # fmt: skip
PLAIN, DARK, LIGHT = "#f1f3f5", "#1b1f24", "#ffffff"
_LEGIBLE = 4.5
"""Contrast of small text: WCAG 2.2, 1.4.3."""


@lru_cache(maxsize=2_000)
def known(text: str) -> str | None:
    """``#rrggbb`` of a colour as CSS writes it, or None."""
    found = _HEX.fullmatch(text.strip())
    if found is None:
        return _NAMES.get(text.strip().lower())
    digits = found[1].lower()
    return "#" + (digits if len(digits) == 6 else "".join(c + c for c in digits))


@lru_cache(maxsize=2_000)
def pair(fill: str, ink: str) -> tuple[str, str]:
    """(fill, ink) as asked for, where they are colours; the ink another where it cannot be read."""
    ground = known(fill or "") or PLAIN
    if ground == "#ffffff" or ground == "#fff":
        ground = PLAIN  # Airflow's own default says nothing, and a box should be seen
    wanted = known(ink or "") or DARK
    if wanted == "#000000":
        wanted = DARK
    if contrast(ground, wanted) >= _LEGIBLE:
        return ground, wanted
    # One of black and white is always legible; ours are used where they are.
    inks = (DARK, LIGHT, "#000000")
    return ground, next((c for c in inks if contrast(ground, c) >= _LEGIBLE), DARK)


def contrast(a: str, b: str) -> float:
    """1 to 21, by WCAG 2.2's relative luminance."""
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = []
    for at in (1, 3, 5):
        value = int(colour[at : at + 2], 16) / 255
        parts.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
