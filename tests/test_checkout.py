"""A folder that follows trees: at each one it holds what git says, and nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitdags.checkout import Checkout
from gitdags.git import MissingObject, Repository, TreeTooLarge
from tests.conftest import Repo

Found = dict[bytes, tuple[str, bytes]]
"""path -> (mode as in a tree, content or target)"""


def by_git(repo: Repo, tree: str) -> Found:
    """What a tree holds, by ``git ls-tree -r`` and ``git cat-file``."""
    found = {}
    for line in run(repo, "ls-tree", "-r", "-z", tree).split(b"\0")[:-1]:
        meta, path = line.split(b"\t", 1)
        mode, kind, oid = meta.decode().split(" ")
        content = run(repo, "cat-file", "blob", oid) if kind == "blob" else b""
        found[path] = (mode, content)
    return found


def run(repo: Repo, *words: str) -> bytes:
    return subprocess.run(
        ["git", *words], cwd=repo.path, env=repo.environment, check=True, capture_output=True
    ).stdout


def on_disk(folder: Path) -> Found:
    """What a folder holds; empty folders are submodules, of mode 160000."""
    found: Found = {}
    top = os.fsencode(folder)
    for place, folders, files in os.walk(top):
        relative = b"" if place == top else place[len(top) + 1 :] + b"/"
        for name in [*folders, *files]:
            path = os.path.join(place, name)
            kind = os.lstat(path).st_mode
            if stat.S_ISLNK(kind):
                found[relative + name] = ("120000", os.readlink(path))
            elif stat.S_ISREG(kind):
                mode = {0o444: "100644", 0o555: "100755"}[stat.S_IMODE(kind)]
                with open(path, "rb") as file:
                    found[relative + name] = (mode, file.read())
            elif not os.listdir(path):
                found[relative + name] = ("160000", b"")
    return found


@pytest.fixture(autouse=True)
def plain_umask() -> None:
    os.umask(0o022)


def tree_of(repo: Repo, listing: Found) -> str:
    """The id of a tree with these files, links and submodules."""
    repo("read-tree", "--empty")
    lines = []
    for path, (mode, content) in listing.items():
        oid = "1" * 40 if mode == "160000" else hash_blob(repo, content)
        lines.append(f"{mode} {oid}\t".encode() + path + b"\0")
    repo("update-index", "-z", "--index-info", input=b"".join(lines))
    if not lines:  # git knows the empty tree without an object, and writes none
        return repo("hash-object", "-t", "tree", "-w", "--stdin", input=b"")
    return repo("write-tree", "--missing-ok")


_BLOBS: dict[tuple[Path, bytes], str] = {}


def hash_blob(repo: Repo, content: bytes) -> str:
    key = (repo.path, content)
    if key not in _BLOBS:
        _BLOBS[key] = repo("hash-object", "-w", "--stdin", input=content)
    return _BLOBS[key]


# ── generated trees ───────────────────────────────────────────────────────────────────────────

NAMES = st.sampled_from([b"a", b"b", b"c.py", b"\xff", b"x y", b"new\nline", "ü".encode()])
CONTENT = st.sampled_from([b"", b"1", b"2\r\n", b"\0\xff"])
TARGETS = st.sampled_from([b"a", b"../b", b"/etc/passwd", b"..", b".", b"gone", b"\xff", b"a/b/c"])
ENTRIES = (
    st.tuples(st.sampled_from(["100644", "100755"]), CONTENT)
    | st.tuples(st.just("120000"), TARGETS)
    | st.tuples(st.just("160000"), st.just(b""))
)


class Folder(NamedTuple):
    entries: dict[bytes, object]


FOLDERS = st.recursive(
    st.dictionaries(NAMES, ENTRIES, max_size=4),
    lambda inner: st.dictionaries(NAMES, ENTRIES | st.builds(Folder, inner), max_size=4),
    max_leaves=10,
)


def flat(entries: dict[bytes, object], prefix: bytes = b"") -> Found:
    found: Found = {}
    for name, entry in entries.items():
        if isinstance(entry, Folder):
            found |= flat(entry.entries, prefix + name + b"/")
        else:
            found[prefix + name] = entry  # type: ignore[assignment]
    return found


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """One repository for all generated trees."""
    return Repo(tmp_path_factory.mktemp("objects") / "repo")


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(FOLDERS, min_size=2, max_size=3))
def test_from_tree_to_tree(objects: Repo, trees: list[dict[bytes, object]]) -> None:
    oids = [tree_of(objects, flat(entries)) for entries in trees]
    opened = Repository(objects.path)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "out")
        checkout = Checkout(opened, place)
        last = None
        for oid, entries in zip([*oids, oids[0]], [*trees, trees[0]], strict=True):
            moved = checkout.move(oid)
            assert on_disk(checkout.folder) == by_git(objects, oid) == flat(entries)
            assert moved == len(opened.diff(last, oid))
            assert checkout.move(oid) == 0
            last = oid


# ── by hand ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({b"a": ("100644", b"1")}, {b"a/b": ("100644", b"1")}),
        ({b"a/b/c": ("100644", b"1")}, {b"a/b": ("120000", b"c")}),
        ({b"a": ("120000", b"b"), b"b/c": ("100644", b"")}, {b"a/c": ("100644", b"2")}),
        ({b"a": ("100644", b"1")}, {b"a": ("100755", b"1")}),
        ({b"a": ("160000", b"")}, {b"a/b": ("100644", b"1")}),
        ({b"a/b": ("100644", b"1")}, {b"a": ("160000", b"")}),
        ({b"a": ("100644", b"x")}, {b"a": ("120000", b"x")}),
        ({b"a/b/c/d": ("100644", b"x"), b"e": ("100644", b"")}, {b"e": ("100644", b"")}),
        ({b"a/x": ("100644", b"x"), b"a/y": ("100644", b"")}, {b"a": ("100644", b"x")}),
        ({b"a": ("100644", b"1")}, {}),
    ],
)
def test_kinds_that_change_places(repo: Repo, tmp_path: Path, old: Found, new: Found) -> None:
    checkout = Checkout(Repository(repo.path), tmp_path / "out")
    for listing in (old, new, old):
        checkout.move(tree_of(repo, listing))
        assert on_disk(checkout.folder) == listing


def test_nothing_is_written_through_a_link(repo: Repo, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("1")
    to = os.fsencode(victim)
    checkout = Checkout(Repository(repo.path), tmp_path / "out")
    checkout.move(tree_of(repo, {b"d": ("120000", to)}))
    checkout.move(tree_of(repo, {b"d/new": ("100644", b"x"), b"d/kept": ("100644", b"x")}))
    checkout.move(tree_of(repo, {b"d": ("120000", to), b"e": ("120000", to + b"/kept")}))
    checkout.move(tree_of(repo, {b"e": ("100644", b"x")}))
    checkout.move(tree_of(repo, {}))
    assert [p.name for p in victim.iterdir()] == ["kept"]
    assert (victim / "kept").read_text() == "1"


def test_raw_bytes_whatever_attributes_say(repo: Repo, tmp_path: Path) -> None:
    listing: Found = {
        b".gitattributes": ("100644", b"* text eol=crlf ident\n*.x filter=lfs working-tree-encoding=UTF-16"),
        b"a.txt": ("100644", b"one\ntwo $Id$\n"),
        b"b.x": ("100644", b"version https://git-lfs.github.com/spec/v1\n"),
    }  # fmt: skip
    checkout = Checkout(Repository(repo.path), tmp_path / "out")
    checkout.move(tree_of(repo, listing))
    assert on_disk(checkout.folder) == listing


def test_bytecode_can_be_left_out(repo: Repo, tmp_path: Path) -> None:
    listing: Found = {
        b"a.py": ("100644", b"1"),
        b"__pycache__/a.pyc": ("100644", b"2"),
        b"d/__pycache__/b.pyc": ("100644", b"3"),
        b"d/not__pycache__": ("100644", b"4"),
    }
    checkout = Checkout(Repository(repo.path), tmp_path / "out", bytecode=False)
    checkout.move(tree_of(repo, listing))
    assert sorted(on_disk(checkout.folder)) == [b"a.py", b"d/not__pycache__"]
    checkout.move(tree_of(repo, {b"__pycache__": ("100644", b"")}))
    assert on_disk(checkout.folder) == {}


def test_reset_undoes_what_others_did(repo: Repo, tmp_path: Path) -> None:
    listing: Found = {b"a": ("100644", b"1"), b"d/b": ("100644", b"2")}
    tree = tree_of(repo, listing)
    checkout = Checkout(Repository(repo.path), tmp_path / "out")
    checkout.move(tree)
    checkout.seal()
    assert checkout.intact()
    spoiled = checkout.folder
    (spoiled / "a").unlink()
    (spoiled / "a").mkdir()
    (spoiled / "d" / "more").write_text("x")
    assert not checkout.intact()
    checkout.reset(tree)
    assert not spoiled.exists()
    assert on_disk(checkout.folder) == listing


def test_the_empty_tree_needs_no_object(repo: Repo, tmp_path: Path) -> None:
    # `git commit-tree $(git hash-object -t tree /dev/null)`, as scripts make a first commit.
    tree = repo("hash-object", "-t", "tree", "--stdin", input=b"")
    sha = repo("commit-tree", "-m", "empty", tree)
    assert repo("ls-tree", sha) == ""
    opened = Repository(repo.path)
    assert Checkout(opened, tmp_path / "out").move(opened.commit(sha).tree) == 0


def test_a_missing_object_is_said(repo: Repo, tmp_path: Path) -> None:
    tree = tree_of(repo, {b"a": ("100644", b"only here")})
    oid = hash_blob(repo, b"only here")
    (repo.path / ".git/objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(MissingObject, match=oid):
        Checkout(Repository(repo.path), tmp_path / "out").move(tree)


def test_a_bomb_is_not_written(repo: Repo, tmp_path: Path) -> None:
    oid, mode = hash_blob(repo, b"1"), b"100644"
    for _ in range(10):
        data = b"".join(mode + b" %d\0" % n + bytes.fromhex(oid) for n in range(10))
        oid, mode = repo("hash-object", "-t", "tree", "-w", "--stdin", input=data), b"40000"
    checkout = Checkout(Repository(repo.path), tmp_path / "out")
    with pytest.raises(TreeTooLarge):
        checkout.move(oid)
    assert on_disk(checkout.folder) == {}


def test_hostile_names_never_reach_the_disk(repo: Repo, tmp_path: Path) -> None:
    blob = hash_blob(repo, b"1")
    names = (b"..", b".git", b"../up", b"fine", b"/abs", b".")
    data = b"".join(b"100644 " + name + b"\0" + bytes.fromhex(blob) for name in names)
    tree = repo("hash-object", "-t", "tree", "-w", "--literally", "--stdin", input=data)
    Checkout(Repository(repo.path), tmp_path / "deep" / "out").move(tree)
    assert list(on_disk(tmp_path / "deep")) == [b"out/1/repo/fine"]


@pytest.mark.parametrize("change", ["write", "touch", "add", "remove", "link", "folder", "mode"])
def test_every_change_is_noticed(repo: Repo, tmp_path: Path, change: str) -> None:
    checkout = Checkout(Repository(repo.path), tmp_path / "out")
    tree = tree_of(repo, {b"dags/a": ("100644", b"1"), b"dags/b": ("100644", b"2")})
    checkout.move(tree)
    checkout.seal()
    (checkout.folder / "dags" / "a").read_bytes()
    assert checkout.intact()
    file = checkout.folder / "dags" / "a"
    if change == "write":
        before = file.stat()
        file.chmod(0o644)
        file.write_text("2")
        file.chmod(0o444)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "touch":
        os.utime(file)
    elif change == "add":
        (checkout.folder / "c").touch()
    elif change == "remove":
        file.unlink()
    elif change == "link":
        (checkout.folder / "dags").rename(tmp_path / "elsewhere")
        (checkout.folder / "dags").symlink_to(tmp_path / "elsewhere")
    elif change == "folder":
        checkout.folder.rename(tmp_path / "elsewhere")
        checkout.folder.symlink_to(tmp_path / "elsewhere")
    else:
        file.chmod(0o777)
    assert not checkout.intact()
    checkout.reset(tree)
    assert (checkout.folder / "dags" / "a").read_text() == "1"
    if change in ("link", "folder"):
        assert (tmp_path / "elsewhere").exists()
