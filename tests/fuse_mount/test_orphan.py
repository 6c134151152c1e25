"""Whoever is looked after hears that it is no longer."""

from __future__ import annotations

import os
import threading

from fuse_mount import orphan


def test_the_end_of_the_holder_is_heard_once() -> None:
    lifeline, held = os.pipe()
    heard = threading.Event()
    orphan.watch(lifeline, heard.set)
    assert not heard.is_set()
    os.close(held)
    assert heard.wait(20)
    os.close(lifeline)
