"""One suite, both adapters: the mount shows what git says, whatever happens to the repository."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .compare import in_folder, in_git
from .conftest import Git, MountIt

REAL = [Path(p) for p in os.environ.get("GITDAGS_TEST_REPOSITORIES", "").split(":") if p]
"""More histories to walk, such as a large public repository; the generated one is always walked."""


def history(git: Git, commits: int = 24, seed: int = 1) -> list[str]:
    """Commits that add, change, remove, move and make executable; newest last."""
    chance = random.Random(seed)
    files: dict[str, bytes] = {f"dags/f{n}.py": b"x = %d\n" % n for n in range(30)}
    made: list[str] = []
    for number in range(commits):
        for _ in range(4):
            path = chance.choice(sorted(files))
            if chance.random() < 0.2:
                del files[path]
            else:
                files[path] = chance.randbytes(chance.choice((0, 10, 5_000, 200_000)))
        files[f"lib/d{number % 5}/sub/f{number}.sql"] = b"select %d;\n" % number
        made.append(git.files(files, *made[-1:]))
    return made


def test_walks_equal_git_at_every_commit(git: Git, mount_it: MountIt, backend: str) -> None:
    commits = history(git)
    mounted = mount_it(backend, repo=git)
    for commit in commits:
        assert in_folder(mounted.path / "repo" / commit) == in_git(git.path, commit)


@pytest.mark.skipif(not REAL, reason="GITDAGS_TEST_REPOSITORIES names no repository")
@pytest.mark.parametrize("path", REAL, ids=[path.parent.name for path in REAL])
def test_walks_equal_git_in_public_repositories(
    path: Path, mount_it: MountIt, backend: str
) -> None:
    git = Git(path)
    commits = git.text("rev-list", "--all").split()
    chosen = random.Random(7).sample(commits, 20)
    mounted = mount_it(backend, real=git)
    for commit in chosen:
        assert in_folder(mounted.path / "real" / commit) == in_git(path, commit), commit


def test_modes_links_submodules_and_odd_names(git: Git, mount_it: MountIt, backend: str) -> None:
    blob, script = git.blob(b"text\n"), git.blob(b"#!/bin/sh\n")
    loop = git.blob(b"loop")
    odd = [b"new\nline", b"tab\t", b"\xff\xfe", "snö☃".encode(), b"-rf", b" ", b"a\\b", b"x" * 255]
    entries = dict.fromkeys(odd, ("100644", blob))
    entries |= {
        b"script": ("100755", script),
        b"loop": ("120000", loop),
        b"out": ("120000", git.blob(b"../../../etc/passwd")),
        b"long": ("120000", git.blob(b"y" * 4_095)),
        b"odd\xff": ("120000", git.blob(b"\xff\n")),
        b"module": ("160000", "1" * 40),
        b"empty": ("100644", git.blob(b"")),
    }
    commit = git.commit(git.tree(entries))
    mounted = mount_it(backend, repo=git)
    top = mounted.path / "repo" / commit
    assert in_folder(top) == in_git(git.path, commit)
    assert (top / "script").stat().st_mode & 0o7777 == 0o555
    assert (top / "empty").stat().st_mode & 0o7777 == 0o444
    with pytest.raises(OSError, match="symbolic links") as caught:
        (top / "loop").read_bytes()
    assert caught.value.errno == errno.ELOOP


def test_a_link_to_nowhere_is_not_its_own_folder(git: Git, mount_it: MountIt, backend: str) -> None:
    commit = git.commit(
        git.tree({b"empty": ("120000", git.blob(b"")), b"f": ("100644", git.blob(b"x"))})
    )
    top = mount_it(backend, repo=git).path / "repo" / commit
    assert sorted(os.listdir(top)) == ["empty", "f"]
    assert (top / "empty").is_symlink()
    for attempt in (os.readlink, os.stat, os.listdir):
        with pytest.raises(FileNotFoundError):
            attempt(top / "empty")
    assert not (top / "empty/f").exists()


def test_hostile_names_are_dropped(git: Git, mount_it: MountIt, backend: str) -> None:
    blob = git.blob(b"x")
    names = [b".", b"..", b".GIT", b"a/b", b"good", b"good", b"n" * 256]
    commit = git.commit(git.raw_tree([(b"100644", name, blob) for name in names]))
    top = mount_it(backend, repo=git).path / "repo" / commit
    assert os.listdir(top) == ["good"]


def test_a_folder_of_ten_thousand(git: Git, mount_it: MountIt, backend: str) -> None:
    blob = git.blob(b"x")
    commit = git.commit(git.tree({b"f%05d" % n: ("100644", blob) for n in range(10_000)}))
    top = mount_it(backend, repo=git).path / "repo" / commit
    assert sorted(os.listdir(top)) == [f"f{n:05}" for n in range(10_000)]
    assert (top / "f09999").read_bytes() == b"x"


def test_sixty_thousand_refs(git: Git, mount_it: MountIt, backend: str) -> None:
    commit = git.files({"a": b"x"})
    names = sorted(f"refs/heads/team{n % 7}/b{n}" for n in range(60_000))
    lines = "".join(f"{commit} {name}\n" for name in names)
    (git.path / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + lines)
    repo = mount_it(backend, repo=git).path / "repo"
    assert sorted(os.listdir(repo)) == ["HEAD", "main", *(f"team{n}" for n in range(7))]
    found = {
        f"{team}/{name}"
        for n in range(7)
        for team in [f"team{n}"]
        for name in os.listdir(repo / team)
    }
    assert len(found) == 60_000
    assert os.readlink(repo / "team3/b10") == f"../{commit}"


def test_a_deep_tree(git: Git, mount_it: MountIt, backend: str) -> None:
    tree = git.tree({b"leaf": ("100644", git.blob(b"deep"))})
    for _ in range(300):
        tree = git.tree({b"d": ("40000", tree)})
    commit = git.commit(tree)
    top = mount_it(backend, repo=git).path / "repo" / commit
    assert (top / ("d/" * 300) / "leaf").read_bytes() == b"deep"


NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: b"/" not in name and b"\0" not in name
    and name not in (b".", b"..") and name.lower() != b".git"
)  # fmt: skip
LEAVES = st.one_of(
    st.tuples(st.sampled_from(["100644", "100755"]), st.binary(max_size=300)),
    st.tuples(
        st.just("120000"), st.binary(min_size=1, max_size=80).filter(lambda t: b"\0" not in t)
    ),
    st.tuples(st.just("160000"), st.just(b"")),
)
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, min_size=1, max_size=5),
    lambda inner: st.dictionaries(NAMES, st.one_of(LEAVES, inner), min_size=1, max_size=4),
    max_leaves=12,
)


def _write(git: Git, tree: dict[bytes, object]) -> str:
    entries = {}
    for name, item in tree.items():
        if isinstance(item, dict):
            entries[name] = ("40000", _write(git, item))
        else:
            mode, data = item
            entries[name] = (mode, "2" * 40 if mode == "160000" else git.blob(data))
    return git.tree(entries)


def test_generated_trees(git: Git, mount_it: MountIt, backend: str) -> None:
    git.files({"a": b"x"})
    top = mount_it(backend, repo=git).path / "repo"

    @settings(
        max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(TREES)
    def agree(tree: dict[bytes, object]) -> None:
        commit = git.commit(_write(git, tree), ref="refs/heads/generated")
        assert in_folder(top / "generated") == in_git(git.path, commit)

    agree()


def test_sixteen_readers_during_upkeep(git: Git, mount_it: MountIt, backend: str) -> None:
    commits = history(git, 10)
    expected = {commit: in_git(git.path, commit) for commit in commits}
    git("update-ref", "refs/heads/doomed", commits[3])
    mounted = mount_it(backend, repo=git)
    top = mounted.path / "repo"
    stop = threading.Event()

    def reader(seed: int) -> int:
        chance, rounds = random.Random(seed), 0
        while not stop.is_set() or rounds == 0:
            commit = chance.choice(commits)
            assert in_folder(top / commit) == expected[commit]
            rounds += 1
        return rounds

    with ThreadPoolExecutor(16) as pool:
        rounds = [pool.submit(reader, seed) for seed in range(16)]
        try:
            git("gc", "-q")
            git("pack-refs", "--all")
            git("branch", "-D", "doomed")
            # the history is rewritten; what it led to before is kept alive, as stamps do
            git("update-ref", "refs/gitdags/keep/x", commits[-1])
            new = git.files({"rewritten": b"1"})
            git("repack", "-adq")
            if backend == "kernel":
                os.kill(mounted.processes[1], signal.SIGKILL)
                mounted.wait_logged("kernel server", 2)
            git("gc", "-q", "--prune=now")
            assert os.readlink(top / "main") == new
            assert not (top / "doomed").exists()
            subprocess.run(["sync", "-f", str(git.path)], check=True)
            (Path("/proc/sys/vm") / "drop_caches").write_text("2") if os.geteuid() == 0 else None
        finally:
            stop.set()
        assert all(each.result() for each in rounds)


def test_packs_that_vanish_between_two_reads(git: Git, mount_it: MountIt, backend: str) -> None:
    commits = history(git, 6)
    git("repack", "-adq")
    top = mount_it(backend, repo=git).path / "repo"
    assert in_folder(top / commits[0]) == in_git(git.path, commits[0])
    git.files({"more": b"y"}, commits[-1])
    git("repack", "-adq", "--depth=1", "--window=1", "-F")
    git("prune-packed")
    for commit in commits:
        assert in_folder(top / commit) == in_git(git.path, commit)


def test_a_pushed_ref_is_followed_at_once(git: Git, mount_it: MountIt, backend: str) -> None:
    first = git.files({"f": b"one"})
    top = mount_it(backend, repo=git).path / "repo"
    assert (top / "main/f").read_bytes() == b"one"
    second = git.files({"f": b"two"}, first)
    assert (top / "main/f").read_bytes() == b"two"
    git("update-ref", "refs/heads/new/branch", second)
    assert (top / "new/branch/f").read_bytes() == b"two"
    git("update-ref", "-d", "refs/heads/new/branch")
    assert not (top / "new/branch/f").exists()
    git("update-ref", "refs/heads/main", first)
    assert os.readlink(top / "main") == first


def test_python_imports_and_sees_an_edit_of_the_same_size(
    git: Git, mount_it: MountIt, backend: str, tmp_path: Path
) -> None:
    first = git.files({"pkg/__init__.py": b"VALUE = 1\n"})
    top = mount_it(backend, repo=git).path / "repo"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path / "pyc")}
    environment["PYTHONPATH"] = str(top / "main")

    def value() -> str:
        command = [sys.executable, "-c", "import pkg; print(pkg.VALUE, pkg.__cached__)"]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.split()[0]

    assert value() == value() == "1"
    git.files({"pkg/__init__.py": b"VALUE = 2\n"}, first)
    assert value() == "2"


def test_every_write_is_refused(git: Git, mount_it: MountIt, backend: str) -> None:
    git.files({"d/f": b"x"})
    top = mount_it(backend, repo=git).path / "repo"
    inside = top / "main" / "d"
    attempts = [
        lambda: (inside / "new").write_bytes(b""),
        lambda: (inside / "f").open("ab"),
        lambda: (inside / "f").unlink(),
        lambda: (inside / "sub").mkdir(),
        lambda: (inside / "f").rename(inside / "g"),
        lambda: (inside / "l").symlink_to("f"),
        lambda: os.link(inside / "f", inside / "h"),
        lambda: (inside / "f").chmod(0o777),
        lambda: os.utime(inside / "f"),
        lambda: os.truncate(inside / "f", 0),
        lambda: inside.rmdir(),
        lambda: (top / "main").unlink(),
        lambda: os.setxattr(inside / "f", "user.x", b""),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match=r".") as caught:
            attempt()
        assert caught.value.errno == errno.EROFS


def test_a_missing_object_is_an_error_and_one_line(
    git: Git, mount_it: MountIt, backend: str
) -> None:
    lost = "3" * 40
    commit = git.commit(git.tree({b"lost": ("100644", lost), b"kept": ("100644", git.blob(b"k"))}))
    mounted = mount_it(backend, repo=git)
    top = mounted.path / "repo" / commit
    assert sorted(os.listdir(top)) == ["kept", "lost"]
    for _ in range(3):
        with pytest.raises(OSError, match=r".") as caught:
            (top / "lost").read_bytes()
        assert caught.value.errno == errno.EIO
    assert (top / "kept").read_bytes() == b"k"
    assert mounted.log.read_text().count(lost) == 1


def test_damaged_objects_are_an_error_and_one_line(
    git: Git, mount_it: MountIt, backend: str
) -> None:
    """Not missing but spoilt: a tree that is none, a blob whose bytes do not unpack."""
    blob = git.blob(b"spoilt" * 100)
    good, spoilt = git.blob(b"k"), git.path / "objects" / blob[:2] / blob[2:]
    tree = git.text("hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=b"100644 x")
    commit = git.commit(
        git.tree({b"t": ("40000", tree), b"b": ("100644", blob), b"k": ("100644", good)})
    )
    data = spoilt.read_bytes()
    spoilt.chmod(0o644)
    spoilt.write_bytes(data[:-12] + b"\xff" * 12)
    mounted = mount_it(backend, repo=git)
    top = mounted.path / "repo" / commit
    for _ in range(3):
        for attempt in (lambda: os.listdir(top / "t"), lambda: (top / "b").read_bytes()):
            with pytest.raises(OSError, match=r".") as caught:
                attempt()
            assert caught.value.errno == errno.EIO
    assert (top / "k").read_bytes() == b"k"
    log = mounted.log.read_text()
    assert (log.count(tree), log.count(blob), log.count("bug")) == (1, 1, 0)


def test_a_pruned_commit_under_an_open_folder(git: Git, mount_it: MountIt, backend: str) -> None:
    kept = git.files({"a": b"x"})
    gone = git.files({"deep/er/f": b"gone"}, ref="refs/heads/temporary")
    top = mount_it(backend, repo=git, plan={"tree_memory": 0}).path / "repo"
    held = os.open(top / gone / "deep", os.O_RDONLY)
    try:
        git("update-ref", "-d", "refs/heads/temporary")
        git("reflog", "expire", "--expire=now", "--all")
        git("prune", "--expire=now")
        assert (top / kept / "a").read_bytes() == b"x"
        with pytest.raises(OSError, match=r".") as caught:
            os.listdir(held)
        assert caught.value.errno == errno.ESTALE
    finally:
        os.close(held)
