"""Trees: the same entries as git's, hostile names dropped, bombs refused."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdags.git import Repository, TreeTooLarge
from gitdags.git.tree import Trees, parse
from gitdags.model import MODE_EXECUTABLE, MODE_FILE, MODE_LINK, MODE_SUBMODULE, MODE_TREE, Entry
from tests.conftest import Repo

ID = "1234567890" * 4


def raw(*entries: tuple[bytes, bytes]) -> bytes:
    return b"".join(mode + b" " + name + b"\0" + bytes.fromhex(ID) for mode, name in entries)


def test_modes_are_made_canonical() -> None:
    entries, dropped = parse(
        raw(
            (b"100644", b"a"),
            (b"100755", b"b"),
            (b"40000", b"c"),
            (b"120000", b"d"),
            (b"160000", b"e"),
            (b"100664", b"f"),
            (b"100775", b"g"),
            (b"040000", b"h"),
        )
    )
    assert [entry.mode for entry in entries.values()] == [
        MODE_FILE, MODE_EXECUTABLE, MODE_TREE, MODE_LINK,
        MODE_SUBMODULE, MODE_FILE, MODE_EXECUTABLE, MODE_TREE,
    ]  # fmt: skip
    assert dropped == ()


def test_hostile_names_are_dropped_and_named() -> None:
    names = [b"..", b".", b"a/b", b".git", b".GiT", b"", b"fine", b"new\nline", b"fine", b".gitx"]
    entries, dropped = parse(raw(*((b"100644", name) for name in names)))
    assert list(entries) == [b"fine", b"new\nline", b".gitx"]
    assert dropped == (b"..", b".", b"a/b", b".git", b".GiT", b"", b"fine")


def test_a_repository_shows_none_of_them(repo: Repo) -> None:
    repo.commit({"a": "1"})
    blob = repo("rev-parse", "HEAD:a")
    data = b"".join(
        b"100644 " + name + b"\0" + bytes.fromhex(blob) for name in (b"..", b".git", b"a", b"a/b")
    )
    tree = repo("hash-object", "-t", "tree", "-w", "--literally", "--stdin", input=data)
    opened = Repository(repo.path)
    assert list(opened.tree(tree)) == [b"a"]
    assert opened.dropped(tree) == [b"..", b".git", b"a/b"]


def test_a_bomb_is_refused_before_it_is_walked(repo: Repo) -> None:
    repo.commit({"a": "1"})
    oid, mode = repo("rev-parse", "HEAD:a"), b"100644"
    for _ in range(10):
        data = b"".join(mode + b" %d\0" % n + bytes.fromhex(oid) for n in range(10))
        oid, mode = repo("hash-object", "-t", "tree", "-w", "--stdin", input=data), b"40000"
    opened = Repository(repo.path)
    for ask in (opened.measure, lambda t: list(opened.walk(t)), lambda t: opened.diff(None, t)):
        with pytest.raises(TreeTooLarge, match="1,000,000"):
            ask(oid)


def test_a_tree_deeper_than_paths_can_be(repo: Repo) -> None:
    repo.commit({"a": "1"})
    oid, mode = repo("rev-parse", "HEAD:a"), b"100644"
    for _ in range(1100):
        data = mode + b" d\0" + bytes.fromhex(oid)
        store = b"tree %d\0" % len(data) + data
        oid = hashlib.sha1(store, usedforsecurity=False).hexdigest()
        place = repo.path / ".git/objects" / oid[:2]
        place.mkdir(exist_ok=True)
        (place / oid[2:]).write_bytes(zlib.compress(store))
        mode = b"40000"
    with pytest.raises(TreeTooLarge, match="deeper"):
        Repository(repo.path).measure(oid)


def test_memory_is_bounded() -> None:
    trees = Trees(lambda oid: raw((b"100644", oid[:5].encode())), limit=5_000)
    for n in range(1000):
        assert list(trees[f"{n:040d}"]) == [f"{n:040d}"[:5].encode()]
    assert len(trees._parsed) <= 10


def test_walk_find_and_diff_agree_with_git(repo: Repo) -> None:
    old = repo.commit({"a": "1", "dir/b": "2", "dir/sub/c": "3", "gone": "x", "dir.py": "n"})
    (repo.path / "link").symlink_to("dir/b")
    new = repo.commit({"a": "1", "dir/b": "changed", "gone": None, "gone2/x": "x"})
    opened = Repository(repo.path)
    trees = [opened.commit(sha).tree for sha in (old, new)]
    listed = [
        f"{entry.mode:06o} {entry.oid} {path.decode()}" for path, entry in opened.walk(trees[1])
    ]
    expected = [
        " ".join([mode, oid, path])
        for mode, _, oid, path in (
            line.replace("\t", " ").split(" ", 3)
            for line in repo("ls-tree", "-r", new).splitlines()
        )
    ]
    assert listed == expected
    changed = [change.path.decode() for change in opened.diff(*trees)]
    assert changed == sorted(repo("diff", "--name-only", "--no-renames", old, new).splitlines())
    assert opened.find(trees[1], b"dir/sub/c") is not None
    assert opened.find(trees[1], b"dir/sub/c/d") is None
    assert opened.find(trees[1], b"") == Entry(MODE_TREE, trees[1])


def test_links_are_followed_inside_the_tree_only(repo: Repo) -> None:
    (repo.path / "dags").mkdir()
    for name, target in {
        "dags/in": "../lib/x.py", "dags/out": "../../etc/passwd", "dags/abs": "/etc/passwd",
        "dags/loop": "loop", "dags/dir": "../lib", "dags/chain": "dir/x.py",
    }.items():  # fmt: skip
        (repo.path / name).symlink_to(target)
    sha = repo.commit({"lib/x.py": "1"})
    opened = Repository(repo.path)
    tree = opened.commit(sha).tree

    def real(path: bytes) -> bytes | None:
        found = opened.follow(tree, path)
        return None if found is None else found[0]

    assert real(b"dags/in") == real(b"dags/chain") == real(b"dags/dir/x.py") == b"lib/x.py"
    assert real(b"dags/out") is real(b"dags/abs") is real(b"dags/loop") is None
    assert real(b"dags/dir") == b"lib"


names = st.binary(min_size=1, max_size=8).filter(lambda n: b"\0" not in n)


@given(st.lists(st.tuples(st.sampled_from([b"100644", b"40000", b"120000"]), names), max_size=20))
def test_every_entry_is_kept_or_dropped(entries: list[tuple[bytes, bytes]]) -> None:
    kept, dropped = parse(raw(*entries))
    assert len(kept) + len(dropped) == len(entries)
    assert all(b"/" not in name and name not in (b".", b"..") for name in kept)
