"""How long an answer holds. Below a commit nothing ever changes; what hangs on a ref may at any time."""

from __future__ import annotations

from fuse_mount.nodes import Alias, Directory, File, Node, RefFolder, Root, Submodule

FOREVER = 1 << 30
SOON = 1
"""Seconds that an answer may be wrong after a repository was registered or its DAG folder moved."""

_ENTRY_LIFETIMES = {Directory: FOREVER, File: FOREVER, Submodule: SOON, Alias: SOON}
_ATTRIBUTE_LIFETIMES = _ENTRY_LIFETIMES | {Submodule: FOREVER, Alias: FOREVER, Root: SOON}


def entry_lifetime(node: Node) -> int:
    """Seconds for which a name leads to this node. What hangs on a ref is asked for anew each time."""
    if type(node) is RefFolder:
        return 0 if node.prefix else SOON
    return _ENTRY_LIFETIMES.get(type(node), 0)


def attribute_lifetime(node: Node) -> int:
    """Seconds for which a node's attributes hold.

    Those of the root and of a repository's folder are needed for every path below them, and asking
    made a 4 kB read 16 times slower. The price: a new name is found at once, but may be missing
    from a listing for SOON.
    """
    if type(node) is RefFolder:
        return 0 if node.prefix else SOON
    return _ATTRIBUTE_LIFETIMES.get(type(node), 0)


def absence_lifetime(parent: Node, name: bytes) -> int:
    """Seconds for which a name that leads nowhere goes on doing so."""
    if type(parent) is Directory:
        return SOON if parent.depth == 0 and name == b"dags" else FOREVER
    return 0
