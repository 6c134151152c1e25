"""One mount's life: dying servers, signals, busy mounts, slow questions, bounded memory."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from fuse_mount import device, mount, mounts
from fuse_mount.repositories import MountedRepository
from gitdags.git import Repository, resolve

from .compare import in_folder, in_git
from .conftest import Git, MountIt
from .test_conformance import history


def test_a_killed_server_is_replaced_and_open_files_go_on(git: Git, mount_it: MountIt) -> None:
    commits = history(git, 6)
    mounted = mount_it("kernel", repo=git)
    top = mounted.path / "repo" / commits[-1]
    name = max(in_git(git.path, commits[-1]).items(), key=lambda item: len(item[1][1]))[0].decode()
    folder = os.open(top / "dags", os.O_RDONLY)
    with (top / name).open("rb", buffering=0) as file:
        start = file.read(1_000)
        for round in range(3):
            _, server = mounted.processes
            os.kill(server, signal.SIGKILL)
            mounted.wait_logged("took over", round + 1)
            mounted.wait_logged(
                "kernel server", round + 2
            )  # the supervisor names it in its own time
        assert start + file.read() == in_git(git.path, commits[-1])[name.encode()][1]
    assert set(map(os.fsencode, os.listdir(folder))) == {
        path.split(b"/")[1] for path in in_git(git.path, commits[-1]) if path.startswith(b"dags/")
    }
    os.close(folder)
    for commit in commits:
        assert in_folder(mounted.path / "repo" / commit) == in_git(git.path, commit)


def test_readers_notice_nothing_when_servers_die(git: Git, mount_it: MountIt) -> None:
    commits = history(git, 8)
    mounted = mount_it("kernel", repo=git)
    code = """
import sys; sys.path.insert(0, sys.argv[4])
from pathlib import Path
from tests.fuse_mount.compare import in_folder, in_git
expected = {c: in_git(Path(sys.argv[2]), c) for c in sys.argv[3].split()}
print("ready", flush=True)
while not Path(sys.argv[5]).exists():
    for commit, contents in expected.items():
        assert in_folder(Path(sys.argv[1]) / commit) == contents
