"""The file system without a mount: layout, meaning, memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fuse_mount.faults import Damaged, TooLong, TooSlow
from fuse_mount.nodes import Alias, Directory, File, RefFolder, RefLink, Submodule
from fuse_mount.questions import NO_ANSWER, Pending, Question
from fuse_mount.repositories import MountedRepository, Shelf
from fuse_mount.vfs import Vfs

from .conftest import Git


def make(*gits: Git, dags: str = "dags", **options: int) -> Vfs:
    known = [MountedRepository(each.path.stem, str(each.path), dags) for each in gits]
    return Vfs(Shelf(known), **options)


def walk(vfs: Vfs, *names: str) -> object:
    node = vfs.root
    for name in names:
        node = vfs.lookup(node, name.encode())  # type: ignore[assignment]  # None ends the walk
        if node is None:
            return None
    return node


def test_refs_are_links_to_the_commit(git: Git) -> None:
    sha = git.files({"a": b"x"})
    git("update-ref", "refs/heads/team/x", sha)
    vfs = make(git)
    targets = {
        "main": sha, "HEAD": sha, "team/x": f"../{sha}", "refs/heads/main": f"../../{sha}",
        "heads/main": f"../{sha}", "refs/heads/team/x": f"../../../{sha}",
    }  # fmt: skip
    for rev, target in targets.items():
        link = walk(vfs, "repo", *rev.split("/"))
        assert isinstance(link, RefLink)
        assert vfs.target(link) == target.encode()
        assert vfs.attributes(link).size == len(target)


def test_an_exact_ref_wins_and_the_full_name_always_works(git: Git) -> None:
    one, two = git.files({"2": b"file"}), git.files({"a": b"y"})
    git("update-ref", "refs/heads/v1", one)
    git("update-ref", "refs/tags/v1/2", two)
    vfs = make(git)
    assert vfs.target(walk(vfs, "repo", "v1")) == one.encode()  # type: ignore[arg-type]  # a node
    full = walk(vfs, "repo", "refs", "tags", "v1", "2")
    assert vfs.target(full) == b"../../../" + two.encode()  # type: ignore[arg-type]  # a node
    assert isinstance(walk(vfs, "repo", "refs", "tags", "v1"), RefFolder)


def test_a_tag_wins_over_a_branch_of_its_name(git: Git) -> None:
    one, two = git.files({"a": b"x"}), git.files({"a": b"y"})
    git("update-ref", "refs/heads/same", one)
    git("update-ref", "refs/tags/same", two)
    vfs = make(git)
    assert vfs.target(walk(vfs, "repo", "same")) == two.encode()  # type: ignore[arg-type]  # a node


def test_forty_hex_digits_are_always_the_object(git: Git) -> None:
    one, two = git.files({"a": b"x"}), git.files({"a": b"y"})
    git("update-ref", f"refs/heads/{one}", two)
    vfs = make(git)
    found = walk(vfs, "repo", one)
    assert isinstance(found, Directory)
    assert found.commit == one
    assert vfs.target(walk(vfs, "repo", "refs", "heads", one)) == b"../../" + two.encode()  # type: ignore[arg-type]  # a node
    assert walk(vfs, "repo", "5" * 40) is None
    assert walk(vfs, "repo", git.text("rev-parse", "main^{tree}")) is None


@pytest.mark.parametrize("rev", ["HEAD~3", "main^2", "main@{2025-03-01}", "abcd", "v1-3-gabcdef"])
def test_expressions_are_questions(git: Git, rev: str) -> None:
    sha = git.files({"a": b"x"})
    vfs = make(git)
    with pytest.raises(Pending) as caught:
        walk(vfs, "repo", rev)
    assert caught.value.question == Question("commit", "repo", rev)
    with vfs.knowing({caught.value.question: sha}):
        link = walk(vfs, "repo", rev)
        assert vfs.target(link) == sha.encode()  # type: ignore[arg-type]  # a node
    with pytest.raises(Pending):
        vfs.target(link)  # type: ignore[arg-type]  # asked anew at each use


def test_a_lazy_file_system_asks_when_an_expression_is_followed(git: Git) -> None:
    git.files({"a": b"x"})
    vfs = make(git, lazy=True)
    link = walk(vfs, "repo", "HEAD~99")
    assert isinstance(link, RefLink)
    with pytest.raises(Pending):
        vfs.target(link)
    assert walk(vfs, "repo", "absent") is None


@pytest.mark.parametrize(
    "name", [".git", "__init__.py", ".hidden", "abc", "core", "\udcff", "x" * 255]
)
def test_names_asked_in_vain_are_answered_at_once(git: Git, name: str) -> None:
    git.files({"a": b"x"})
    vfs = make(git)
    repo = vfs.lookup(vfs.root, b"repo")
    assert vfs.lookup(repo, name.encode("utf-8", "surrogateescape")) is None  # type: ignore[arg-type]  # a node
    with pytest.raises(TooLong):
        vfs.lookup(repo, b"x" * 256)  # type: ignore[arg-type]  # a node


def test_a_file_has_one_time_wherever_it_is_and_another_for_other_bytes(git: Git) -> None:
    first = git.files({"a": b"one", "d/copy": b"one"})
    second = git.files({"a": b"two", "z": b"one"}, first)
    vfs = make(git)
    node = {
        (sha, name): vfs.attributes(walk(vfs, "repo", sha, *name.split("/")))  # type: ignore[arg-type]  # a node
        for sha, name in ((first, "a"), (first, "d/copy"), (second, "a"), (second, "z"))
    }
    assert node[first, "a"] == node[first, "d/copy"] == node[second, "z"]
    assert node[first, "a"][3:] != node[second, "a"][3:]
    assert 1_000_000_000 <= node[first, "a"].seconds < 1_600_000_000
    folder = vfs.attributes(walk(vfs, "repo", first, "d"))  # type: ignore[arg-type]  # a node
    assert folder.seconds == int(git.text("show", "-s", "--format=%ct", first))


def test_ids_are_the_same_in_every_mount(git: Git) -> None:
    sha = git.files({"d/a": b"x"})
    paths = [
        ("repo",),
        ("repo", "main"),
        ("repo", sha),
        ("repo", sha, "d"),
        ("repo", sha, "d", "a"),
    ]
    one, two = make(git), make(git)
    assert [walk(one, *path) for path in paths] == [walk(two, *path) for path in paths]


def test_a_submodule_is_empty_unless_a_registered_repository_has_its_commit(
    make_git: Callable[[str], Git],
) -> None:
    inner, outer = make_git("inner"), make_git("outer")
    pinned = inner.files({"lib.py": b"x"})
    sha = outer.commit(outer.tree({b"vendor": ("160000", pinned)}))
    vfs = make(outer, inner)
    with pytest.raises(Pending) as caught:
        walk(vfs, "outer", sha, "vendor")
    assert caught.value.question == Question("holder", text=pinned)
    with vfs.knowing({caught.value.question: None}):
        empty = walk(vfs, "outer", sha, "vendor")
    assert isinstance(empty, Submodule)
    assert vfs.lookup(empty, b"lib.py") is None
    with vfs.knowing({caught.value.question: "inner"}):
        filled = walk(vfs, "outer", sha, "vendor")
    assert isinstance(filled, Directory)
    assert filled.id != empty.id
    assert isinstance(vfs.lookup(filled, b"lib.py"), File)
    with vfs.knowing({caught.value.question: "taken off the register"}):
        assert walk(vfs, "outer", sha, "vendor") == empty
    with vfs.knowing({caught.value.question: NO_ANSWER}), pytest.raises(TooSlow):
        walk(vfs, "outer", sha, "vendor")


def test_a_listing_asks_nothing_of_its_submodules(git: Git) -> None:
    sha = git.commit(git.tree({b"m%04d" % n: ("160000", f"{n:040x}") for n in range(3_000)}))
    vfs = make(git)
    listing = vfs.listing(walk(vfs, "repo", sha))  # type: ignore[arg-type]  # a folder
    assert len({node.id for _, node in listing if isinstance(node, Submodule)}) == 3_000


@pytest.mark.parametrize("target", [b"", b"\0", b"\0x"])
def test_a_link_that_names_nothing_leads_nowhere(git: Git, target: bytes) -> None:
    sha = git.commit(git.tree({b"link": ("120000", git.blob(target))}))
    vfs = make(git)
    with pytest.raises(FileNotFoundError):
        vfs.target(walk(vfs, "repo", sha, "link"))  # type: ignore[arg-type]  # a node


@pytest.mark.parametrize(
    ("folder", "target"), [("etl/airflow/dags", b"etl/airflow/dags"), ("", b".")]
)
def test_the_alias_leads_to_the_dag_folder(git: Git, folder: str, target: bytes) -> None:
    sha = git.files({"etl/airflow/dags/a.py": b"x"})
    vfs = make(git, dags=folder)
    alias = walk(vfs, "repo", sha, "dags")
    assert isinstance(alias, Alias)
    assert vfs.target(alias) == target
    assert b"dags" not in dict(vfs.listing(walk(vfs, "repo", sha)))  # type: ignore[arg-type]  # a folder
    assert walk(vfs, "repo", sha, "etl", "dags") is None


def test_memory_for_files_is_bounded(git: Git) -> None:
    sha = git.files({f"f{n}": bytes([n]) * 400 for n in range(20)})
    vfs = make(git, blob_memory=1_000)
    for n in range(20):
        node = walk(vfs, "repo", sha, f"f{n}")
        assert vfs.read(node, 100, 10) == bytes([n]) * 10  # type: ignore[arg-type]  # a node
    assert vfs.blobs.size <= 1_000
    assert sum(map(len, vfs.blobs._blobs.values())) == vfs.blobs.size
    big = git.files({"big": b"x" * 1_001})
    with pytest.raises(Pending):
        vfs.read(walk(vfs, "repo", big, "big"), 0, 10)  # type: ignore[arg-type]  # a node


def test_a_file_whose_blob_is_missing(git: Git) -> None:
    sha = git.commit(git.tree({b"lost": ("100644", "3" * 40)}))
    vfs = make(git)
    with pytest.raises(Damaged):
        walk(vfs, "repo", sha, "lost")
    assert [name for name, _ in vfs.listing(walk(vfs, "repo", sha))] == [b"lost"]  # type: ignore[arg-type]  # a folder


def test_long_link_targets_are_refused(git: Git) -> None:
    sha = git.commit(git.tree({b"long": ("120000", git.blob(b"x" * 4_096))}))
    vfs = make(git)
    with pytest.raises(TooLong):
        vfs.target(walk(vfs, "repo", sha, "long"))  # type: ignore[arg-type]  # a node
