"""Who last changed each line of a file, by the git program: libgit2 is slow at it on long histories."""

from __future__ import annotations

import re
from pathlib import Path

from gitdags import program

_HEAD = re.compile(rb"([0-9a-f]{40}) \d+ (\d+)(?: \d+)?")


def lines(repository: Path | str, commit: str, path: bytes) -> list[str]:
    """The id of the commit that each line comes from; ``commit`` is a full id. Raises GitFailed.

    Without the settings of the repository's owner that would hide commits.
    """
    words = ("-c", "blame.ignoreRevsFile=", "blame", "--porcelain", "--no-textconv", commit, "--")
    told = program.run(repository, *words, path.decode("utf-8", "surrogateescape"))
    found: dict[int, str] = {}
    for line in told.split(b"\n"):
        head = _HEAD.fullmatch(line)
        if head is not None:
            found[int(head[2])] = head[1].decode()
    return [found[number] for number in sorted(found)]
