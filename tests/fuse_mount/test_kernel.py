"""The protocol, spoken to a server over a socket pair in the kernel's place: no mount needed."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from fuse_mount import protocol as p
from fuse_mount.kernel import Server
from fuse_mount.ledger import Ledger
from fuse_mount.lifetimes import FOREVER
from fuse_mount.questions import NO_ANSWER, Answer, Question
from fuse_mount.repositories import MountedRepository, Shelf
from fuse_mount.vfs import Vfs

from .conftest import Git


class Kernel:
    """The other end of /dev/fuse."""

    def __init__(self, git: Git, ask: Callable[[Question], Answer]) -> None:
        self.end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.settimeout(20)
        self.device = theirs.detach()
        self.ledger = Ledger()
        self.unique = 0
        self.servers: list[Server] = []
        self.git, self._ask = git, ask
        self.start()

    def start(self, ledger: Ledger | None = None) -> None:
        shelf = Shelf([MountedRepository("repo", str(self.git.path), "src/dags")])
        self.server = Server(self.device, Vfs(shelf), ledger or self.ledger, self._ask)
        self.thread = threading.Thread(target=self.server.serve, daemon=True)
        self.thread.start()
        self.servers.append(self.server)

    def send(self, opcode: int, node: int = 0, body: bytes = b"", unique: int | None = None) -> int:
        self.unique += 2
        unique = self.unique if unique is None else unique
        length = p.IN_HEADER.size + len(body)
        self.end.send(p.IN_HEADER.pack(length, opcode, unique, node) + body)
        return unique

    def receive(self) -> tuple[int, int, bytes]:
        """(unique, errno or notification code, data)."""
        data = self.end.recv(1 << 20)
        length, error, unique = p.OUT_HEADER.unpack_from(data)
        assert length == len(data)
        return unique, -error, data[p.OUT_HEADER.size :]

    def call(self, opcode: int, node: int = 0, body: bytes = b"") -> bytes:
        unique = self.send(opcode, node, body)
        answered, number, data = self.receive()
        assert answered == unique
        if number:
            raise OSError(number, os.strerror(number))
        return data

    def init(self, minor: int = 45, flags: int = 0xFFFF_FFFF, flags2: int = 0) -> tuple[int, ...]:
        body = p.INIT_IN.pack(7, minor, 131_072, flags, flags2)
        return p.INIT_OUT.unpack(self.call(p.INIT, 0, body))

    def lookup(self, node: int, name: bytes) -> tuple[int, ...]:
        return p.ENTRY.unpack(self.call(p.LOOKUP, node, name + b"\0"))

    def path(self, *names: bytes) -> int:
        node = 1
        for name in names:
            node = self.lookup(node, name)[0]
        return node

    def stop(self) -> None:
        self.end.send(b"")
        self.thread.join(20)

    def close(self) -> None:
        self.stop()
        for server in self.servers:
            server.close()
        self.end.close()
        os.close(self.device)


@pytest.fixture
def answers() -> dict[str, Answer]:
    return {}


@pytest.fixture
def kernel(git: Git, answers: dict[str, Answer]) -> Iterator[Kernel]:
    git.files({"src/dags/a.py": b"a = 1\n", "b": b"b"})

    def ask(question: Question) -> Answer:
        answer = answers.get(question.text, NO_ANSWER)
        return answer(question) if callable(answer) else answer

    kernel = Kernel(git, ask)
    yield kernel
    kernel.close()


@pytest.fixture
def top(kernel: Kernel, git: Git) -> int:
    kernel.init()
    return kernel.path(b"repo", git.text("rev-parse", "main").encode())


def test_structures_have_the_kernels_sizes() -> None:
    sizes = {
        p.IN_HEADER: 40, p.OUT_HEADER: 16, p.ENTRY: 128, p.ATTR_OUT: 104, p.DIRENT: 24,
        p.INIT_OUT: 64, p.FORGET_ONE: 16, p.XATTR_IN: 8, p.STATFS_OUT: 80, p.STORE_OUT: 24,
        p.INVAL_ENTRY_OUT: 16, p.PRUNE_OUT: 16,
    }  # fmt: skip
    assert {structure: structure.size for structure in sizes} == sizes


def test_the_version_is_negotiated(kernel: Kernel) -> None:
    assert kernel.init(minor=99)[:2] == (7, p.MINOR)
    assert kernel.init(minor=31)[:2] == (7, 31)
    with pytest.raises(OSError, match="Protocol error"):
        kernel.init(minor=22)
    answer = kernel.call(p.INIT, 0, p.INIT_IN.pack(8, 0, 0, 0, 0))
    assert p.INIT_OUT.unpack(answer)[:2] == (7, p.MINOR)


def test_only_what_the_kernel_offers_is_taken(kernel: Kernel, git: Git) -> None:
    assert kernel.init(flags=p.ASYNC_READ)[3] == p.ASYNC_READ
    node = kernel.path(b"repo", git.text("rev-parse", "main").encode(), b"b")
    flags = struct.unpack("=QII", kernel.call(p.OPEN, node, b"\0" * 8))[1]
    assert flags == 2  # keep the cache: the kernel cannot do without open


def test_open_is_refused_once_and_for_all(kernel: Kernel, top: int) -> None:
    for opcode in (p.OPEN, p.OPENDIR, p.FLUSH, p.GETXATTR, p.LISTXATTR, p.ACCESS, 3_333):
        with pytest.raises(OSError, match=r".") as caught:
            kernel.call(opcode, top, b"\0" * 16)
        assert caught.value.errno == errno.ENOSYS


@pytest.mark.parametrize("opcode", sorted(p.WRITES))
def test_writes_are_refused(kernel: Kernel, top: int, opcode: int) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        kernel.call(opcode, top, b"name\0")
    assert caught.value.errno == errno.EROFS


def test_what_hangs_on_a_commit_lasts_and_what_hangs_on_a_ref_does_not(
    kernel: Kernel, top: int
) -> None:
    assert kernel.lookup(top, b"b")[2:4] == (FOREVER, FOREVER)
    assert kernel.lookup(top, b"absent")[:3] == (0, 0, FOREVER)
    assert kernel.lookup(top, b"dags")[2] == 1
    repo = kernel.path(b"repo")
    assert kernel.lookup(repo, b"main")[2:4] == (0, 0)
    with pytest.raises(FileNotFoundError):
        kernel.lookup(repo, b".git")


def test_a_blob_is_one_inode_in_all_commits_and_a_folder_is_not(
    kernel: Kernel, top: int, git: Git
) -> None:
    second = git.files({"src/dags/a.py": b"a = 1\n", "c": b"b"}).encode()
    other = kernel.path(b"repo", second)
    assert kernel.lookup(top, b"b")[0] == kernel.lookup(other, b"c")[0]
    assert kernel.lookup(top, b"src")[0] != kernel.lookup(other, b"src")[0]


def test_forgotten_nodes_are_stale(kernel: Kernel, top: int) -> None:
    node = kernel.lookup(top, b"b")[0]
    kernel.lookup(top, b"b")
    kernel.send(p.FORGET, node, struct.pack("=Q", 1))
    kernel.call(p.GETATTR, node, b"\0" * 16)
    kernel.send(p.BATCH_FORGET, 0, struct.pack("=IIQQ", 1, 0, node, 1))
    with pytest.raises(OSError, match=r".") as caught:
        kernel.call(p.GETATTR, node, b"\0" * 16)
    assert caught.value.errno == errno.ESTALE


@pytest.mark.parametrize(
    ("name", "number"),
    [(b"x" * 256, errno.ENAMETOOLONG), (b"x" * 10_000, errno.ENAMETOOLONG)],
)
def test_long_names(kernel: Kernel, top: int, name: bytes, number: int) -> None:
    for node in (1, kernel.path(b"repo"), top):
        with pytest.raises(OSError, match=r".") as caught:
            kernel.lookup(node, name)
        assert caught.value.errno == number


@pytest.mark.parametrize("name", [b"..", b".", b"a\0b", b"a\nb", b"\xff", b"~", b"a/../b", b""])
def test_odd_names_lead_nowhere(kernel: Kernel, top: int, name: bytes) -> None:
    for node in (1, kernel.path(b"repo")):
        with pytest.raises(OSError, match=r".") as caught:
            kernel.lookup(node, name)
        assert caught.value.errno in (errno.ENOENT, errno.ETIMEDOUT)
    assert kernel.lookup(top, name)[0] == 0


def test_reading_what_is_no_file(kernel: Kernel, top: int) -> None:
    file = kernel.lookup(top, b"b")[0]
    expected = {
        (p.READ, top): errno.EISDIR,
        (p.READDIRPLUS, file): errno.ENOTDIR,
        (p.READLINK, file): errno.EINVAL,
        (p.LOOKUP, file): errno.ENOTDIR,
        (p.READ, 12_345): errno.ESTALE,
    }
    for (opcode, node), number in expected.items():
        with pytest.raises(OSError, match=r".") as caught:
            kernel.call(opcode, node, p.READ_IN.pack(0, 0, 4_096) + b"\0")
        assert caught.value.errno == number


def test_a_slow_answer_lets_others_pass_and_can_be_interrupted(
    kernel: Kernel, git: Git, top: int, answers: dict[str, Answer]
) -> None:
    commit = git.text("rev-parse", "main")
    go = threading.Event()
    answers["HEAD~1"] = lambda question: (go.wait(20), commit)[1]
    answers["HEAD~2"] = commit
    repo = kernel.path(b"repo")
    slow = kernel.send(p.LOOKUP, repo, b"HEAD~1\0")
    second = kernel.send(p.LOOKUP, repo, b"HEAD~2\0")
    assert kernel.call(p.READ, kernel.lookup(top, b"b")[0], p.READ_IN.pack(0, 0, 4_096)) == b"b"
    kernel.send(p.INTERRUPT, 0, struct.pack("=Q", slow), unique=slow | 1)
    assert kernel.receive()[:2] == (slow, errno.EINTR)
    assert kernel.ledger.aside() == [second]
    go.set()
    unique, number, data = kernel.receive()
    assert (unique, number) == (second, 0)
    assert kernel.call(p.GETATTR, p.ENTRY.unpack(data)[0], b"\0" * 16)
    assert kernel.ledger.aside() == []


def test_too_many_slow_requests_are_refused(kernel: Kernel, answers: dict[str, Answer]) -> None:
    kernel.init()
    go = threading.Event()
    answers["HEAD~1"] = lambda question: go.wait(20) and None
    repo = kernel.path(b"repo")
    for _ in range(128):
        kernel.send(p.LOOKUP, repo, b"HEAD~1\0")
    with pytest.raises(OSError, match=r".") as caught:
        kernel.call(p.LOOKUP, repo, b"HEAD~1\0")
    assert caught.value.errno == errno.EBUSY
    go.set()
    assert {kernel.receive()[1] for _ in range(128)} == {errno.ENOENT}


def _next_server(kernel: Kernel) -> None:
    """The next server on the same descriptor and ledger; the first is stopped, not killed."""
    kernel.stop()
    kernel.start(Ledger(kernel.ledger.descriptor))


def test_a_new_server_knows_the_nodes_and_answers_what_was_read(
    git: Git, kernel: Kernel, answers: dict[str, Answer]
) -> None:
    kernel.init(minor=39)
    commit = git.text("rev-parse", "main").encode()
    top = kernel.path(b"repo", commit)
    node = kernel.lookup(top, b"b")[0]
    never = threading.Event()
    answers["HEAD~1"] = lambda question: never.wait(20) and None
    aside = kernel.send(p.LOOKUP, kernel.path(b"repo"), b"HEAD~1\0")
    last = kernel.send(p.READ, node, p.READ_IN.pack(0, 0, 4_096))
    assert kernel.receive() == (last, 0, b"b")
    _next_server(kernel)
    assert kernel.receive() == (last, 0, b"b")  # answered again: it may not have been
    assert kernel.receive()[:2] == (aside, errno.EIO)
    never.set()


def test_a_kernel_that_can_is_asked_to_send_again(kernel: Kernel, git: Git) -> None:
    kernel.init(flags2=p.HAS_RESEND)
    node = kernel.path(b"repo", git.text("rev-parse", "main").encode(), b"b")
    _next_server(kernel)
    assert kernel.receive() == (0, -p.NOTIFY_RESEND, b"")
    assert kernel.call(p.READ, node, p.READ_IN.pack(0, 0, 4_096)) == b"b"


def test_listings_go_on_where_they_stopped(kernel: Kernel, git: Git) -> None:
    kernel.init()
    blob = git.blob(b"x")
    commit = git.commit(git.tree({b"f%03d" % n: ("100644", blob) for n in range(200)}))
    for n in range(50):
        git("update-ref", f"refs/heads/b{n}", commit)
    for node in (kernel.path(b"repo"), kernel.path(b"repo", commit.encode())):
        names, offset = [], 0
        while data := kernel.call(p.READDIR, node, p.READ_IN.pack(0, offset, 500)):
            at = 0
            while at < len(data):
                _, offset, length, _ = p.DIRENT.unpack_from(data, at)
                names.append(data[at + 24 : at + 24 + length])
                at += 24 + (length + 7 & ~7)
        assert len(names) == len(set(names))
        assert len(names) == (54 if b"HEAD" in names else 202)


def test_two_blobs_made_to_share_an_id_are_an_error(kernel: Kernel, top: int) -> None:
    node = kernel.lookup(top, b"b")
    held = kernel.server.table._held[node[0]]
    held.node = held.node._replace(oid="f" * 40)  # as if this one had been seen first
    with pytest.raises(OSError, match=r".") as caught:
        kernel.lookup(top, b"b")
    assert caught.value.errno == errno.EIO


def test_the_alias_of_the_dag_folder(kernel: Kernel, top: int, git: Git) -> None:
    alias = kernel.lookup(top, b"dags")[0]
    assert kernel.call(p.READLINK, alias) == b"src/dags"
    with_own = git.files({"dags/x": b"1", "src/dags/y": b"2"}).encode()
    own = kernel.lookup(kernel.path(b"repo", with_own), b"dags")
    assert own[6 + 9] & 0o170000 == 0o040000
    without = git.files({"x": b"1"}).encode()
    assert kernel.lookup(kernel.path(b"repo", without), b"dags")[0] == 0


def test_an_answer_is_at_hand_only_while_no_other_request_is_served(
    kernel: Kernel, git: Git, answers: dict[str, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The serving thread once saw an answer that was gone when it took it: EIO."""
    kernel.init()
    answers["HEAD~0"] = git.text("rev-parse", "main")
    knowing, held = kernel.server.vfs.knowing, []

    def watched(answers: Mapping[Question, Answer]) -> object:
        held.append(kernel.server.lock.locked())
        return knowing(answers)

    monkeypatch.setattr(kernel.server.vfs, "knowing", watched)
    kernel.lookup(kernel.path(b"repo"), b"HEAD~0")
    assert held == [True]
