"""The depot: trees that share their files, checked before use, mended, cleared."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fuse_mount.nodes import file_time
from gitdags import git
from gitdags.depot import Depot, DepotUnusable, GitStock
from tests.conftest import Repo

FILES = {
    "dags/a.py": "A = 1\n",
    "dags/lib/b.py": "B = 2\n",
    "dags/lib/empty.py": "",
    "sql/q.sql": "select 1\n",
}


def stock(repo: Repo, commit: str) -> GitStock:
    opened = git.Repository(repo.path)
    return GitStock(opened, opened.commit(commit).tree)


def snapshot(folder: Path) -> dict[str, bytes | str]:
    """Path -> bytes, or link's target, of everything below a folder."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


class Kept:
    """A depot, a repository with two commits, and the first one's tree."""

    def __init__(self, repo: Repo, folder: Path) -> None:
        self.repo, self.depot = repo, Depot(folder)
        os.makedirs(repo.path / "bin")
        (repo.path / "bin/run").write_text("#!/bin/sh\n")
        (repo.path / "bin/run").chmod(0o755)
        (repo.path / "dags").mkdir()
        (repo.path / "dags/link").symlink_to("lib/b.py")
        self.first = repo.commit(FILES)
        self.second = repo.commit({"dags/a.py": "A = 3\n"})
        self.folder = self.tree(self.first)

    def tree(self, commit: str) -> Path:
        return self.depot.tree(commit, stock(self.repo, commit))


@pytest.fixture
def kept(repo: Repo, tmp_path: Path) -> Kept:
    return Kept(repo, tmp_path / "depot")


def test_a_tree_is_what_git_has(kept: Kept) -> None:
    for commit in (kept.first, kept.second):
        kept.repo("checkout", "-q", commit)
        (want := snapshot(kept.repo.path)) and [want.pop(p) for p in list(want) if ".git/" in p]
        assert snapshot(kept.tree(commit)) == want
        assert kept.depot.faults(commit) == []
    assert kept.depot.commits() == sorted([kept.first, kept.second])


def test_files_are_shared_and_closed(kept: Kept) -> None:
    other = kept.tree(kept.second)
    one, two = kept.folder / "dags/lib/b.py", other / "dags/lib/b.py"
    assert one.stat().st_ino == two.stat().st_ino
    assert (kept.folder / "dags/a.py").stat().st_ino != (other / "dags/a.py").stat().st_ino
    modes = {
        str(p.relative_to(kept.folder)): stat.S_IMODE(p.lstat().st_mode)
        for p in kept.folder.rglob("*")
        if not p.is_symlink()
    }
    assert modes == {
        "bin": 0o555, "bin/run": 0o555, "dags": 0o555, "dags/a.py": 0o444, "dags/lib": 0o555,
        "dags/lib/b.py": 0o444, "dags/lib/empty.py": 0o444, "sql": 0o555, "sql/q.sql": 0o444,
    }  # fmt: skip
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o555


def test_the_executable_bit_has_an_inode_of_its_own(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"plain": "same\n", "tool": "same\n"})
    (repo.path / "tool").chmod(0o755)
    commit = repo.commit()
    tree = Depot(tmp_path / "depot").tree(commit, stock(repo, commit))
    assert (tree / "plain").stat().st_ino != (tree / "tool").stat().st_ino
    assert os.access(tree / "tool", os.X_OK)


def test_a_file_has_the_time_that_the_mount_gives_it(kept: Kept) -> None:
    oid = kept.repo("rev-parse", f"{kept.first}:dags/a.py")
    seconds, nanoseconds = file_time(oid)
    assert (kept.folder / "dags/a.py").stat().st_mtime_ns == seconds * 10**9 + nanoseconds


def spoil(path: Path, how: str) -> None:
    path.parent.chmod(0o755)
    if how == "written":
        path.chmod(0o644)
        path.write_text("A = 9\n")
        path.chmod(0o444)
    elif how == "longer":
        path.chmod(0o644)
        path.write_text(path.read_text() + "x")
    elif how == "mode":
        path.chmod(0o777)
    elif how == "removed":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
        (path / "x").write_text("")
    elif how == "link":
        path.unlink()
        path.symlink_to("/etc/passwd")
    elif how == "beside":
        (path.parent / "evil.py").write_text("")
        (path.parent / "__pycache__").mkdir()
        (path.parent / "__pycache__/a.pyc").write_text("")


