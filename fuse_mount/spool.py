"""Files too large for memory, copied to disk by the git program, which streams them."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
from collections import OrderedDict

from fuse_mount.questions import NO_ANSWER, Answer, Question
from fuse_mount.repositories import Shelf

log = logging.getLogger("gitdags.mount")


class Spool:
    """Copies in unlinked files, the least recently read dropped past ``limit`` bytes of disk."""

    def __init__(self, shelf: Shelf, limit: int) -> None:
        self._shelf, self._limit = shelf, limit
        self._copies: OrderedDict[str, int] = OrderedDict()

    def ask(self, question: Question) -> Answer:
        """A descriptor of the blob's copy, or NO_ANSWER if it cannot be had."""
        oid = question.text
        found = self._copies.get(oid)
        if found is None:
            found = self._copy(self._shelf[question.repository].known.path, oid)
            if found is None:
                return NO_ANSWER
            self._copies[oid] = found
            self._trim()
        self._copies.move_to_end(oid)
        return found

    def _copy(self, path: str, oid: str) -> int | None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        with tempfile.TemporaryFile() as copy:
            done = subprocess.run(
                ["git", "-C", path, "cat-file", "blob", oid],
                stdin=subprocess.DEVNULL,
                stdout=copy,
                stderr=subprocess.PIPE,
                env=environment,
                check=False,
            )
            if done.returncode:
                log.error("%s: %s", oid, done.stderr.decode(errors="replace").strip())
                return None
            return os.dup(copy.fileno())

    def _trim(self) -> None:
        sizes = {oid: os.fstat(copy).st_size for oid, copy in self._copies.items()}
        while sum(sizes.values()) > self._limit and len(sizes) > 1:
            oid, copy = self._copies.popitem(last=False)
            del sizes[oid]
            os.close(copy)
