"""Archives into a depot: what Git has comes out, and nothing hostile does."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitdags import archive, git
from gitdags.airflow import unpacking
from gitdags.airflow.unpacking import ArchiveStock, BadArchive
from gitdags.depot import Depot, GitStock
from tests.conftest import Repo

COMMIT = "c" * 40


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"x", link: str = "",
           mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:  # fmt: skip
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data


def packed(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def unpack(data: bytes, folder: Path) -> dict[str, bytes | str]:
    tree = Depot(folder).tree(COMMIT, ArchiveStock(lambda: io.BytesIO(data)))
    return {
        str(path.relative_to(tree)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in tree.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def tangled(repo: Repo) -> str:
    """A commit with everything a tree may have."""
    other = repo.commit(
        {"dags/a.py": "A\n", "dags/lib/b.py": "B\n", "data/empty": "", "tool": "#!\n"}
    )
    (repo.path / "tool").chmod(0o755)
    (repo.path / "dags/link").symlink_to("lib/b.py")
    repo("update-index", "--add", "--cacheinfo", f"160000,{other},modules/sub")
    repo("add", "tool", "dags/link")
    repo("commit", "-q", "-m", "tangled")
    return repo("rev-parse", "HEAD")


def test_the_same_tree_comes_from_git_and_from_the_archive(
    repo: Repo, tangled: str, tmp_path: Path
) -> None:
    opened = git.Repository(repo.path)
    tree = opened.commit(tangled).tree
    data = b"".join(archive.pack(opened, tree))
    one, other = Depot(tmp_path / "git"), Depot(tmp_path / "archive")
    one.tree(tangled, GitStock(opened, tree))
    place = other.tree(tangled, ArchiveStock(lambda: io.BytesIO(data)))

    def listed(depot: Depot) -> list[tuple[bytes, int, str | None, int]]:
        items = depot._listed(tangled) or []
        # An archive does not say which commit a submodule stands at.
        return sorted(
            (i.path, i.mode, i.oid if i.mode != 0o160000 else None, i.size) for i in items
        )

    assert listed(one) == listed(other)
    assert (place / "modules/sub").is_dir()
    assert one.faults(tangled) == other.faults(tangled) == []


def test_a_spoilt_tree_is_fetched_again(repo: Repo, tangled: str, tmp_path: Path) -> None:
    opened = git.Repository(repo.path)
    data = b"".join(archive.pack(opened, opened.commit(tangled).tree))
    asked = []

    def fetch() -> io.BytesIO:
        asked.append(1)
        return io.BytesIO(data)

    depot = Depot(tmp_path / "depot")
    tree = depot.tree(tangled, ArchiveStock(fetch))
    depot.tree(tangled, ArchiveStock(fetch))
    (tree / "dags/a.py").chmod(0o644)
    depot.tree(tangled, ArchiveStock(fetch))
    assert (len(asked), depot.faults(tangled)) == (2, [])


@pytest.mark.parametrize(
    "hostile",
    [
        member("../out"), member("/abs"), member("a/../../out"), member("a//b"), member(".git/config"),
        member("a/.GIT/x"), member("."), member(""), member("n" * 300), member("a/./b"),
        member("link", tarfile.SYMTYPE, link="/etc/passwd"),
        member("link", tarfile.SYMTYPE, link="../../etc/passwd"),
        member("hard", tarfile.LNKTYPE, link="/etc/passwd"), member("hard", tarfile.LNKTYPE, link="ok"),
        member("fifo", tarfile.FIFOTYPE), member("null", tarfile.CHRTYPE), member("ok", data=b"second"),
    ],
    ids=lambda pair: f"{pair[0].name[:12]}-{pair[0].type.decode()}",
)  # fmt: skip
def test_what_is_no_plain_path_of_the_tree_is_left_out(
    hostile: tuple[tarfile.TarInfo, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = packed([member("ok", data=b"fine"), hostile])
    assert unpack(data, tmp_path / "depot") == {"ok": b"fine"}
    assert "1 members of the archive were left out" in caplog.text
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_through_a_link_of_the_archive(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    data = packed([
        member("sub/x", data=b"kept"), member("in", tarfile.SYMTYPE, link="sub"),
        member("in/evil", data=b"lost"), member("file", data=b"kept"), member("file/below"),
    ])  # fmt: skip
    assert unpack(data, tmp_path / "depot") == {"sub/x": b"kept", "in": "sub", "file": b"kept"}


def test_the_mode_is_all_that_is_taken_of_a_member(tmp_path: Path) -> None:
    info, data = member("tool", mode=0o6777)
    info.uid, info.mtime = 4711, 1
    unpack(packed([(info, data), member("plain")]), tmp_path / "depot")
    tree = tmp_path / "depot/trees" / COMMIT
    assert [oct((tree / name).stat().st_mode)[-4:] for name in ("tool", "plain")] == [
        "0555",
        "0444",
    ]


@pytest.mark.parametrize(
    "spoil",
    [lambda data: data[: len(data) // 2], lambda data: data[:30], lambda _: b"not an archive at all",
     lambda _: b"", lambda data: data[:-20] + bytes(20), lambda _: gzip.compress(b"no tar" * 200)],
)  # fmt: skip
def test_a_broken_archive_leaves_nothing(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    whole = packed([member(f"f{n}", data=os.urandom(2_000)) for n in range(20)])
    with pytest.raises(BadArchive):
        unpack(spoil(whole), tmp_path / "depot")
    assert Depot(tmp_path / "depot").faults(COMMIT) is None
    assert not (tmp_path / "depot/trees" / COMMIT).exists()


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1_000)
    with pytest.raises(BadArchive, match="more than anyone"):
        unpack(packed([member("big", data=bytes(2_000))]), tmp_path / "depot")
    monkeypatch.setattr(unpacking, "MOST_ENTRIES", 3)
    with pytest.raises(BadArchive, match="more than anyone"):
        unpack(packed([member(str(n)) for n in range(4)]), tmp_path / "depot")


names = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", ".git", "c/d", "ü"]), min_size=1, max_size=4
)


@given(st.lists(st.tuples(names, st.booleans(), names), max_size=8))
@example([(["a", "a"], False, ["a"]), (["a", ""], True, [".."])])  # a link `a/` to the outside
def test_whatever_the_members_nothing_leaves_the_tree(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[list[str], bool, list[str]]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    data = packed(
        member("/".join(name), tarfile.SYMTYPE if link else tarfile.REGTYPE, link="/".join(target))
        for name, link, target in members
    )
    depot = Depot(folder / "depot")
    tree = depot.tree(COMMIT, ArchiveStock(lambda: io.BytesIO(data)))
    assert depot.faults(COMMIT) == []
    assert os.listdir(folder) == ["depot"]
    for path in tree.rglob("*"):
        if path.is_symlink():
            target = os.path.normpath(path.parent / os.readlink(path))
            assert Path(target).is_relative_to(tree)
