"""Which commits Airflow still holds on this host, read from the storage of its bundles.

Airflow removes ``versions/COMMIT`` of a bundle when it no longer needs that version, and keeps
``_tracking/BUNDLE/COMMIT`` while a task runs with it or has lately (airflow.dag_processing.bundles.base).
A depot remembers the bundles that take from it, so that it can be cleared without asking Airflow.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gitdags.model import is_sha

if TYPE_CHECKING:
    from gitdags.depot import Depot

CURRENT = "current"
"""The link in a bundle's storage to the tree that Airflow parses."""

_HOUR, _MONTH = 3_600.0, 30 * 86_400.0


def remember(depot: Depot, bundle: Path) -> None:
    """Note that the bundle whose storage is this folder takes trees from a depot."""
    name = hashlib.sha256(os.fsencode(bundle)).hexdigest()[:32]
    folder = depot.folder / "holders"
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{name}.{os.getpid()}"
        aside.write_bytes(os.fsencode(bundle))
        os.replace(aside, folder / name)


def held(bundle: Path) -> set[str]:
    """The commits that the bundle with this storage still holds."""
    found = set()
    for folder in (bundle / "versions", bundle.parent / "_tracking" / bundle.name):
        with contextlib.suppress(FileNotFoundError):
            found.update(os.listdir(folder))
    with contextlib.suppress(OSError):
        found.add(os.path.basename(os.readlink(bundle / CURRENT)))
    return {name for name in found if is_sha(name)}


def clear(depot: Depot, *, dry: bool = False) -> list[str]:
    """Remove from a depot the trees that no bundle holds; the commits. Raises DepotUnusable.

    While the storage of some bundle cannot be seen from here, only what nobody has asked for in 30
    days goes.
    """
    commits: set[str] = set()
    unused = _HOUR
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted((depot.folder / "holders").iterdir()):
            bundle = Path(os.fsdecode(entry.read_bytes()))
            if bundle.is_dir():
                commits |= held(bundle)
            else:
                unused = _MONTH
    return depot.gc(commits, unused=unused, dry=dry)
