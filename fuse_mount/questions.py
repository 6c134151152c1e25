"""Questions whose answers may take longer than the thread that serves a mount may wait.

The file system raises `Pending`; whoever carries it gets the answer elsewhere, then asks the file
system the same thing again with the answer at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Topic = Literal["repositories", "commit", "holder", "content"]
TOPICS: tuple[Topic, ...] = get_args(Topic)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be found out."""

    topic: Topic
    repository: str = ""
    """its name"""
    text: str = ""
    """a revision expression, a commit's or a blob's id"""


class Pending(Exception):
    """The answer to a question is needed first."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


NO_ANSWER = object()
"""Said when the time for an answer ran out."""

Answer = object
"""``repositories``: a sequence of MountedRepository. ``commit``: a full SHA, or None. ``holder``: the
name of a repository that has the commit, or None. ``content``: an open descriptor of a file with
the blob's bytes."""
