"""Trees as plain dictionaries: parsed once per id, hostile names dropped, bombs refused.

Raw bytes are parsed by hand, which is 8 to 10 times faster than iterating ``pygit2.Tree``
(docs/benchmarks.md); the result is shared and must not be changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping

from gitdags.model import (
    MODE_EXECUTABLE,
    MODE_FILE,
    MODE_LINK,
    MODE_SUBMODULE,
    MODE_TREE,
    Change,
    Entry,
)

MAX_ENTRIES = 1_000_000
"""Entries a commit may hold, all folders counted: ten trees can name 10^10 files."""
MAX_DEPTH = 1_000
"""Folders below each other; PATH_MAX allows about 2,000 one-letter names."""

MAX_LINKS = 40  # as the kernel: path_resolution(7)

_ENTRY_COST = 250  # bytes of memory per parsed entry, measured with tracemalloc
_EMPTY: Mapping[bytes, Entry] = {}


class Corrupt(Exception):
    """The bytes of a tree object are none of a tree."""


class TooLarge(Exception):
    """A tree holds more entries or deeper folders than anyone would check out."""


def parse(data: bytes) -> tuple[dict[bytes, Entry], tuple[bytes, ...]]:
    """The entries of a raw tree object in Git's order, and the names that were dropped.

    Dropped are names no file system may see (empty, ``.``, ``..``, ``.git`` in any case, names
    with a slash) and a name's second appearance. Modes are made canonical as git itself does
    (``100664`` is a plain file).
    """
    entries: dict[bytes, Entry] = {}
    dropped: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        space = data.index(b" ", at)
        nul = data.index(b"\0", space)
        name = data[space + 1 : nul]
        stop = nul + 21
        if stop > end:
            raise ValueError("the last entry is cut off")
        if (
            name in entries
            or not name
            or b"/" in name
            or (name[0] == 46 and (name in (b".", b"..") or name.lower() == b".git"))
        ):
            dropped.append(name)
        else:
            mode = _mode(data[at:space])
            entries[name] = Entry(mode, data[nul + 1 : stop].hex())
        at = stop
    return entries, tuple(dropped)


def _mode(text: bytes) -> int:
    known = _MODES.get(text)
    if known is not None:
        return known
    mode = int(text, 8)
    kind = mode & 0o170000
    if kind == 0o100000:
        return MODE_EXECUTABLE if mode & 0o100 else MODE_FILE
    return kind if kind in (MODE_TREE, MODE_LINK, MODE_SUBMODULE) else MODE_FILE


_MODES = {
    b"100644": MODE_FILE,
    b"100755": MODE_EXECUTABLE,
    b"40000": MODE_TREE,
    b"120000": MODE_LINK,
    b"160000": MODE_SUBMODULE,
}


class Trees:
    """Parsed trees by id, least recently used dropped past ``limit`` bytes of memory."""

    def __init__(self, read: Callable[[str], bytes], limit: int = 64 << 20) -> None:
        self._read = read
        self._limit = limit
        self._cost = 0
        self._parsed: OrderedDict[str, dict[bytes, Entry]] = OrderedDict()
        self._counts: dict[str, tuple[int, int]] = {}
        self.dropped: dict[str, tuple[bytes, ...]] = {}
        """tree id -> names left out of it, for the trees where any was"""

    def __getitem__(self, oid: str) -> Mapping[bytes, Entry]:
        found = self._parsed.get(oid)
        if found is None:
            try:
                found, dropped = parse(self._read(oid))
            except ValueError:
                raise Corrupt(oid) from None
            if dropped:
                self.dropped[oid] = dropped
            self._parsed[oid] = found
            self._cost += _ENTRY_COST * (len(found) + 1)
            while self._cost > self._limit and len(self._parsed) > 1:
                _, old = self._parsed.popitem(last=False)
                self._cost -= _ENTRY_COST * (len(old) + 1)
        else:
            self._parsed.move_to_end(oid)
        return found

    def measure(self, oid: str) -> tuple[int, int]:
        """(entries, depth) of everything below a tree; counted once per tree id, never walked.

        Raises TooLarge past MAX_ENTRIES or MAX_DEPTH.
        """
        counts = self._counts
        stack = [oid]
        while stack:
            if len(stack) > MAX_DEPTH:
                raise TooLarge(f"folders deeper than {MAX_DEPTH:,}")
            top = stack[-1]
            if top in counts:
                stack.pop()
                continue
            total, depth = 0, 0
            for entry in self[top].values():
                total += 1
                if not entry.is_tree:
                    continue
                below = counts.get(entry.oid)
                if below is None:
                    stack.append(entry.oid)
                    break
                total += below[0]
                depth = max(depth, below[1])
            else:
                if total > MAX_ENTRIES:
                    raise TooLarge(f"more than {MAX_ENTRIES:,} files")
                counts[top] = (total, depth + 1)
                stack.pop()
        if counts[oid][1] > MAX_DEPTH:
            raise TooLarge(f"folders deeper than {MAX_DEPTH:,}")
        return counts[oid]

    def walk(self, oid: str, prefix: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        """Every entry below a tree that is not itself a tree, with its path, in Git's order."""
        self.measure(oid)
        stack = [(prefix, iter(self[oid].items()))]
        while stack:
            base, entries = stack[-1]
            for name, entry in entries:
                if entry.is_tree:
                    stack.append((base + name + b"/", iter(self[entry.oid].items())))
                    break
                yield base + name, entry
            else:
                stack.pop()

    def dropped_below(self, oid: str) -> list[bytes]:
        """The paths below a tree that were left out, sorted."""
        self.measure(oid)
        found: list[bytes] = []
        stack = [(b"", oid)]
        while stack:
            prefix, tree = stack.pop()
            entries = self[tree]
            found += [prefix + name for name in self.dropped.get(tree, ())]
            stack += [(prefix + n + b"/", e.oid) for n, e in entries.items() if e.is_tree]
        return sorted(found)

    def find(self, oid: str, path: bytes) -> Entry | None:
        """The entry at a path below a tree; the tree itself for the empty path. No links followed."""
        entry: Entry | None = Entry(MODE_TREE, oid)
        for name in path.split(b"/") if path else ():
            if entry is None or not entry.is_tree:
                return None
            entry = self[entry.oid].get(name)
        return entry

    def follow(
        self, oid: str, path: bytes, blob: Callable[[str], bytes]
    ) -> tuple[bytes, Entry] | None:
        """(real path, entry) that a path leads to with links followed inside the tree, or None.

        None too for a link that leaves the tree or is part of a circle.
        """
        parts = [p for p in path.split(b"/") if p not in (b"", b".")]
        real: list[bytes] = []
        hops = 0
        while parts:
            name = parts.pop(0)
            if name == b"..":
                if not real:
                    return None
                real.pop()
                continue
            entry = self.find(oid, b"/".join([*real, name]))
            if entry is None:
                return None
            if entry.mode == MODE_LINK:
                hops += 1
                target = blob(entry.oid)
                if hops > MAX_LINKS or target.startswith(b"/"):
                    return None
                parts[:0] = [p for p in target.split(b"/") if p not in (b"", b".")]
                continue
            real.append(name)
        entry = self.find(oid, b"/".join(real))
        return None if entry is None else (b"/".join(real), entry)

    def diff(self, old: str | None, new: str | None) -> list[Change]:
        """The paths at which two trees differ, sorted by path bytes; trees themselves are not listed."""
        for side in (old, new):
            if side is not None:
                self.measure(side)
        changes: list[Change] = []
        stack = [(b"", old, new)]
        while stack:
            prefix, a, b = stack.pop()
            if a == b:
                continue
            left = self[a] if a is not None else _EMPTY
            right = self[b] if b is not None else _EMPTY
            for name in left.keys() | right.keys():
                was, now = left.get(name), right.get(name)
                if was == now:
                    continue
                path = prefix + name
                old_tree = was.oid if was is not None and was.is_tree else None
                new_tree = now.oid if now is not None and now.is_tree else None
                if old_tree is not None or new_tree is not None:
                    stack.append((path + b"/", old_tree, new_tree))
                was = None if old_tree is not None else was
                now = None if new_tree is not None else now
                if was is not None or now is not None:
                    changes.append(Change(path, was, now))
        return sorted(changes)
