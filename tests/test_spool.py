"""The spool: nothing acknowledged is lost, nothing comes twice, whoever is killed when."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import random
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from gitdags.spool import VERSION, Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "home" / "spool")


def drained(spool: Spool) -> list[dict[str, object]]:
    found = []
    for taken in spool.take():
        found += taken.records
        spool.done(taken)
    return found


class TestOneProcess:
    def test_what_is_appended_is_taken_once(self, spool: Spool) -> None:
        ids = [
            spool.append({"kind": "stamp", "run_id": name}) for name in ("a", "b\n\0", "é\ud800")
        ]
        found = drained(spool)
        assert ids == [record["id"] for record in found]
        assert [record["run_id"] for record in found] == ["a", "b\n\0", "é\ud800"]
        assert {VERSION} == {record["v"] for record in found}
        assert drained(spool) == []

    def test_an_id_and_a_time_of_ones_own_stay(self, spool: Spool) -> None:
        assert spool.append({"id": "mine", "at": 5.0}) == "mine"
        assert [(r["id"], r["at"]) for r in drained(spool)] == [("mine", 5.0)]

    def test_nothing_there(self, spool: Spool) -> None:
        assert drained(spool) == []
        assert spool.waiting() == (0, 0.0)
        spool.sync()

    def test_waiting(self, spool: Spool) -> None:
        spool.append({}, sync=False)
        spool.sync()
        size, oldest = spool.waiting()
        assert size > 0
        assert oldest > 0

    def test_a_taken_file_that_is_not_done_comes_again(self, spool: Spool) -> None:
        spool.append({"n": 1})
        assert [record["n"] for taken in spool.take() for record in taken.records] == [1]
        spool.append({"n": 2})
        assert [record["n"] for record in drained(spool)] == [1, 2]

    def test_a_file_in_hand_is_nobody_elses(self, spool: Spool) -> None:
        spool.append({"n": 1})
        hands = spool.take()
        assert next(hands).records[0]["n"] == 1
        assert drained(Spool(spool.folder)) == []
        hands.close()
        assert [record["n"] for record in drained(spool)] == [1]

    def test_a_writer_does_not_wait_for_a_drainer(self, spool: Spool) -> None:
        spool.append({"n": 1})
        hands = spool.take()
        next(hands)
        spool.append({"n": 2})  # would hang here if the drainer kept it out
        hands.close()
        assert sorted(record["n"] for record in drained(spool)) == [1, 2]

    @pytest.mark.parametrize(
        "torn",
        [
            b"\n12345678 {",
            b"garbage\n",
            b"\nzzzzzzzz {}\n",
            b"\n00000000 {}\n",
            b"\xff\xfe\n",
            b"{}\n",
        ],
    )
    def test_a_torn_line_stops_nothing(self, spool: Spool, torn: bytes) -> None:
        spool.append({"n": 1})
        with open(spool.folder / "spool", "ab") as file:
            file.write(torn)
        spool.append({"n": 2})
        (taken,) = spool.take()
        assert [record["n"] for record in taken.records] == [1, 2]
        assert taken.torn == 1

    def test_a_later_record_waits_for_a_later_gitdags(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool.append({"n": 1, "v": VERSION + 1})
        for taken in spool.take():
            spool.put_aside(list(taken.records))
            spool.done(taken)
        assert drained(spool) == []
        monkeypatch.setattr("gitdags.spool.VERSION", VERSION + 1)
        assert [record["n"] for record in drained(spool)] == [1]

    def test_only_the_owner_may_read_it(self, spool: Spool) -> None:
        spool.append({})
        assert (spool.folder.stat().st_mode & 0o777) == 0o700
        assert ((spool.folder / "spool").stat().st_mode & 0o777) == 0o600

    def test_a_full_disk_is_an_error_and_no_record(self, spool: Spool) -> None:
        spool.append({"n": 1})
        code = f"""
import resource, signal, sys
from pathlib import Path
from gitdags.spool import Spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = Spool(Path({str(spool.folder)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, ((spool.folder / "spool").stat().st_size + 10, -1))
try:
    spool.append({{"n": 2}})
except OSError:
    sys.exit(7)
"""
        assert subprocess.run([sys.executable, "-c", code]).returncode == 7
        spool.append({"n": 3})
        assert [record["n"] for record in drained(spool)] == [1, 3]


def test_a_record_nested_too_deeply_is_none(spool: Spool) -> None:
    data = b"[" * 200_000 + b"]" * 200_000
    spool.append({"n": 1})
    with open(spool.folder / "spool", "ab") as file:
        file.write(b"\n%08x " % zlib.crc32(data) + data + b"\n")
    (taken,) = spool.take()
    assert ([record["n"] for record in taken.records], taken.torn) == ([1], 1)


def _write(folder: Path, name: str, count: int) -> None:
    spool = Spool(folder)
    acknowledged = os.open(folder.parent / f"said-{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in range(count):
        spool.append({"n": f"{name}-{number}", "pad": "x" * random.choice((20, 300, 9_000))})
        os.write(acknowledged, f"{name}-{number}\n".encode())


def _drain(folder: Path, into: Path) -> None:
    spool = Spool(folder)
    while True:
        for taken in spool.take():
            lines = "".join(f"{record['n']}\n" for record in taken.records)
            with open(into, "a") as file:
                file.write(lines)
            spool.done(taken)


@pytest.mark.slow
def test_eight_writers_and_a_drainer_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    """A record may come twice where the drainer dies between storing and unlinking, never not at all."""
    folder, stored = tmp_path / "spool", tmp_path / "stored"
    folder.mkdir()
    context = mp.get_context("fork")

    def start(target: object, *arguments: object) -> mp.process.BaseProcess:
        process = context.Process(target=target, args=arguments)
        process.start()
        return process

    drainer = start(_drain, folder, stored)
    writers = [start(_write, folder, f"{n}", 400) for n in range(8)]
    kills = 0
    while any(writer.is_alive() for writer in writers):
        victim = random.choice([*writers, drainer])
        victim.join(0.02)
        if victim.is_alive():
            os.kill(victim.pid or 0, signal.SIGKILL)
            victim.join()
            kills += 1
        if victim is drainer:
            drainer = start(_drain, folder, stored)
        elif kills < 40:
            writers[writers.index(victim)] = start(_write, folder, f"{kills}x", 200)
    drainer.kill()
    drainer.join()
    with open(stored, "a") as file:
        file.writelines(f"{record['n']}\n" for record in drained(Spool(folder)))
    said = {
        line
        for path in tmp_path.glob("said-*")
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    }
    assert kills > 10
    assert said <= set(stored.read_text().splitlines(keepends=True))


def test_records_are_one_line_of_json(spool: Spool) -> None:
    spool.append({"text": "a\nb"})
    lines = [line for line in (spool.folder / "spool").read_bytes().split(b"\n") if line]
    assert len(lines) == 1
    assert json.loads(lines[0][9:])["text"] == "a\nb"
