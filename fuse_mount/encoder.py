"""Nodes as the kernel's structures: attributes and directory entries, with how long they hold."""

from __future__ import annotations

import os

from fuse_mount import protocol as p
from fuse_mount.lifetimes import FOREVER, attribute_lifetime, entry_lifetime
from fuse_mount.nodes import Directory, Node
from fuse_mount.vfs import FOLDER, Vfs


class Encoder:
    """Turns nodes of a file system into bytes; everything belongs to whoever mounted it."""

    def __init__(self, vfs: Vfs) -> None:
        self._vfs = vfs
        self._owner = os.getuid(), os.getgid()

    def entry(self, node: Node) -> bytes:
        """A fuse_entry_out."""
        if type(node) is Directory:  # what a first walk tells most of: nothing is looked up for it
            number, at = node.id, node.time
            return p.ENTRY.pack(
                number, 0, FOREVER, FOREVER, 0, 0,
                number, 0, 0, at, at, at, 0, 0, 0, FOLDER, 1, *self._owner, 0, 4_096, 0,
            )  # fmt: skip
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
