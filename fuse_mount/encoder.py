"""Nodes as the kernel's structures: attributes and directory entries, with how long they hold."""

from __future__ import annotations

import os

from fuse_mount import protocol as p
from fuse_mount.lifetimes import attribute_lifetime, entry_lifetime
from fuse_mount.nodes import Node
from fuse_mount.vfs import Vfs


class Encoder:
    """Turns nodes of a file system into bytes; everything belongs to whoever mounted it."""

    def __init__(self, vfs: Vfs) -> None:
        self._vfs = vfs
        self._owner = os.getuid(), os.getgid()

    def entry(self, node: Node) -> bytes:
        """A fuse_entry_out."""
        values = entry_lifetime(node), attribute_lifetime(node)
        return p.ENTRY.pack(node.id, 0, *values, 0, 0, *self._attributes(node))

    def answer(self, node: Node) -> bytes:
        """A fuse_attr_out."""
        return p.ATTR_OUT.pack(attribute_lifetime(node), 0, 0, *self._attributes(node))

    def _attributes(self, node: Node) -> tuple[int, ...]:
        ino, mode, size, at, ns = self._vfs.attributes(node)
        uid, gid = self._owner
        blocks = (size + 511) >> 9
        return ino, size, blocks, at, at, at, ns, ns, ns, mode, 1, uid, gid, 0, 4_096, 0
