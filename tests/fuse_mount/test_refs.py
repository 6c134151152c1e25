"""Refs as folders: nesting, clashes, names that no path can spell."""

from __future__ import annotations

from fuse_mount.refs import RefTree
from gitdags.git import Repository

from .conftest import Git


def _tree(git: Git) -> RefTree:
    return RefTree(Repository(git.path))


def test_short_names_nest_and_each_ref_is_listed_once(git: Git) -> None:
    sha = git.files({"a": b"x"})
    for ref in (
        "heads/feature/x",
        "tags/v1",
        "remotes/origin/main",
        "pull/7/head",
        "gitdags/keep/1",
    ):
        git("update-ref", f"refs/{ref}", sha)
    tree = _tree(git)
    top = {
        b"HEAD": True,
        b"main": True,
        b"feature": False,
        b"v1": True,
        b"origin": False,
        b"refs": False,
    }
    assert tree.folder(b"") == top
    assert tree.folder(b"feature") == {b"x": True}
    assert tree.folder(b"refs") == {b"pull": False}
    assert tree.folder(b"refs/heads") == {b"main": True, b"feature": False}
    assert tree.folder(b"heads/feature") == {b"x": True}
    assert tree.folder(b"refs/gitdags/keep") == {b"1": True}
    assert tree.folder(b"nothing") is None
    assert tree.folder(b"main") is None


def test_a_branch_beside_a_tag_of_the_same_beginning(git: Git) -> None:
    sha = git.files({"a": b"x"})
    git("update-ref", "refs/heads/v1", sha)
    git("update-ref", "refs/tags/v1/2", sha)
    tree = _tree(git)
    assert tree.folder(b"")[b"v1"] is True  # type: ignore[index]  # it is there
    assert tree.folder(b"refs/tags/v1") == {b"2": True}


def test_names_that_no_path_can_spell_are_left_out(git: Git) -> None:
    sha = git.files({"a": b"x"})
    lines = sorted(
        [
            b"refs/heads/\xff\xfe",
            b"refs/heads/ok",
            b"refs/heads/" + b"x" * 256,
            b"refs/heads/" + sha.encode(),
        ]
    )
    packed = b"# pack-refs with: peeled fully-peeled sorted \n"
    packed += b"".join(sha.encode() + b" " + line + b"\n" for line in lines)
    (git.path / "packed-refs").write_bytes(packed)
    assert _tree(git).folder(b"") == {b"HEAD": True, b"main": True, b"ok": True}
    assert sha.encode() in _tree(git).folder(b"refs/heads")  # type: ignore[operator]  # it is there


def test_broken_refs_are_left_out(git: Git) -> None:
    git.files({"a": b"x"})
    git("update-ref", "refs/tags/blob", git.blob(b"x"))
    git("symbolic-ref", "refs/heads/dangling", "refs/heads/nowhere")
    heads = git.path / "refs/heads"
    (heads / "garbage").write_bytes(b"no object id\n")
    (heads / "empty").write_bytes(b"")
    (heads / "absent").write_bytes(b"4" * 40 + b"\n")
    assert _tree(git).folder(b"") == {b"HEAD": True, b"main": True}


def test_changes_are_seen(git: Git) -> None:
    tree = _tree(git)
    assert tree.folder(b"") == {}
    sha = git.files({"a": b"x"})
    before = tree.changed()
    assert tree.folder(b"") == {b"HEAD": True, b"main": True}
    for command in (("update-ref", "refs/heads/new/deep", sha), ("pack-refs", "--all"),
                    ("update-ref", "-d", "refs/heads/new/deep")):  # fmt: skip
        git(*command)
        assert tree.changed() != before
        before = tree.changed()
        assert (b"new" in (tree.folder(b"") or {})) == (command[1] != "-d")


def test_a_linked_worktree_shows_its_repositorys_refs(git: Git) -> None:
    git.files({"a": b"x"})
    linked = git.path.parent / "linked"
    git("worktree", "add", "-q", "-b", "other", str(linked), "main")
    tree = RefTree(Repository(linked / ".git" if (linked / ".git").is_dir() else linked))
    assert tree.folder(b"") == {b"HEAD": True, b"main": True, b"other": True}