@pytest.mark.parametrize(
    "how", ["written", "longer", "mode", "removed", "folder", "link", "beside"]
)
def test_what_was_spoilt_is_mended(kept: Kept, how: str) -> None:
    before = snapshot(kept.folder)
    spoil(kept.folder / "dags/a.py", how)
    assert kept.depot.faults(kept.first) != []
    assert kept.tree(kept.first) == kept.folder
    assert (snapshot(kept.folder), kept.depot.faults(kept.first)) == (before, [])
    assert stat.S_IMODE((kept.folder / "dags").stat().st_mode) == 0o555


def test_a_file_spoilt_in_one_tree_is_mended_in_every_other(kept: Kept) -> None:
    other = kept.tree(kept.second)
    spoil(kept.folder / "dags/lib/b.py", "written")
    assert (other / "dags/lib/b.py").read_text() == "A = 9\n"  # one inode
    kept.tree(kept.second)
    assert (other / "dags/lib/b.py").read_text() == "B = 2\n"
    kept.tree(kept.first)
    assert (kept.folder / "dags/lib/b.py").read_text() == "B = 2\n"


def test_a_folder_that_is_gone_or_a_link_is_made_anew(kept: Kept) -> None:
    before = snapshot(kept.folder)
    for folder in (kept.folder / "dags", kept.folder / "dags/lib"):
        folder.chmod(0o755)
    shutil.rmtree(kept.folder / "dags/lib")
    (kept.folder / "dags/lib").symlink_to("/etc")
    (kept.folder / "dags/link").unlink()
    (kept.folder / "dags/link").symlink_to("/etc/passwd")
    assert kept.depot.faults(kept.first) == [b"dags/lib", b"dags/lib/b.py", b"dags/lib/empty.py",
                                             b"dags/link"]  # fmt: skip
    kept.tree(kept.first)
    assert snapshot(kept.folder) == before


@pytest.mark.parametrize("damage", ["gone", "empty", "cut"])
def test_a_damaged_list_is_made_anew(kept: Kept, damage: str) -> None:
    path = kept.depot.folder / "lists" / kept.first
    data = path.read_bytes()
    path.unlink() if damage == "gone" else path.write_bytes(
        b"" if damage == "empty" else data[:-90]
    )
    assert kept.depot.faults(kept.first) != []
    kept.tree(kept.first)
    assert (path.read_bytes(), kept.depot.faults(kept.first)) == (data, [])


def test_links_run_out(kept: Kept) -> None:
    source = kept.folder / "dags/lib/b.py"
    farm = kept.depot.folder.parent / "farm"
    farm.mkdir()
    limit = os.pathconf(farm, "PC_LINK_MAX")
    if limit > 100_000:
        pytest.skip(f"this file system takes {limit} links to a file")
    for number in range(limit - source.stat().st_nlink):
        os.link(source, farm / str(number))
    other = kept.tree(kept.second)
    assert (other / "dags/lib/b.py").read_text() == "B = 2\n"
    assert (other / "dags/lib/b.py").stat().st_ino != source.stat().st_ino
    assert kept.depot.faults(kept.first) == kept.depot.faults(kept.second) == []


