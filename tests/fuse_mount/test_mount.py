"""Mounting from the outside: what is refused before anything is done, ordinary users, stale mounts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fuse_mount import device, libfuse, mount, mounts
from fuse_mount.supervisor import Plan
from gitdags.errors import GitdagsError

from .conftest import Git, MountIt

ROOT = Path(__file__).parents[2]


def _refused(path: object, backend: str = "kernel", **options: bool) -> GitdagsError:
    with pytest.raises(GitdagsError) as caught:
        mount.check(Plan(str(path), backend, **options))  # type: ignore[arg-type]  # a word of two
    assert caught.value.hint
    assert caught.value.exit_code == 3
    return caught.value


def test_a_mountpoint_that_is_missing(tmp_path: Path) -> None:
    error = _refused(tmp_path / "absent")
    assert error.message == f"{tmp_path}/absent: No such file or directory"
    assert error.hint == f"mkdir -p {tmp_path}/absent"


def test_a_mountpoint_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in _refused(tmp_path / "file").message


def test_a_mountpoint_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert _refused(tmp_path).message == f"{tmp_path} is not empty"


def test_a_mountpoint_in_use(git: Git, mount_it: MountIt, backend: str) -> None:
    mounted = mount_it(backend, repo=git)
    error = _refused(mounted.path)
    assert error.message == f"{mounted.path} is mounted already (fuse.gitdags)"
    assert error.hint == f"gitdags umount {mounted.path}"
    assert _refused("/proc").hint == "umount /proc"


def test_who_is_in_the_folder_below_a_mount_does_not_hold_it(
    git: Git, mount_it: MountIt, tmp_path: Path
) -> None:
    git.files({"f": b"x"})
    point = tmp_path / "point"
    point.mkdir()
    below = subprocess.Popen(["sleep", "600"], cwd=point)
    mounted = mount_it("kernel", repo=git, at=point)
    inside = subprocess.Popen(["sleep", "600"], cwd=mounted.path / "repo")
    try:
        assert mounts.holders(str(point)) == [f"sleep (pid {inside.pid}, working directory)"]
    finally:
        for each in (below, inside):
            each.kill()
            each.wait()
    assert mounts.holders(str(point)) == []


def test_unmounting_what_is_not_ours(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/proc"), tmp_path / "absent"):
        with pytest.raises(mount.NotMounted, match="gitdags has mounted nothing on"):
            mount.unmount(str(path))


def test_a_repository_list_that_cannot_be_had(mount_it: MountIt) -> None:
    def broken() -> list[object]:
        raise GitdagsError("the database is locked")

    with pytest.raises(device.MountFailed, match="list of repositories cannot be read"):
        mount_it("kernel", repositories=broken)


def test_no_repository_yet(mount_it: MountIt, backend: str) -> None:
    mounted = mount_it(backend)
    assert mounted.notes == [
        "no repository is registered yet; each appears once `gitdags init PATH` has run"
    ]
    assert os.listdir(mounted.path) == []


def test_mounts_are_read_only_nosuid_nodev(git: Git, mount_it: MountIt, backend: str) -> None:
    mounted = mount_it(backend, repo=git)
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    (line,) = (each for each in lines if each.split()[4] == str(mounted.path))
    assert {"ro", "nosuid", "nodev"} <= set(line.split()[5].split(","))
    assert " fuse.gitdags " in line
    space = os.statvfs(mounted.path)
    assert (space.f_namemax, space.f_blocks) == (255, 0)


def test_xattrs_are_there_only_when_asked_for(git: Git, mount_it: MountIt, backend: str) -> None:
    commit = git.files({"f": b"x"})
    plain = mount_it(backend, repo=git)
    with pytest.raises(OSError, match="not supported"):
        os.listxattr(plain.path / "repo" / commit)
    asked = mount_it(backend, repo=git, plan={"xattr": True})
    top = asked.path / "repo" / commit
    assert os.getxattr(top, "user.git.commit").decode() == commit
    assert os.listxattr(top / "f") == ["user.git.blob"]
    assert os.getxattr(top / "f", "user.git.blob").decode() == git.text("rev-parse", "main:f")
    with pytest.raises(OSError, match="No data"):
        os.getxattr(top, "user.nothing")


def test_stale_mounts_are_found(git: Git, mount_it: MountIt, tmp_path: Path) -> None:
    mounted = mount_it("kernel", repo=git)
    alive = mount_it("kernel", repo=git)
    supervisor, server = mounted.processes
    os.kill(supervisor, signal.SIGKILL)
    os.kill(server, signal.SIGKILL)
    process = os.pidfd_open(server) if Path(f"/proc/{server}").exists() else None
    if process is not None:
        import select

        select.select([process], [], [], 10)
        os.close(process)
    stale = mount.stale_mounts()
    assert str(mounted.path) in stale
    assert str(alive.path) not in stale
    assert "server has died" in _refused_stale(mounted.path)
    mount.unmount(str(mounted.path), lazy=True)
    assert mounts.type_at(str(mounted.path)) is None


def _refused_stale(path: Path) -> str:
    error = _refused(path)
    assert error.hint == f"gitdags umount --lazy {path}"
    return error.message


def test_libfuse_2_is_never_taken(tmp_path: Path) -> None:
    code = """
