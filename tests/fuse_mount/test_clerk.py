"""Questions to another process: answered, refused, given up."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fuse_mount import clerk
from fuse_mount.questions import NO_ANSWER, Question
from fuse_mount.repositories import MountedRepository

from .conftest import Git

Desk = Callable[..., clerk.Clerk]


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A clerk at work in a child process, and the asking end."""
    children: list[int] = []
    sockets = []

    def start(
        repositories: clerk.Repositories, moves: clerk.Moves | None = None, deadline: float = 20.0
    ) -> clerk.Clerk:
        asking, answering = clerk.channel()
        sockets.extend((asking, answering))
        child = os.fork()
        if not child:
            try:
                clerk.work(answering, repositories, moves)
            finally:
                os._exit(0)
        children.append(child)
        return clerk.Clerk(asking, deadline)

    yield start
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for each in sockets:
        each.close()


def test_the_repositories_come_in_packets(desk: Desk) -> None:
    known = [MountedRepository(f"r{n}", f"/{'p' * 200}/{n}", "dags") for n in range(1_001)]
    asked = desk(lambda: known)
    assert asked.ask(Question("repositories")) == known
    assert desk(list).ask(Question("repositories")) == []


def test_a_fault_of_the_catalog_is_no_answer(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> list[MountedRepository]:
        raise ValueError("the database is locked")

    asked = desk(broken)
    assert asked.ask(Question("repositories")) is NO_ANSWER
    assert "the database is locked" in caplog.text


def test_revisions(desk: Desk, git: Git) -> None:
    first = git.files({"a": b"1"})
    git.files({"a": b"2"}, first)
    asked = desk(lambda: [MountedRepository("repo", str(git.path), "dags")])
    asked.ask(Question("repositories"))
    assert asked.ask(Question("commit", "repo", "HEAD~1")) == first
    for refused in ("HEAD~2", "HEAD^{/2}", ":/2", "-x", "a..b", "HEAD~100000", "x" * 2_000):
        assert asked.ask(Question("commit", "repo", refused)) is None


def test_who_has_the_commit_of_a_submodule(
    desk: Desk, make_git: Callable[[str], Git], tmp_path: Path
) -> None:
    one, two = make_git("one"), make_git("two")
    one.files({"a": b"1"})
    pinned = two.files({"a": b"2"})
    paths = {"absent": tmp_path / "absent", "one": one.path, "two": two.path}
    asked = desk(lambda: [MountedRepository(n, str(p), "dags") for n, p in paths.items()])
    assert asked.ask(Question("holder", text=pinned)) == "two"
    assert asked.ask(Question("holder", text="5" * 40)) is None
    later = two.files({"a": b"3"}, pinned)
    assert asked.ask(Question("holder", text=later)) == "two"


def test_a_question_that_takes_too_long_is_given_up(
    desk: Desk, git: Git, caplog: pytest.LogCaptureFixture
) -> None:
    git.files({"a": b"1"})

    def moves(name: str, ref: str) -> list[object]:
        signal.pause()
        return []

    asked = desk(list, moves, deadline=0.3)
    asked.know([MountedRepository("repo", str(git.path), "dags")])
    assert asked.ask(Question("commit", "repo", "main@{2024-01-01}")) is NO_ANSWER
    assert "no answer in time: commit main@{2024-01-01}" in caplog.text


def test_the_list_of_repositories_does_not_wait_behind_a_slow_expression() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    desk = clerk.Clerk(ours, 20)
    slow = threading.Thread(target=desk.ask, args=[Question("commit", "repo", "HEAD~1")])
    slow.start()
    asked = json.loads(theirs.recv(1 << 16))
    assert desk.ask(Question("repositories")) is NO_ANSWER
    theirs.send(json.dumps({"id": asked["id"], "commit": None}).encode())
    slow.join()
    ours.close()
    theirs.close()
