"""The warm processes of one run, by way to parse: started when first needed, few kept at a time."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from gitdags.parsers import Parser
from gitdags.serialize.pool import Pool

_MOST = 3
"""Processes kept; one has about 120 MB. A history seldom goes to and fro between more eras."""


class Pools:
    """A context manager: leaving it ends every process. ``start`` makes the pool of a parser."""

    def __init__(self, start: Callable[[Parser], Pool]) -> None:
        self._start = start
        self._pools: dict[Parser, Pool] = {}  # the one used last is last

    def __enter__(self) -> Pools:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._pools:
            self._pools.popitem()[1].close()

    def of(self, parser: Parser) -> Pool:
        """The pool of a parser, warm if it was used lately. Raises NoAirflow."""
        pool = self._pools.pop(parser, None)
        if pool is None:
            if len(self._pools) == _MOST:
                self._pools.pop(next(iter(self._pools))).close()
            pool = self._start(parser)
        self._pools[parser] = pool
        return pool
