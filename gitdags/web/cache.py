"""What was rendered, kept while there is room: least recently used goes first. Shared by threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")
_OVERHEAD = 400  # bytes of a key, its entry and the value's own object


class Cache(Generic[Value]):
    """Values by key, bounded by the bytes that ``size`` counts of them."""

    def __init__(self, limit: int, size: Callable[[Value], int] = len) -> None:  # type: ignore[assignment]  # of bytes and text
        self._limit, self._size = limit, size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._used = 0
        self._lock = Lock()
        self.hits = self.misses = 0

    def get(self, key: Hashable) -> Value | None:
        """The value, or None."""
        with self._lock:
            value = self._values.get(key)
            if value is None:
                self.misses += 1
            else:
                self.hits += 1
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: Value) -> Value:
        """Keep a value, unless it alone is larger than a quarter of all room."""
        cost = self._size(value) + _OVERHEAD
        with self._lock:
            if key in self._values or cost > self._limit // 4:
                return value
            self._values[key] = value
            self._used += cost
            while self._used > self._limit:
                _, old = self._values.popitem(last=False)
                self._used -= self._size(old) + _OVERHEAD
        return value

    def made(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value, made where it is not there. Two threads may both make it."""
        value = self.get(key)
        return self.put(key, make()) if value is None else value

    @property
    def used(self) -> int:
        """Bytes in use."""
        return self._used
