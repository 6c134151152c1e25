"""What reading a commit costs: the mount by both adapters, a checkout on the local disk, the peers.

Whole passes are interleaved, so that a busy minute of the machine hits everybody; medians are
shown, and the mount's ratios are to the local disk in the same run. `find` looks at each entry's
attributes (`find -ls`); `tar` is read through a pipe, as tar reads nothing when it writes to
/dev/null itself. Cold is after `echo 3 > /proc/sys/vm/drop_caches`, which needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuse_mount import device, mount
from fuse_mount.repositories import MountedRepository
from fuse_mount.supervisor import Plan
from gitdags.errors import GitdagsError

ROUNDS = 5
READS = 2_000
TARGETS = {
    ("find warm", "kernel"): 1.1, ("tar warm", "kernel"): 1.1, ("8 tar warm", "kernel"): 1.1,
    ("random 4k", "kernel"): 1.2, ("find cold", "kernel"): 2.0, ("tar cold", "kernel"): 1.5,
    ("tar neighbour", "kernel"): 1.5, ("tar warm", "libfuse"): 3.0,
}  # fmt: skip


@dataclass
class Subject:
    """Something that shows a commit as a folder."""

    name: str
    at: Callable[[str], Path]
    """commit -> its folder, from now on"""
    log: Path | None = None
    times: dict[str, list[float]] = field(default_factory=dict)

    def timed(self, what: str, action: Callable[[], object], scale: float = 1.0) -> None:
        """Adds how long an action took."""
        start = time.perf_counter()
        action()
        self.times.setdefault(what, []).append((time.perf_counter() - start) / scale)

    @property
    def server(self) -> int:
        """The pid of a mount's server; 0 for the disk."""
        found = re.findall(r"server (\d+)", self.log.read_text()) if self.log else []
        return int(found[-1]) if found else 0

    def renew(self, wanted: bool) -> None:
        """Ends the server, if wanted and there is one; its supervisor starts the next."""
        old = self.server
        if wanted and old:
            time.sleep(2.1)  # a server that dies more often than five times in 10 s is given up
            os.kill(old, signal.SIGKILL)
            while self.server == old:
                time.sleep(0.01)


def shell(command: str) -> None:
    subprocess.run(["bash", "-c", command], check=True, stderr=subprocess.DEVNULL)


def find(folder: Path) -> Callable[[], None]:
    return lambda: shell(f"find {folder} -ls > /dev/null")


def tar(folder: Path, times: int = 1) -> Callable[[], None]:
    one = f"tar c -C {folder} . | cat > /dev/null"
    return lambda: shell(one if times == 1 else f"for i in $(seq {times}); do {one} & done; wait")


def random_reads(files: list[Path]) -> Callable[[], None]:
    chance = random.Random(4)
    chosen = [(chance.choice(files), chance.random()) for _ in range(READS)]

    def read() -> None:
        for path, where in chosen:
            descriptor = os.open(path, os.O_RDONLY)
            os.pread(descriptor, 4_096, int(where * os.fstat(descriptor).st_size) & ~4_095)
            os.close(descriptor)

    return read


def drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


@contextlib.contextmanager
def mounted(repository: Path, backend: str, where: Path) -> Iterator[Subject]:
    """A mount for as long as the context lasts."""
    point, log = where / backend, where / f"{backend}.log"
    point.mkdir(exist_ok=True)
    known = [MountedRepository("repo", str(repository), "dags")]
    log.write_text("")
    mount.mount(Plan(str(point), backend), lambda: known, log_file=log)  # type: ignore[arg-type]  # one of two words
    try:
        yield Subject(backend, lambda commit: point / "repo" / commit, log)
    finally:
        device.unmount(str(point), lazy=True)


def memory(subject: Subject) -> float:
    """Resident megabytes of the server of a mount."""
    rss = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{subject.server}/status").read_text())
    assert rss is not None
    return int(rss[1]) / 1024


