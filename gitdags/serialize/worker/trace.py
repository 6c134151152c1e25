"""Which repository files a parse read. Only a witness: the trusted side looks every path up itself."""

from __future__ import annotations

import os
import sys
from typing import Any


class Trace:
    """Records successful and failed opens below a folder through the interpreter's audit events.

    Imports are opens too, as no bytecode of the repository is ever used. An audit hook cannot be
    removed, so it is told to stop.
    """

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root) + os.sep
        self._seen: set[str] = set()
        self._active = True
        sys.addaudithook(self._hear)

    def stop(self) -> list[str]:
        """End the recording; the paths opened, relative to the folder, links resolved, sorted."""
        self._active = False
        found = set()
        for path in self._seen:
            try:
                found.add(os.path.realpath(path))
            except (OSError, ValueError):
                continue  # through a link that may not be read, or no path at all: not in the tree
        return sorted(p[len(self._root) :] for p in found if p.startswith(self._root))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not self._active:
            return
        path = arguments[0]
        if isinstance(path, (str, bytes)) or hasattr(path, "__fspath__"):
            self._seen.add(os.path.abspath(os.fsdecode(path)))
