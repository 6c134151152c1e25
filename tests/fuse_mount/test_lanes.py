"""Requests put aside: each gets an answer, whatever happens to the one who looks for it."""

from __future__ import annotations

import queue

from fuse_mount.lanes import Lane, Request
from fuse_mount.questions import NO_ANSWER, Answer, Question


def test_a_question_that_fails_is_answered_and_the_next_one_too() -> None:
    answers: queue.SimpleQueue[tuple[int, Answer]] = queue.SimpleQueue()

    def ask(question: Question) -> Answer:
        if question.text == "bad":
            raise FileNotFoundError("git")
        return question.text

    lane = Lane("test", ask, lambda request, _, answer: answers.put((request.unique, answer)))
    lane.put(Request(1, 7, 1, b""), Question("content", "repo", "bad"))
    assert answers.get(timeout=10) == (7, NO_ANSWER)
    lane.put(Request(1, 8, 1, b""), Question("content", "repo", "good"))
    assert answers.get(timeout=10) == (8, "good")
    lane.stop()
