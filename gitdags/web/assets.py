"""Files of our own that a browser asks for: read once, packed once, cached by their hash."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    packed: bytes
    kind: str
    """media type"""
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """name -> file."""
    found = {}
    for path in sorted(_FOLDER.iterdir()):
        body = path.read_bytes()
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        packed = gzip.compress(body, 9, mtime=0)
        found[path.name] = Asset(body, packed, kind, hashlib.sha256(body).hexdigest()[:16])
    return found


def version(name: str) -> str:
    """What stands behind the name in an address."""
    return assets()[name].tag
