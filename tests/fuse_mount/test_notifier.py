"""Asking the kernel to let go: by id where it understands that, else by a commit's name."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from fuse_mount import protocol as p
from fuse_mount.nodes import Directory, File, derived
from fuse_mount.notifier import Notifier

COMMIT = Directory(50, "repo", "a" * 40, "b" * 40, 0, 0)
INNER = Directory(51, "repo", "a" * 40, "c" * 40, 0, 1)
BLOB = File(52, "repo", "d" * 40, 0o100444, 3)


@pytest.mark.parametrize("minor", [44, 45])
def test_release(minor: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(20)
        notifier = Notifier(os.dup(theirs.fileno()), minor)
        notifier.release([COMMIT, INNER, BLOB])
        data = ours.recv(4_096)
    length, code, unique = p.OUT_HEADER.unpack_from(data)
    assert (length, unique) == (len(data), 0)
    body = data[p.OUT_HEADER.size :]
    if minor >= p.PRUNE_MINOR:
        assert code == p.NOTIFY_PRUNE
        assert body == struct.pack("=II8x3Q", 3, 0, 50, 51, 52)
    else:
        assert code == p.NOTIFY_INVAL_ENTRY
        assert struct.unpack_from("=QII", body) == (derived(b"repository", b"repo"), 40, 0)
        assert body[16:] == b"a" * 40 + b"\0"