import os
os.environ["FUSE_LIBRARY_PATH"] = "libfuse.so.2"
from fuse_mount import libfuse
print(libfuse.library().fuse_version_major)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "3\n"


def test_without_libfuse_the_other_backend_and_export_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libfuse, "_SONAMES", ("libfuse3.so.none",))
    libfuse.library.cache_clear()
    with pytest.raises(libfuse.NoLibrary, match="libfuse 3 is not installed") as caught:
        libfuse.library()
    assert caught.value.hint == "apt-get install fuse3 libfuse3-3"
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(
        device.NoDevice, match="neither the kernel's own protocol nor libfuse"
    ) as none:
        mount.choose("auto")
    assert none.value.hint.startswith("gitdags export REV DIR")
    libfuse.library.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's protocol is Linux's")
def test_auto_takes_the_kernels_protocol() -> None:
    assert mount.choose("auto") == "kernel"
    assert mount.choose("libfuse") == "libfuse"


# ── an ordinary user, in a mount namespace where /dev/fuse is as hosts have it ────────────────────

PROGRAM = """
import json, os, sys
from pathlib import Path
from fuse_mount import kernel, libfuse, mount, mounts, publish
from fuse_mount.repositories import MountedRepository
from fuse_mount.supervisor import Plan
backend, point, repository, log = sys.argv[1:5]
libfuse.library()
"caf\\u00e9".encode("idna")
os.setgroups([]); os.setgid(65534); os.setuid(65534)
def attempt(**options):
    try:
        known = [MountedRepository("repo", repository, "dags")]
        mount.mount(Plan(point, backend, **options), lambda: known, log_file=Path(log))
    except mount.GitdagsError as error:
        return type(error).__name__, error.message, error.hint
"""


def _as_nobody(
    tmp_path: Path, git: Git, backend: str, program: str, setup: str = "true"
) -> subprocess.CompletedProcess[str]:
    """Runs a program as an ordinary user, in a mount namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    if shutil.which("unshare") is None or not os.path.exists("/dev/fuse"):
        pytest.skip("no unshare or no /dev/fuse on this machine")
    home = tmp_path / "user"
    home.mkdir()
    (home / "mnt").mkdir()
    subprocess.run(["chown", "-R", "65534:65534", str(home), str(git.path)], check=True)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
    prepare = "mknod /run/gitdags-fuse c 10 229 && chmod 666 /run/gitdags-fuse"
    prepare = f"mount -t tmpfs none /run && {prepare} && mount --bind /run/gitdags-fuse /dev/fuse"
    shell = f'{prepare} && {setup} && exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell, "sh", sys.executable, "-c", PROGRAM + program,
         backend, str(home / "mnt"), str(git.path), str(home / "log")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_an_ordinary_user_mounts_and_unmounts(tmp_path: Path, git: Git, backend: str) -> None:
    git.files({"f": b"x"})
    program = """
