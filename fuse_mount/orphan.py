"""Notices the death of the process that looks after this one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def watch(lifeline: int, then: Callable[[], None]) -> None:
    """Calls ``then``, once, from a thread of its own, when nobody holds a pipe's other end any more.

    ``lifeline`` is the end to read from; nothing is ever written to it.
    """

    def wait() -> None:
        os.read(lifeline, 1)
        then()

    threading.Thread(target=wait, name="orphan", daemon=True).start()
