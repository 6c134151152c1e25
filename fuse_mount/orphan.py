"""Notices the death of the process that looks after this one."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable


def watch(parent: int, then: Callable[[], None]) -> None:
    """Calls ``then``, once, from a thread of its own, when the parent process has ended."""
    try:
        process = os.pidfd_open(parent)
    except ProcessLookupError:
        process = None
    if os.getppid() != parent and process is not None:  # it had ended before; the id is another's
        os.close(process)
        process = None

    def wait() -> None:
        if process is not None:
            select.select([process], [], [])
            os.close(process)
        then()

    threading.Thread(target=wait, name="orphan", daemon=True).start()