"""
    stop = mounted.log.parent / "stop"
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", code, mounted.path / "repo", git.path, " ".join(commits),
             Path(__file__).parents[2], stop],
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]  # fmt: skip
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"ready\n"
        for round in range(4):
            os.kill(mounted.processes[1], signal.SIGKILL)
            mounted.wait_logged("took over", round + 1)
            mounted.wait_logged(
                "kernel server", round + 2
            )  # the supervisor names it in its own time
    finally:
        stop.touch()
        ends = [reader.wait(60) for reader in readers]
        for reader in readers:
            assert reader.stdout is not None
            reader.stdout.close()
    assert ends == [0] * 4


def test_libfuse_is_mounted_again_when_its_server_dies(git: Git, mount_it: MountIt) -> None:
    commit = git.files({"f": b"x"})
    mounted = mount_it("libfuse", repo=git)
    os.kill(mounted.processes[1], signal.SIGKILL)
    mounted.wait_logged("libfuse server", 2)
    assert (mounted.path / "repo" / commit / "f").read_bytes() == b"x"


def test_a_server_that_keeps_dying_is_given_up(git: Git, mount_it: MountIt) -> None:
    git.files({"f": b"x"})
    mounted = mount_it("kernel", repo=git)
    for round in range(6):
        os.kill(mounted.processes[1], signal.SIGKILL)
        if round < 5:
            mounted.wait_logged("kernel server", round + 2)
    mounted.wait_ended()
    assert "died 6 times" in mounted.log.read_text()
    assert mounts.type_at(str(mounted.path)) is None


def test_the_server_of_a_dead_supervisor_makes_room(
    git: Git, mount_it: MountIt, backend: str
) -> None:
    git.files({"f": b"x", "g": b"y"})
    mounted = mount_it(backend, repo=git)
    supervisor, server = mounted.processes
    process = os.pidfd_open(server)
    code = "print('in', flush=True); input(); print(open('g').read())"
    user = subprocess.Popen(
        [sys.executable, "-c", code], cwd=mounted.path / "repo/main",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"in\n"
        os.kill(supervisor, signal.SIGKILL)
        mounted.wait_logged("the supervisor died: unmounting")
        _until(lambda: mounts.type_at(str(mounted.path)) is None)
        assert os.listdir(mounted.path) == []
        assert mount.stale_mounts() == []
        second = mount_it(backend, repo=git, at=mounted.path)
        assert (second.path / "repo/main/f").read_bytes() == b"x"
        assert user.communicate(b"\n")[0] == b"y\n"  # a file that had never been read
    ended, _, _ = select.select([process], [], [], 20)
    os.close(process)
    assert ended
    assert (second.path / "repo/main/g").read_bytes() == b"y"


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if holds():
            return
        select.select([], [], [], 0.01)
    raise AssertionError("never")


def test_sigterm_unmounts(git: Git, mount_it: MountIt, backend: str) -> None:
    git.files({"f": b"x"})
    mounted = mount_it(backend, repo=git)
    os.kill(mounted.processes[0], signal.SIGTERM)
    mounted.wait_ended()
    assert mounts.type_at(str(mounted.path)) is None


def test_a_busy_mount_says_who_holds_it_and_goes_lazily(
    git: Git, mount_it: MountIt, backend: str
) -> None:
    git.files({"f": b"x"})
    mounted = mount_it(backend, repo=git)
    held = (mounted.path / "repo/main/f").open("rb")
    with pytest.raises(device.Busy, match=rf"in use by .*pid {os.getpid()}, open file") as caught:
        mount.unmount(str(mounted.path))
    assert caught.value.hint == f"gitdags umount --lazy {mounted.path}"
    mount.unmount(str(mounted.path), lazy=True)
    assert os.listdir(mounted.path) == []
    assert held.read() == b"x"
    held.close()
    mounted.wait_ended()


def test_sigterm_on_a_busy_mount_waits_for_its_users(git: Git, mount_it: MountIt) -> None:
    git.files({"f": b"x"})
    mounted = mount_it("kernel", repo=git)
    with (mounted.path / "repo/main/f").open("rb") as held:
        os.kill(mounted.processes[0], signal.SIGTERM)
        mounted.wait_logged("unmounting when they are done")
        assert held.read() == b"x"
    mounted.wait_ended()


def test_expressions_are_found_by_name(git: Git, mount_it: MountIt, backend: str) -> None:
    commits = history(git, 5)
    git(
        "tag",
        "-a",
        "v1",
        "-m",
        "one",
        commits[1],
    )
    top = mount_it(backend, repo=git).path / "repo"
    repository = Repository(git.path)
    for rev in (
        "HEAD~3",
        "main^",
        "v1",
        "v1~1",
        commits[2][:9],
        "refs/heads/main~2",
        "main@{2023-11-14}",
    ):
        expected = resolve(repository, rev).commit
        nested = "../" * rev.count("/")
        assert os.readlink(top / rev) == nested + expected, rev
        assert (top / rev / "dags").is_dir()
    tag = git.text("rev-parse", "v1")
    assert os.readlink(top / tag) == commits[1]
    assert sorted(os.listdir(top)) == ["HEAD", "main", "v1"]
    for rev in (":", "HEAD~99", "HEAD^{", "main@{nonsense}", "abcd", "-x", "HEAD^{tree}", "a..b"):
        assert not (top / rev).exists()
        with pytest.raises(FileNotFoundError):
            os.readlink(top / rev)


def test_deployments_date_a_ref(git: Git, mount_it: MountIt, backend: str) -> None:
    from datetime import UTC, datetime

    from gitdags.model import Move

    first, second = history(git, 2)
    at = datetime(2024, 5, 1, tzinfo=UTC)
    moves = {("repo", "refs/heads/main"): [Move(at, first)]}
    mounted = mount_it(backend, repo=git, moves=lambda name, ref: moves.get((name, ref), []))
    assert os.readlink(mounted.path / "repo/main@{2024-05-02}") == first
    assert os.readlink(mounted.path / "repo/main") == second


def test_a_slow_expression_stalls_nobody(
    git: Git, mount_it: MountIt, backend: str, tmp_path: Path
) -> None:
    commit = git.files({f"f{n}": b"%d" % n for n in range(300)})
    asked, go = tmp_path / "asked", tmp_path / "go"

    def moves(name: str, ref: str) -> list[object]:  # a database that takes its time
        asked.touch()
        while not go.exists():
            select.select([], [], [], 0.01)
        return []

    mounted = mount_it(backend, repo=git, moves=moves, plan={"deadline": 60.0})
    top = mounted.path / "repo"
    assert os.readlink(top / "main") == commit
    code = "import os,sys; print(os.readlink(sys.argv[1]))"
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", code, top / f"main@{{2024-05-0{day}}}"], stdout=subprocess.PIPE
        )
        for day in (2, 3)
    ]
    _until(asked.exists)
    for n in range(300):
        assert os.readlink(top / "main") == commit
        assert (top / "main" / f"f{n}").read_bytes() == b"%d" % n
    assert [reader.poll() for reader in readers] == [None, None]
    go.touch()
    assert [reader.communicate()[0].decode().strip() for reader in readers] == [commit, commit]


def test_an_expression_that_takes_too_long(git: Git, mount_it: MountIt, backend: str) -> None:
    git.files({"f": b"x"})
    mounted = mount_it(
        backend, repo=git, moves=lambda name, ref: signal.pause(), plan={"deadline": 0.5}
    )
    top = mounted.path / "repo"
    with pytest.raises(TimeoutError):
        os.readlink(top / "main@{2024-05-02}")
    assert os.readlink(top / "HEAD~0") == resolve(Repository(git.path), "HEAD").commit


def test_an_interrupted_wait_ends(git: Git, mount_it: MountIt) -> None:
    git.files({"f": b"x"})
    mounted = mount_it(
        "kernel", repo=git, moves=lambda name, ref: signal.pause(), plan={"deadline": 60.0}
    )
    code = "import os,sys,signal; signal.alarm(1); os.readlink(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, mounted.path / "repo/main@{2024-05-02}"],
        timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGALRM


def test_repositories_registered_later_appear(
    git: Git, make_git: object, mount_it: MountIt, backend: str, tmp_path: Path
) -> None:
    git.files({"f": b"x"})
    other = make_git("other")  # type: ignore[operator]  # a factory
    other.files({"g": b"y"})
    listed = tmp_path / "listed"
    listed.write_text(f"repo {git.path}")

    def known() -> list[MountedRepository]:
        lines = [line.split() for line in listed.read_text().splitlines()]
        return [MountedRepository(name, path, "dags") for name, path in lines]

    mounted = mount_it(backend, repositories=known)
    assert os.listdir(mounted.path) == ["repo"]
    assert not (mounted.path / "other").exists()
    listed.write_text(f"repo {git.path}\nother {other.path}")
    for _ in range(1_000):  # a listing may be a second old; nobody opens the new one by name first
        if sorted(os.listdir(mounted.path)) == ["other", "repo"]:
            break
        select.select([], [], [], 0.01)
    assert sorted(os.listdir(mounted.path)) == ["other", "repo"]
    assert (mounted.path / "other/main/g").read_bytes() == b"y"


def test_one_bad_repository_leaves_the_others_alone(
    git: Git, make_git: object, mount_it: MountIt, backend: str, tmp_path: Path
) -> None:
    git.files({"f": b"x"})
    corrupt = make_git("corrupt")  # type: ignore[operator]  # a factory
    (corrupt.path / "config").write_text("[core\n")
    sha256 = tmp_path / "sha256"
    subprocess.run(["git", "init", "-q", "--object-format=sha256", str(sha256)], check=True)
    reftable = make_git("reftable")  # type: ignore[operator]  # a factory
    reftable("config", "core.repositoryformatversion", "1")
    reftable("config", "extensions.refstorage", "reftable")
    vanished = make_git("vanished")  # type: ignore[operator]  # a factory
    vanished.files({"v": b"v"})
    mounted = mount_it(
        backend, repo=git, corrupt=corrupt, sha=Git(sha256), reftable=reftable,
        vanished=vanished, absent=Git(tmp_path / "absent"),
    )  # fmt: skip
    assert {note.split()[0] for note in mounted.notes} == {"corrupt", "sha", "reftable", "absent"}
    assert (mounted.path / "vanished/main/v").read_bytes() == b"v"
    subprocess.run(["rm", "-rf", str(vanished.path)], check=True)
    for name in ("corrupt", "sha", "reftable", "absent", "vanished"):
        with pytest.raises(OSError, match=r".") as caught:
            os.listdir(mounted.path / name)
        assert caught.value.errno == errno.EIO
    assert (mounted.path / "repo/main/f").read_bytes() == b"x"
    assert "bug" not in mounted.log.read_text()


def _metrics(mounted: object) -> dict[str, float]:
    log: Path = mounted.log  # type: ignore[attr-defined]  # a Mounted
    before = log.read_text().count("gitdags_mount_latency_seconds_count")
    os.kill(mounted.processes[0], signal.SIGUSR1)  # type: ignore[attr-defined]  # a Mounted
    mounted.wait_logged("gitdags_mount_latency_seconds_count", before + 1)  # type: ignore[attr-defined]
    found = re.findall(r"^(gitdags_mount_\S+) ([\d.e+]+)$", log.read_text(), re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_memory_for_nodes_is_bounded(git: Git, mount_it: MountIt) -> None:
    blobs = [git.blob(b"%d" % n) for n in range(4)]
    inner = git.tree({b"f%d" % n: ("100644", blob) for n, blob in enumerate(blobs)})
    commit = git.commit(git.tree({b"d%04d" % n: ("40000", inner) for n in range(12_000)}))
    mounted = mount_it("kernel", repo=git, plan={"node_memory": 1})
    subprocess.run(["find", mounted.path / "repo" / commit], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["find", mounted.path / "repo" / commit], stdout=subprocess.DEVNULL, check=True)
    assert _metrics(mounted)["gitdags_mount_nodes"] < 6_000
    assert len(os.listdir(mounted.path / "repo" / commit)) == 12_000


def test_metrics_are_told_on_a_signal_and_over_http(
    git: Git, mount_it: MountIt, backend: str
) -> None:
    import socket

    git.files({"f": b"x"})
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    mounted = mount_it(backend, repo=git, plan={"metrics_port": port})
    (mounted.path / "repo/main/f").read_bytes()
    assert _metrics(mounted)['gitdags_mount_operations_total{op="read"}'] == 1
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b'gitdags_mount_operations_total{op="readlink"}' in answer.read()


def test_submodules_are_filled_by_whoever_has_their_commit(
    git: Git, make_git: object, mount_it: MountIt, backend: str
) -> None:
    other = make_git("other")  # type: ignore[operator]  # a factory
    pinned = other.files({"lib/x.py": b"x", "y": b"y"})
    modules = {b"m%04d" % n: ("160000", f"{n + 1:040x}") for n in range(2_000)}
    commit = git.commit(git.tree({**modules, b"filled": ("160000", pinned)}))
    top = mount_it(backend, repo=git, other=other).path / "repo" / commit
    assert len(os.listdir(top)) == 2_001
    assert (top / "filled/lib/x.py").read_bytes() == b"x"
    assert sorted(os.listdir(top / "filled")) == ["lib", "y"]
    assert os.listdir(top / "m0007") == []
    assert not (top / "m0008/x").exists()


def test_files_larger_than_memory_are_read_from_a_copy(
    git: Git, mount_it: MountIt, backend: str
) -> None:
    data = os.urandom(3_000_000)
    git.files({"big": data, "small": b"s"})
    mounted = mount_it(backend, repo=git, plan={"blob_memory": 1_000_000})
    assert (mounted.path / "repo/main/big").read_bytes() == data
    assert (mounted.path / "repo/main/small").read_bytes() == b"s"


def test_an_old_supervisor_leaves_a_new_mount_alone(git: Git, mount_it: MountIt) -> None:
    commit = git.files({"f": b"x"})
    first = mount_it("kernel", repo=git)
    user = subprocess.Popen(["sleep", "600"], cwd=first.path / "repo" / commit)
    mount.unmount(str(first.path), lazy=True)
    second = mount_it("kernel", repo=git, at=first.path)
    user.kill()
    user.wait()
    first.wait_ended()
    assert (second.path / "repo" / commit / "f").read_bytes() == b"x"