def test_a_file_system_without_links(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    other = kept.tree(kept.second)
    assert (other / "dags/a.py").read_text() == "A = 3\n"
    assert kept.depot.faults(kept.second) == []


def _ask(path: str, commit: str, folder: str) -> None:
    opened = git.Repository(path)
    found = Depot(Path(folder)).tree(commit, GitStock(opened, opened.commit(commit).tree))
    assert (found / "dags/a.py").read_text() == "A = 3\n"


def test_many_at_once_make_one_tree(kept: Kept) -> None:
    context = multiprocessing.get_context("spawn")
    words = (str(kept.repo.path), kept.second, str(kept.depot.folder))
    askers = [context.Process(target=_ask, args=words) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert [asker.exitcode for asker in askers] == [0] * 4
    assert kept.depot.faults(kept.second) == []
    assert os.listdir(kept.depot.folder / "aside") == []


def test_a_maker_that_is_killed_leaves_nothing_in_place(kept: Kept) -> None:
    """Killed before each of its renames in turn; the next one goes on."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from gitdags import git; from gitdags.depot import Depot, GitStock\n"
        "path, commit, folder, number = sys.argv[1:]\n"
        "left, rename = [int(number)], os.rename\n"
        "def dying(*words):\n"
        "    left[0] -= 1\n"
        "    os.kill(os.getpid(), 9) if left[0] < 0 else rename(*words)\n"
        "os.rename = dying\n"
        "repo = git.Repository(path)\n"
        "Depot(Path(folder)).tree(commit, GitStock(repo, repo.commit(commit).tree))\n"
    )
    for number in range(20):
        words = [str(kept.repo.path), kept.second, str(kept.depot.folder), str(number)]
        done = subprocess.run([sys.executable, "-c", code, *words], check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -9
        assert kept.depot.faults(kept.second) is None
    assert number > 2
    assert (kept.tree(kept.second) / "dags/a.py").read_text() == "A = 3\n"
    kept.depot.gc([kept.first, kept.second])
    assert os.listdir(kept.depot.folder / "aside") == []


def age(kept: Kept, commit: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(kept.depot.folder / "lists" / commit, (then, then))


def test_gc_removes_what_nobody_holds(kept: Kept) -> None:
    kept.tree(kept.second)
    for commit in (kept.first, kept.second):
        age(kept, commit, 7200)
    assert kept.depot.gc([kept.second], dry=True) == [kept.first]
    assert kept.folder.is_dir()
    assert kept.depot.gc([kept.second]) == [kept.first]
    assert (kept.folder.exists(), kept.depot.faults(kept.second)) == (False, [])
    files = [p for p in (kept.depot.folder / "files").rglob("*") if p.is_file()]
    assert sorted(p.stat().st_nlink for p in files) == [2] * 5  # the old a.py is gone
    assert snapshot(kept.tree(kept.first))["dags/a.py"] == b"A = 1\n"


def test_gc_leaves_what_was_asked_for_lately(kept: Kept) -> None:
    age(kept, kept.first, 3000)
    assert kept.depot.gc([]) == []
    age(kept, kept.first, 7200)
    kept.tree(kept.first)
    assert kept.depot.gc([]) == []


def test_gc_of_a_depot_that_never_was(tmp_path: Path) -> None:
    assert Depot(tmp_path / "nowhere").gc([]) == []
    assert not (tmp_path / "nowhere").exists()


def test_only_full_ids_of_commits(kept: Kept) -> None:
    for name in ("main", kept.first[:12], "../" + kept.first[3:]):
        with pytest.raises(DepotUnusable, match="no commit's full id"):
            kept.depot.tree(name, stock(kept.repo, kept.first))


def test_a_disk_that_refuses(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DepotUnusable, match=r"cannot write .*file"):
        Depot(tmp_path / "file").tree(kept.first, stock(kept.repo, kept.first))


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_reads_but_never_writes(kept: Kept) -> None:
    for folder in (kept.repo.path, *kept.repo.path.parents):
        if folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from gitdags import git; from gitdags.depot import Depot, DepotUnusable, GitStock\n"
        "path, first, second, folder = sys.argv[1:]\n"
        "class No:\n"
        "    def fill(self, depot): raise AssertionError\n"
        "os.setuid(65534); depot = Depot(Path(folder))\n"
        "print((depot.tree(first, No()) / 'dags/a.py').read_text(), end='')\n"
        "try: depot.tree(second, No())\n"
        "except DepotUnusable as error: print(error)\n"
    )
    words = [str(kept.repo.path), kept.first, kept.second, str(kept.depot.folder)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("A = 1\n"), done.stderr
    assert "belongs to user 0, and only that one adds to it" in done.stdout


def test_names_that_fit_nowhere_are_left_out(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit({"ok": "x"})
    long = "n" * 300
    blob = repo("hash-object", "-w", "--stdin", input=b"x")
    tree = repo("mktree", input=f"100644 blob {blob}\t{long}\n100644 blob {blob}\tok\n".encode())
    commit = repo("commit-tree", tree, "-m", "long")
    source = stock(repo, commit)
    assert snapshot(Depot(tmp_path / "depot").tree(commit, source)) == {"ok": b"x"}
    assert source.skipped == [long.encode()]