assert attempt() is None, attempt()
print(Path(point, "repo/main/f").read_text(), mounts.type_at(point))
held = Path(point, "repo/main/f").open()
try:
    mount.unmount(point)
except mount.GitdagsError as error:
    print(type(error).__name__)
held.close()
mount.unmount(point)
print(mounts.type_at(point), os.listdir(point))
"""
    done = _as_nobody(tmp_path, git, backend, program)
    assert done.stdout == "x fuse.gitdags\nBusy\nNone []\n", done.stderr


def test_an_ordinary_users_server_unmounts_when_its_supervisor_dies(
    tmp_path: Path, git: Git, backend: str
) -> None:
    git.files({"f": b"x"})
    program = """
import re, select, signal
assert attempt() is None, attempt()
words = re.search("supervisor ([0-9]+), [a-z]+ server ([0-9]+)", Path(log).read_text())
supervisor, server = map(int, words.groups())
ended = os.pidfd_open(server)
os.kill(supervisor, signal.SIGKILL)
select.select([ended], [], [], 20)
print(mounts.type_at(point), os.listdir(point))
"""
    done = _as_nobody(tmp_path, git, backend, program)
    assert done.stdout == "None []\n", done.stderr


def test_allow_other_without_permission(tmp_path: Path, git: Git, backend: str) -> None:
    setup = "echo > /run/conf; touch /etc/fuse.conf; mount --bind /run/conf /etc/fuse.conf"
    done = _as_nobody(tmp_path, git, backend, "print(attempt(allow_other=True))", setup)
    assert "--allow-other needs `user_allow_other` in /etc/fuse.conf" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        ("mount -t tmpfs none /dev", "/dev/fuse is missing"),
        ("chmod 600 /dev/fuse", "/dev/fuse may not be opened by this user"),
        ('chown root "$6" && chmod 755 "$6"', "is not yours to mount on"),
    ],
)
def test_what_an_ordinary_user_is_refused(
    tmp_path: Path, git: Git, setup: str, message: str
) -> None:
    setup = setup.replace('"$6"', str(tmp_path / "user/mnt"))
    done = _as_nobody(tmp_path, git, "kernel", "print(attempt())", setup)
    assert message in done.stdout, done.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_the_foreground_until_a_signal_and_systemd_is_told(
    tmp_path: Path, git: Git, end: signal.Signals
) -> None:
    import socket

    _as_root()
    git.files({"f": b"x"})
    point = tmp_path / "mnt"
    point.mkdir()
    code = """
import sys
from pathlib import Path
from fuse_mount import mount
from fuse_mount.repositories import MountedRepository
from fuse_mount.supervisor import Plan
known = [MountedRepository("repo", sys.argv[2], "dags")]
mount.mount(Plan(sys.argv[1], "kernel"), lambda: known, foreground=True)
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        process = subprocess.Popen(
            [sys.executable, "-c", code, point, git.path],
            cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        with process:
            assert systemd.recv(100) == b"READY=1"
            assert (point / "repo/main/f").read_bytes() == b"x"
            os.killpg(process.pid, end)  # as a terminal does
            assert systemd.recv(100) == b"STOPPING=1"
            assert process.wait(20) == 0
    assert mounts.type_at(str(point)) is None


def _as_root() -> None:
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("no /dev/fuse that this user may open")


def test_a_log_that_cannot_be_written_is_said_before_the_fork(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "mnt").mkdir()
    plan = Plan(str(tmp_path / "mnt"), "kernel")
    with pytest.raises(GitdagsError, match="cannot write") as caught:
        mount.mount(plan, lambda: [], log_file=tmp_path / "file" / "mount.log", note=print)
    assert caught.value.hint
    assert mounts.type_at(plan.mountpoint) is None