class Benchmark:
    """One repository's measurements."""

    def __init__(self, repository: Path, where: Path, rounds: int) -> None:
        self.where, self.rounds = where, rounds
        self.repository = where / "bare.git"
        self._git("clone", "-q", "--bare", str(repository), str(self.repository))
        log = self._git("-C", str(self.repository), "rev-list", "--first-parent", "HEAD")
        self.commits = log.split()
        self.tip = self.commits[0]
        self.files = (
            len(self._git("-C", str(self.repository), "ls-tree", "-rz", "HEAD").split("\0")) - 1
        )

    def _git(self, *args: str) -> str:
        return subprocess.run(["git", *args], check=True, capture_output=True, text=True).stdout

    def checkout(self, commit: str, into: Path) -> Path:
        into.mkdir(parents=True)
        shell(f"git -C {self.repository} archive {commit} | tar x -C {into}")
        return into

    def read(self, result: dict[str, object]) -> None:
        """Reading one commit: disk and both adapters, interleaved."""
        disk = Subject("disk", lambda commit: self.where / "disk")
        self.checkout(self.tip, self.where / "disk")
        with contextlib.ExitStack() as stack:
            subjects = [disk]
            for backend in ("kernel", "libfuse"):
                try:
                    subjects.append(
                        stack.enter_context(mounted(self.repository, backend, self.where))
                    )
                except GitdagsError as error:
                    print(f"{backend}: {error.message}", file=sys.stderr)
            result["idle MB"] = {s.name: memory(s) for s in subjects[1:]}
            for number in range(self.rounds):
                for subject in subjects:
                    self._pass(subject, number)
            for subject in subjects[1:]:
                for commit in self.commits[:: max(1, len(self.commits) // 20)]:
                    tar(subject.at(commit))()
            result["MB after reading 20 commits"] = {s.name: memory(s) for s in subjects[1:]}
        result["seconds"] = {
            what: {s.name: statistics.median(s.times[what]) for s in subjects if what in s.times}
            for what in disk.times
        }

    def _pass(self, subject: Subject, number: int) -> None:
        folder = subject.at(self.tip)
        if os.geteuid() == 0:
            self._cold(subject, folder, "")
        find(folder)()
        tar(folder)()
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        reads = random_reads(files)
        reads()
        for _ in range(3):
            subject.timed("find warm", find(folder))
            subject.timed("tar warm", tar(folder))
            subject.timed("8 tar warm", tar(folder, 8))
            subject.timed("random 4k", reads, READS)
        # The disk has one checkout; a commit seen for the first time is held to its warm pass.
        neighbour = self.commits[min(number + 1, len(self.commits) - 1)]
        subject.timed("tar neighbour", tar(subject.at(neighbour)))
        if os.geteuid() == 0:
            self._cold(subject, folder, ", new server")

    def _cold(self, subject: Subject, folder: Path, server: str) -> None:
        for what, action in (("find cold", find(folder)), ("tar cold", tar(folder))):
            subject.renew(bool(server))
            drop_caches()
            subject.timed(what + server, action)

    def begin(self, result: dict[str, object]) -> None:
        """The first file of commits nobody has looked at: mounts and everything else."""
        unseen = random.Random(2).sample(
            self.commits[self.rounds + 1 :], min(400, len(self.commits) - self.rounds - 1)
        )
        seconds: dict[str, list[float]] = {}
        shares = [unseen[n :: self.rounds] for n in range(self.rounds)]
        with contextlib.ExitStack() as stack:
            subjects = [
                stack.enter_context(mounted(self.repository, name, self.where))
                for name in ("kernel", "libfuse")
            ]
            for number, share in enumerate(shares):
                paths = [(commit, self._first_file(commit)) for commit in share]
                for subject in subjects:
                    for commit, path in paths:
                        file = subject.at(commit) / path
                        self._time(seconds, subject.name, file.read_bytes)
                place = self.where / f"new{number}"
                command = ("-C", str(self.repository), "worktree")
                for commit, _ in paths[:3]:
                    add = (*command, "add", "-q", "--detach", str(place), commit)
                    self._time(seconds, "git worktree add", functools.partial(self._git, *add))
                    result.setdefault(
                        "bytes on disk per commit", {"mount": 0, "worktree": _bytes(place)}
                    )
                    self._git(*command, "remove", "--force", str(place))
                    archive = functools.partial(self.checkout, commit, place)
                    self._time(seconds, "git archive | tar", archive)
                    shutil.rmtree(place)
        for name, command in self._peers(unseen[:6]).items():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            else:
                seconds[name] = json.loads(re.findall(r"^\[.*\]$", done.stdout, re.MULTILINE)[-1])
        result["first file, seconds"] = {name: statistics.median(t) for name, t in seconds.items()}

    def _peers(self, commits: list[str]) -> dict[str, list[str]]:
        """Other programs' ways, where their interpreters are named in the environment."""
        here = Path(__file__).parent
        peers = {}
        for name, variable, script in (
            ("Airflow GitDagBundle", "GITDAGS_BENCH_AIRFLOW", "peer_airflow.py"),
            ("RepoFS", "GITDAGS_BENCH_REPOFS", "peer_repofs.py"),
        ):
            if interpreter := os.environ.get(variable):
                path = self._first_file(commits[0])
                peers[name] = [
                    interpreter,
                    str(here / script),
                    str(self.repository),
                    path,
                    *commits,
                ]
        return peers

    def _first_file(self, commit: str) -> str:
        """The first Python file of a commit, as a DAG file would be; else its first file."""
        listed = self._git("-C", str(self.repository), "ls-tree", "-rz", commit).split("\0")
        files = [line.partition("\t")[2] for line in listed if line.startswith("100")]
        return next((path for path in files if path.endswith(".py")), files[0])

    def _time(self, into: dict[str, list[float]], name: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        into.setdefault(name, []).append(time.perf_counter() - start)


def _bytes(folder: Path) -> int:
    return sum(p.lstat().st_blocks * 512 for p in folder.rglob("*"))


def generated(where: Path) -> Path:
    """A repository of 2,000 files and 60 commits, 33 MB a checkout."""
    chance = random.Random(1)
    where.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(where)], check=True)
    for number in range(2_000):
        path = where / f"p{number % 200}" / f"f{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "".join(f"x{chance.random()} = 1\n" for _ in range(chance.randint(10, 1_300)))
        )
    identity = ["-c", "user.name=b", "-c", "user.email=b@example.org"]
    for number in range(60):
        for _ in range(5):
            path = where / f"p{chance.randint(0, 199)}" / f"n{number}.py"
            path.write_text(f"y = {chance.random()}\n")
        subprocess.run(["git", "-C", str(where), "add", "."], check=True)
        subprocess.run(
            ["git", "-C", str(where), *identity, "commit", "-qm", str(number)], check=True
        )
    subprocess.run(["git", "-C", str(where), "gc", "-q"], check=True)
    return where


