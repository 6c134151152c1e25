"""Which warm processes are kept."""

from __future__ import annotations

from typing import Any

from gitdags.parsers import Parser
from gitdags.pools import Pools
from gitdags.serialize.environment import Environment


class Stub:
    """What a pool is here: something that is closed once."""

    def __init__(self, name: str) -> None:
        self.name, self.closed = name, 0

    def close(self) -> None:
        self.closed += 1


def test_the_three_used_last_are_kept_and_all_are_closed() -> None:
    started: list[Stub] = []

    def start(parser: Parser) -> Any:
        started.append(Stub(parser.python))
        return started[-1]

    a, b, c, d = (Parser(name, Environment("airflow", "3.3.2", "3.12", {})) for name in "abcd")
    with Pools(start) as pools:
        first = pools.of(a)
        pools.of(b)
        pools.of(c)
        assert pools.of(a) is first
        pools.of(d)  # b was used longest ago
        assert [(stub.name, stub.closed) for stub in started] == [
            ("a", 0), ("b", 1), ("c", 0), ("d", 0),
        ]  # fmt: skip
        assert pools.of(a) is first
        pools.of(b)
        assert [stub.name for stub in started] == ["a", "b", "c", "d", "b"]
    assert [stub.closed for stub in started] == [1, 1, 1, 1, 1]
