"""The outbox: the spool at once, another gitdags by and by; a disk or a server that refuses."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gitdags.airflow.outbox import Outbox
from gitdags.airflow.remote import Remote
from gitdags.spool import Spool


class Server:
    """Takes stamps as a gitdags does, or refuses."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.status, self.tokens = 202, set[str | None]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.tokens.add(self.headers["Authorization"])
                if outer.status < 300:
                    outer.records += body
                self.send_response(outer.status)
                self.send_header("Content-Length", "2")
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def waiting(spool: Spool) -> list[int]:
    return [record["n"] for taken in spool.take() for record in taken.records]


@pytest.mark.parametrize("sync", [True, False])
def test_what_is_put_is_in_the_spool(spool: Spool, sync: bool) -> None:
    outbox = Outbox(spool)
    for n in range(5):
        outbox.put({"n": n}, sync=sync)
    assert waiting(spool) == [0, 1, 2, 3, 4]


def test_a_disk_that_refuses_is_said_once(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gitdags.listener")
    outbox = Outbox(spool)
    spool.folder.write_text("a file")
    for n in range(3):
        outbox.put({"n": n}, sync=True)
    assert [r.message.split(":")[1] for r in caplog.records] == [" runs are not stamped"]
    spool.folder.unlink()
    outbox.put({"n": 3}, sync=True)
    assert waiting(spool) == [3]
    assert [r.levelname for r in caplog.records] == ["ERROR", "INFO"]


def test_a_full_disk_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    class Full(Spool):
        def _open(self) -> int:
            return os.open("/dev/full", os.O_WRONLY)

    full = Full(Path("/dev"))
    full._current = "/dev/full"
    outbox = Outbox(full)
    outbox.put({"n": 0}, sync=True)
    outbox.put({"n": 1}, sync=False)
    assert ["No space left on device" in r.message for r in caplog.records] == [True]


def test_records_are_handed_on_with_the_token(spool: Spool, server: Server) -> None:
    outbox = Outbox(spool, Remote(server.url, "secret"))
    for n in range(3):
        outbox.put({"n": n}, sync=True)
        outbox.settle(20)
    assert [r["n"] for r in server.records] == [0, 1, 2]
    assert server.tokens == {"Bearer secret"}
    assert waiting(spool) == []


def test_the_last_of_many_is_handed_on_too(spool: Spool, server: Server) -> None:
    """Put while the thread is about to end: nothing waits for an event that never comes."""
    outbox = Outbox(spool, Remote(server.url))
    for n in range(300):
        outbox.put({"n": n}, sync=False)
        if n % 3 == 0:
            outbox.settle(20)
    outbox.settle(20)
    assert sorted(r["n"] for r in server.records) == list(range(300))
    assert waiting(spool) == []


@pytest.mark.parametrize("status", [401, 500, 307])
def test_what_is_refused_stays_and_goes_with_the_next(
    spool: Spool, server: Server, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(spool, Remote(server.url, "secret"))
    server.status = status
    for n in range(2):
        outbox.put({"n": n}, sync=True)
        outbox.settle(20)
    assert server.records == []
    assert len([r for r in caplog.records if f"answered {status}" in r.message]) == 1
    server.status = 202
    Outbox(spool, Remote(server.url)).put({"n": 2}, sync=True)  # another process
    for thread in threading.enumerate():
        if thread.name == "gitdags-outbox":
            thread.join(20)
    assert sorted(r["n"] for r in server.records) == [0, 1, 2]
    assert waiting(spool) == []


def test_a_server_that_is_away_delays_nothing(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(spool, Remote("http://127.0.0.1:1", "secret"))
    outbox.put({"n": 0}, sync=True)
    outbox.settle(20)
    assert "cannot be reached" in caplog.text
    assert waiting(spool) == [0]


def test_a_forked_child_begins_anew(spool: Spool, server: Server) -> None:
    """As a task's process, forked while the parent's threads are at it."""
    outbox = Outbox(spool, Remote(server.url))
    outbox.put({"n": 0}, sync=False)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        outbox.put({"n": 1}, sync=True)
        outbox.settle(20)
        os.write(writer, b"%d" % outbox._idle.is_set())
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 10) == b"1"
    os.close(reader)
    os.waitpid(child, 0)
    outbox.settle(20)
    assert sorted(r["n"] for r in server.records) == [0, 1]