def table(result: dict[str, object]) -> str:
    """The figures for people: milliseconds, and ratios to the local disk with their targets."""
    lines = [
        f"{result['repository']}: {result['files']} files, medians of {result['rounds']} passes"
    ]
    seconds: dict[str, dict[str, float]] = result["seconds"]  # type: ignore[assignment]  # as read() wrote it
    for what, of in seconds.items():
        base = seconds["tar warm" if what == "tar neighbour" else what]["disk"]
        unit, scale = ("µs", 1e6) if what == "random 4k" else ("ms", 1e3)
        cells = [f"{what:21} disk {base * scale:8.1f} {unit}"]
        for name in ("kernel", "libfuse"):
            if name in of:
                target = TARGETS.get((what, name))
                ratio = of[name] / base
                judged = (
                    ""
                    if target is None
                    else f" ({'met' if ratio <= target else 'MISSED'}: {target})"
                )
                cells.append(f"{name} {of[name] * scale:8.1f} {unit} = {ratio:5.2f}{judged}")
        lines.append(" | ".join(cells))
    first: dict[str, float] = result["first file, seconds"]  # type: ignore[assignment]  # as begin() wrote it
    for name, value in first.items():
        lines.append(
            f"first file: {name:22} {value * 1e3:9.2f} ms, kernel times {value / first['kernel']:.0f}"
        )
    for name in ("idle MB", "MB after reading 20 commits", "bytes on disk per commit"):
        lines.append(f"{name}: {result[name]}")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the benchmark; returns 0."""
    parser = argparse.ArgumentParser(prog="bench mount", description=__doc__)
    parser.add_argument("repositories", nargs="*", type=Path, metavar="PATH")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args(argv)
    results = []
    with tempfile.TemporaryDirectory(prefix="gitdags-bench-") as temporary:
        paths = args.repositories or [generated(Path(temporary) / "generated")]
        for number, path in enumerate(paths):
            where = Path(temporary) / str(number)
            where.mkdir()
            run = Benchmark(path, where, args.rounds)
            name = path.parent.name if path.name in ("repo", ".git") else path.name
            result: dict[str, object] = {
                "repository": name,
                "files": run.files,
                "rounds": args.rounds,
            }
            run.read(result)
            run.begin(result)
            print(table(result), flush=True)
            results.append(result)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
