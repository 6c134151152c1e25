"""Where requests wait whose answers take long, so that no other request waits for them."""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from fuse_mount.questions import NO_ANSWER, Answer, Question

log = logging.getLogger("gitdags.mount")


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the kernel, whole."""

    opcode: int
    unique: int
    node: int
    body: bytes


class Lane(threading.Thread):
    """One thread that answers questions in turn and hands the request back with the answer."""

    def __init__(
        self,
        name: str,
        ask: Callable[[Question], Answer],
        resume: Callable[[Request, Question, Answer], None],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._ask, self._resume = ask, resume
        self._waiting: queue.SimpleQueue[tuple[Request, Question] | None] = queue.SimpleQueue()
        self._live: set[int] = set()

    def put(self, request: Request, question: Question) -> None:
        """Queues a request; starts the thread with the first."""
        if not self.is_alive():
            self.start()
        self._live.add(request.unique)
        self._waiting.put((request, question))

    def cancel(self, unique: int) -> bool:
        """Takes a request out; whether it was still there. Its answer is the caller's to send."""
        return self._take(unique)

    def _take(self, unique: int) -> bool:
        """Whether a request was there; of two that ask at once only one hears yes."""
        try:
            self._live.remove(unique)
        except KeyError:
            return False
        return True

    def stop(self) -> None:
        """Ends the thread after what is queued."""
        if self.is_alive():
            self._waiting.put(None)
            self.join()

    def run(self) -> None:
        while (item := self._waiting.get()) is not None:
            request, question = item
            if request.unique not in self._live:
                continue  # interrupted
            try:
                answer = self._ask(question)
            except Exception:  # whatever it was, the reader must not wait for ever
                log.error("no answer to %s\n%s", question, traceback.format_exc())
                answer = NO_ANSWER
            if self._take(request.unique):
                self._resume(request, question, answer)
