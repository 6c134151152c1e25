"""The nodes the kernel knows: by id, counted as it counts them, dropped when it forgets them."""

from __future__ import annotations

import itertools
import logging

from fuse_mount.faults import Damaged
from fuse_mount.ledger import Full, Ledger
from fuse_mount.nodes import (
    Alias,
    Directory,
    File,
    Lost,
    Node,
    RefFolder,
    RefLink,
    Root,
    Submodule,
)

log = logging.getLogger("gitdags.mount")

_KINDS: tuple[type[Node], ...] = (Root, RefFolder, RefLink, Directory, Submodule, File, Lost, Alias)
_KIND_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}

NODE_COST = 800
"""Bytes a held node costs, ledger included: measured over 76,593 of them (docs/mount.md)."""
_PRUNE = 4_096  # nodes the kernel is asked about at a time


class _Held:
    """A node, how often the kernel has been told of it, and its place in the ledger."""

    __slots__ = ("lookups", "node", "place")

    def __init__(self, node: Node, lookups: int, place: int) -> None:
        self.node, self.lookups, self.place = node, lookups, place


class Table:
    """Node id -> node. ``memory`` is what its nodes should not exceed, in bytes."""

    def __init__(self, ledger: Ledger, memory: int = 32 << 20) -> None:
        self._ledger = ledger
        self._limit = max(1_000, memory // NODE_COST)
        self._held: dict[int, _Held] = {}
        self._told_full = False
        self._unsettled: list[int] = []
        for number, lookups, payload, place in ledger.records():
            kind, *fields = payload
            node = _KINDS[kind](*fields)
            self._held[number] = _Held(node, lookups, place)
        self._next = self._limit

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, number: int) -> Node:
        """The node of an id. Raises KeyError for one that the kernel was never told, or forgot."""
        return self._held[number].node

    def hold(self, *nodes: Node) -> None:
        """Counts that the kernel is told of each node once more: until `settle`, provisionally.

        Raises Damaged where another node has its id: somebody has made two blobs for that.
        """
        held_by, unsettled, count = self._held, self._unsettled, self._ledger.count
        for node in nodes:
            held = held_by.get(node.id)
            if held is None:
                self._add(node)
            elif held.node is node or held.node == node:
                held.lookups += 1
                if held.place:
                    count(held.place, held.lookups)
            else:
                log.error("two nodes share the id %d: %r and %r", node.id, held.node, node)
                raise Damaged
            unsettled.append(node.id)

    def settle(self) -> None:
        """The kernel has been told."""
        self._unsettled.clear()

    def take_back(self) -> None:
        """The kernel was not told after all."""
        for number in self._unsettled:
            self.forget(number, 1)
        self._unsettled.clear()

    def _add(self, node: Node) -> None:
        place = 0
        try:
            place = self._ledger.add(node.id, (_KIND_NUMBERS[type(node)], *node), 1)
        except Full:
            if not self._told_full:
                self._told_full = True
                log.warning("too many files in use to survive a restart of the server")
        self._held[node.id] = _Held(node, 1, place)

    def forget(self, number: int, lookups: int) -> None:
        """Takes back that many tellings; at none the node is dropped."""
        held = self._held.get(number)
        if held is None:
            return
        held.lookups -= lookups
        if held.lookups > 0:
            if held.place:
                self._ledger.count(held.place, held.lookups)
            return
        del self._held[number]
        self._next = max(self._limit, min(self._next, len(self._held) + _PRUNE))
        if held.place:
            self._ledger.remove(held.place)

    def surplus(self) -> list[int]:
        """Ids, oldest first, that the kernel should be asked to forget; [] while there is room.

        Those asked about go to the end of the queue: what is in use stays, whatever was asked.
        """
        if len(self._held) <= self._next:
            return []
        self._next = len(self._held) + _PRUNE  # not again before it has grown by as many
        batch = list(itertools.islice(self._held, min(len(self._held), 2 * _PRUNE)))
        for number in batch:
            self._held[number] = self._held.pop(number)
        return batch
