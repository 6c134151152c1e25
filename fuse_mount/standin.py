"""Serves a libfuse session while the thread that does so waits for something slow.

Several threads all the time cost a warm tar 40 % more than one (docs/mount.md), so there are two
only for as long as one of them waits.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import threading
from collections.abc import Iterator

_MOST = 16
"""Threads that may wait at once; behind the last one everybody does."""
_BUFFER = 128  # bytes; struct fuse_buf has 40, and grew from libfuse 3.17 on
_MEMORY_AT = 16  # the offset of its `mem`, which libfuse allocates and the caller frees


class StandIns:
    """Threads that serve in turn for those that wait. ``library``: libfuse 3, loaded."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, number = ctypes.c_void_p, ctypes.c_int
        library.fuse_get_session.argtypes, library.fuse_get_session.restype = [pointer], pointer
        library.fuse_session_fd.argtypes = [pointer]
        library.fuse_session_receive_buf.argtypes = [pointer, pointer]
        library.fuse_session_receive_buf.restype = number
        library.fuse_session_process_buf.argtypes = [pointer, pointer]
        library.fuse_session_process_buf.restype = None
        self._library = library
        self._places = threading.BoundedSemaphore(_MOST)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Within it, another thread serves. Only inside one of libfuse's callbacks."""
        if not self._places.acquire(blocking=False):
            yield
            return
        session = self._library.fuse_get_session(self._library.fuse_get_context().contents.fuse)
        back = os.eventfd(0)
        thread = threading.Thread(target=self._serve, args=(session, back), daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.eventfd_write(back, 1)
            self._places.release()

    def _serve(self, session: int, back: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the first thread's
        library, buffer = self._library, ctypes.create_string_buffer(_BUFFER)
        poll = select.poll()
        poll.register(library.fuse_session_fd(session), select.POLLIN)
        poll.register(back, select.POLLIN)
        while back not in (ready for ready, _ in poll.poll()):
            length = library.fuse_session_receive_buf(session, buffer)
            if length > 0:
                library.fuse_session_process_buf(session, buffer)
            elif length != -errno.EINTR:
                break  # unmounted
        os.eventfd_read(back)
        os.close(back)
        ctypes.CDLL(None).free(ctypes.c_void_p.from_buffer(buffer, _MEMORY_AT))
