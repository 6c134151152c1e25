"""A process of its own for questions that may take long: which repositories, which commit, whose.

It holds what the server must not: the catalog's libraries in its memory, walks through a hundred
thousand commits, a database that is locked. It ends itself when an answer takes too long, or when
nobody has asked for a while; the supervisor starts the next one.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from fuse_mount.questions import NO_ANSWER, Answer, Question
from fuse_mount.repositories import MountedRepository
from gitdags.errors import GitdagsError
from gitdags.git import Repository, resolve
from gitdags.model import Move

log = logging.getLogger("gitdags.mount")

Repositories = Callable[[], Sequence[MountedRepository]]
Moves = Callable[[str, str], Sequence[Move]]
"""Repository name, full ref name -> the ref's recorded deployments."""

DEADLINE = 5.0
"""Seconds one answer may take. 100,000 first parents take about two."""
_BRIEFLY = 0.3  # seconds
_GRACE = 0.5
_IDLE = 60.0
_PR_SET_PDEATHSIG = 1
_PACKET = 1 << 20
_BATCH = 200  # repositories per packet: 1,000 would not fit the default socket buffer


def channel() -> tuple[socket.socket, socket.socket]:
    """The asking and the answering end; messages are kept apart, so that a death loses whole ones."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Clerk:
    """The asking end; threads ask in turn."""

    def __init__(self, asking: socket.socket, deadline: float = DEADLINE) -> None:
        self._socket, self._deadline = asking, deadline
        self._lock = threading.Lock()
        self._paths: dict[str, str] = {}

    def know(self, known: Sequence[MountedRepository]) -> None:
        """Says where the repositories are that questions name."""
        self._paths = {each.name: each.path for each in known}

    def ask(self, question: Question) -> Answer:
        """The answer, or NO_ANSWER after the deadline. A refused revision is None.

        What repositories there are is not worth waiting for behind somebody's slow expression:
        then what was known before goes on.
        """
        patience = _BRIEFLY if question.topic == "repositories" else -1
        if not self._lock.acquire(timeout=patience):
            return NO_ANSWER
        try:
            return self._exchange(question)
        finally:
            self._lock.release()

    def _exchange(self, question: Question) -> Answer:
        number = f"{os.getpid()}-{time.monotonic_ns()}"
        message = {"id": number, "deadline": self._deadline, **asdict(question)}
        message["path"] = self._paths.get(question.repository, "")
        parts: list[Any] = []
        self._socket.send(json.dumps(message).encode())
        until = time.monotonic() + self._deadline + _GRACE
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                break
            answer = json.loads(self._socket.recv(_PACKET))
            if answer["id"] != number:
                continue  # too late, for a question given up
            if answer.get("failed"):
                log.error("%s", answer["failed"])
                return NO_ANSWER
            if question.topic in answer and question.topic != "repositories":
                return answer[question.topic]
            parts += answer["repositories"]
            if not answer["more"]:
                known = [MountedRepository(**part) for part in parts]
                self.know(known)
                return known
        log.warning("no answer in time: %s %s", question.topic, question.text)
        return NO_ANSWER


def work(answering: socket.socket, repositories: Repositories, moves: Moves | None) -> None:
    """Answers questions until none comes for a minute. Runs in its own process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _end_with_parent()
    office = _Office(repositories, moves)
    while select.select([answering], [], [], _IDLE)[0]:
        question = json.loads(answering.recv(_PACKET))
        # Ends this process, also in the midst of libgit2 or of a database that does not answer.
        signal.setitimer(signal.ITIMER_REAL, question["deadline"])
        for answer in office.answers(question):
            answering.send(json.dumps({"id": question["id"], **answer}).encode())
        signal.setitimer(signal.ITIMER_REAL, 0)


def _end_with_parent() -> None:
    """Asks the kernel to end this process with the supervisor: nobody else would start the next."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Office:
    """What a clerk works with: the register as last read, the repositories it has looked into."""

    def __init__(self, repositories: Repositories, moves: Moves | None) -> None:
        self._repositories, self._moves = repositories, moves
        self._known: Sequence[MountedRepository] | None = None
        self._open: dict[str, Repository] = {}

    def answers(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        """The packets that answer a question."""
        try:
            if question["topic"] == "commit":
                return [{"commit": self._commit(question)}]
            if question["topic"] == "holder":
                return [{"holder": self._holder(question["text"])}]
            self._known = self._repositories()
        except Exception as error:
            return [{"failed": getattr(error, "message", None) or repr(error)}]
        known = [asdict(each) for each in self._known]
        batches = [known[at : at + _BATCH] for at in range(0, len(known), _BATCH)] or [[]]
        return [
            {"repositories": batch, "more": number < len(batches) - 1}
            for number, batch in enumerate(batches)
        ]

    def _commit(self, question: dict[str, Any]) -> str | None:
        name, moves = question["repository"], self._moves
        recorded = (lambda ref: moves(name, ref)) if moves is not None else None
        try:
            git = Repository(question["path"])
            return resolve(git, question["text"], moves=recorded).commit
        except GitdagsError:
            return None  # refused, ambiguous or absent: no such name

    def _holder(self, commit: str) -> str | None:
        """The first registered repository that has a submodule's commit."""
        if self._known is None:
            self._known = self._repositories()
        for each in self._known:
            try:
                if each.path not in self._open:
                    self._open[each.path] = Repository(each.path)
                if self._open[each.path].peel(commit) == commit:
                    return each.name
            except GitdagsError:
                continue  # cannot be opened: nothing of it is shown either
        return None
