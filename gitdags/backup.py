"""Backup and restore: what gitdags knows and nobody could tell it again, in one file.

A tar: for each kind of row (`store.dump`) gzipped JSON lines, for each repository a Git bundle of its kept
commits, branches and tags, and last ``manifest.json`` with version, sizes and SHA-256 of all. Documents,
environments and mirrors are not in it: they are made again from commits. Tokens neither: make new ones.

Restoring adds what is missing and changes nothing that is there, so it may be repeated.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shlex
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from gitdags import __version__, git, keep, mirror, program
from gitdags.errors import GitdagsError, shown
from gitdags.model import RegisteredRepository
from gitdags.registry import NAME, RESERVED
from gitdags.store import Store
from gitdags.store.dump import Dump, Row

VERSION = 1
_MANIFEST = "manifest.json"
_LONGEST = 64 << 20  # bytes of a manifest; 100,000 refs are 10 MB

Note = Callable[[str], None]


class BadBackup(GitdagsError):
    """A file that is no backup, a damaged one, or one of a later gitdags."""


@dataclass(slots=True)
class Report:
    """What went into a backup, or was new to the store when it came out, in counts."""

    rows: dict[str, int] = field(default_factory=dict)
    repositories: int = 0
    commits: int = 0
    """kept ones"""
    bytes: int = 0
    """of the file"""


# ── out ───────────────────────────────────────────────────────────────────────────────────────


def write(store: Store, file: Path, note: Note) -> Report:
    """Write a backup; a file of that name is replaced when the new one is complete.

    A repository that cannot be read is noted and goes in without commits. Raises StoreUnavailable,
    GitFailed, OSError.
    """
    file = file.absolute()
    report = Report()
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
        aside = Path(folder) / "backup"
        with open(aside, "xb", opener=_private) as out:
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
                pack = _Packer(tar, Path(folder))
                dump = Dump(store)
                for kind in Dump.KINDS:
                    with pack.member(f"{kind}.jsonl.gz") as member:
                        report.rows[kind] = _write_rows(member, dump.rows(kind))
                repositories = []
                for repo in store.repositories():
                    entry, commits = _repository(pack, repo, note)
                    repositories.append(entry)
                    report.commits += commits
                report.repositories = len(repositories)
                pack.manifest(repositories)
            out.flush()
            os.fsync(out.fileno())
        report.bytes = aside.stat().st_size
        os.replace(aside, file)
    return report


class _Packer:
    """Puts members into a tar, and notes of each what restoring must find again."""

    def __init__(self, tar: tarfile.TarFile, folder: Path) -> None:
        self._tar, self._folder = tar, folder
        self._files: dict[str, dict[str, Any]] = {}

    @contextmanager
    def member(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write the member to; it goes in when the block ends well."""
        with tempfile.TemporaryFile(dir=self._folder) as file:
            yield file
            size = file.tell()
            file.seek(0)
            self._files[name] = {
                "bytes": size,
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            }
            file.seek(0)
            self._tar.addfile(self._info(name, size), file)

    def manifest(self, repositories: list[Row]) -> None:
        """The last member."""
        told = {
            "v": VERSION,
            "gitdags": __version__,
            "made_at": datetime.now(UTC).isoformat(),
            "files": self._files,
            "repositories": repositories,
        }
        body = json.dumps(told, indent=1).encode()
        self._tar.addfile(self._info(_MANIFEST, len(body)), io.BytesIO(body))

    @staticmethod
    def _info(name: str, size: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(datetime.now(UTC).timestamp())
        return info


def _write_rows(file: IO[bytes], rows: Iterator[Row]) -> int:
    count = 0
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as lines:
        for count, row in enumerate(rows, 1):  # noqa: B007 - the number of the last one
            lines.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    return count


def _repository(pack: _Packer, repo: RegisteredRepository, note: Note) -> tuple[Row, int]:
    """(what the manifest says of a repository, commits kept in it)."""
    entry: Row = {
        name: getattr(repo, name)
        for name in ("name", "path", "url", "dags_folder", "env_file", "pull_requests")
    }
    entry |= {"bundle": None, "head": None, "refs": {}, "kept": []}
    try:
        opened = git.Repository(repo.path)
        refs = {
            name: oid
            for name, oid in opened.ref_targets().items()
            if name.startswith(("refs/heads/", "refs/tags/")) and opened.peel(oid) is not None
        }
        kept = sorted(keep.kept(repo.path))
        parts = keep.bundle(repo.path, kept, refs)
    except GitdagsError as error:
        note(f"warning: {repo.name} goes in without its commits: {error.message}")
        return entry, 0
    name = f"repositories/{repo.name}.bundle"
    with pack.member(name) as member:
        member.writelines(parts)
    return entry | {
        "bundle": name,
        "head": opened.default_branch(),
        "refs": refs,
        "kept": kept,
    }, len(kept)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # it may hold what a repository's readers may not all see


# ── in ────────────────────────────────────────────────────────────────────────────────────────


def restore(store: Store, home: Path, file: Path, note: Note) -> Report:
    """Bring back what a backup holds and the store lacks; the whole file is checked before anything is.

    A mirror is made again from the backup, without asking its remote. A working clone that is not where
    it was becomes a bare repository below ``home``. Raises BadBackup, StoreUnavailable, GitFailed.
    """
    if not file.is_file():
        raise BadBackup(f"there is no file {shown(str(file))}", hint="gitdags backup FILE")
    report = Report(bytes=file.stat().st_size)
    with _opened(file) as tar:
        manifest = _checked(tar, file)
        for entry in manifest["repositories"]:
            report.commits += _restore_repository(store, home, tar, entry, note)
            report.repositories += 1
        dump = Dump(store)
        for kind in Dump.KINDS:
            with gzip.GzipFile(fileobj=_member(tar, f"{kind}.jsonl.gz")) as lines:
                try:
                    report.rows[kind] = dump.load(kind, map(json.loads, lines))
                except (ValueError, KeyError, TypeError) as error:
                    raise _bad(file, f"its {kind} are damaged: {shown(str(error))}") from None
    return report


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, mode="r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        raise _bad(file, shown(str(error))) from None


def _checked(tar: tarfile.TarFile, file: Path) -> Row:
    """The manifest, once every file that it names is there as it says. Raises BadBackup."""
    member = _member(tar, _MANIFEST)
    try:
        manifest = json.loads(member.read(_LONGEST))
        version, files = manifest["v"], dict(manifest["files"])
        repositories = list(manifest["repositories"])
        names = [entry["name"] for entry in repositories]
    except (ValueError, KeyError, TypeError):
        raise _bad(file, "its manifest is damaged") from None
    if version != VERSION:
        raise BadBackup(
            f"{shown(str(file))} is a backup of version {shown(str(version))}, "
            f"this gitdags reads {VERSION}",
            hint="pip install --upgrade gitdags",
        )
    wanted = {f"{kind}.jsonl.gz" for kind in Dump.KINDS}
    wanted |= {entry["bundle"] for entry in repositories if entry["bundle"]}
    if not wanted <= files.keys():
        raise _bad(file, f"{min(wanted - files.keys())} is missing")
    for name, told in files.items():
        digest = hashlib.file_digest(_member(tar, name), "sha256").hexdigest()  # type: ignore[arg-type]  # it reads
        if digest != told["sha256"]:
            raise _bad(file, f"{shown(name)} in it is not what was written")
    for name in names:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
            raise _bad(file, f"{shown(str(name))} cannot be a repository's name")
    return dict(manifest)


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        found = tar.extractfile(name)
    except KeyError:
        found = None
    if found is None:
        raise _bad(Path(str(tar.name)), f"{shown(name)} is missing")
    return found


def _bad(file: Path, why: str) -> BadBackup:
    where = shown(str(file))
    return BadBackup(f"{where} is no backup: {why}", hint=f"tar -tvf {shlex.quote(where)}")


def _restore_repository(
    store: Store, home: Path, tar: tarfile.TarFile, entry: Row, note: Note
) -> int:
    """Register a repository that is not, and keep in it what was kept; how many commits those are."""
    name, url = entry["name"], entry["url"]
    known = {repo.name: repo for repo in store.repositories()}
    path = Path(known[name].path if name in known else entry["path"])
    if name not in known and not _is_repository(path, url):
        path = home / "mirrors" / f"{name}.git"
        if not path.exists():
            mirror.create(path, url, lambda folder: _fill(folder, tar, entry))
        if url is None:
            note(f"{name}: {entry['path']} is not here; it is {path} now, a bare repository")
    elif name in known and not _is_repository(path, None):
        raise BadBackup(
            f"{name} is registered at {path}, where no repository is",
            hint=f"gitdags init {shlex.quote(str(path))} --name {name}",
        )
    _unbundle(path, tar, entry)
    if name not in known:
        fields = ("name", "url", "dags_folder", "env_file", "pull_requests")
        values = {key: entry[key] for key in fields}
        store.register(RegisteredRepository(path=str(path), **values))
    return len(entry["kept"])


def _is_repository(path: Path, url: str | None) -> bool:
    """Whether a repository of the user's own is where it was; a mirror's place is another home's."""
    if url is not None:
        return False
    try:
        git.Repository(path)
    except GitdagsError:
        return False
    return True


def _fill(folder: Path, tar: tarfile.TarFile, entry: Row) -> None:
    """Objects, branches and tags into a new repository."""
    _unbundle(folder, tar, entry)
    lines = "".join(f"create {ref} {oid}\n" for ref, oid in sorted(entry["refs"].items()))
    program.run(folder, "update-ref", "--stdin", input=lines.encode())
    head = entry["head"]
    if head in entry["refs"] and head.startswith("refs/heads/"):
        program.run(folder, "symbolic-ref", "HEAD", head)


def _unbundle(path: Path, tar: tarfile.TarFile, entry: Row) -> None:
    """The objects of a bundle into a repository, and its kept commits kept. Raises BadBackup."""
    if entry["bundle"] is None:
        return
    with tempfile.TemporaryDirectory(prefix="gitdags-") as folder:
        bundle = Path(folder) / "bundle"
        with open(bundle, "xb") as file:
            member = _member(tar, entry["bundle"])
            while piece := member.read(1 << 20):
                file.write(piece)
        program.run(path, "bundle", "unbundle", str(bundle))
    missing = keep.keep(path, entry["kept"])
    if missing:
        raise BadBackup(
            f"the bundle of {entry['name']} lacks {len(missing)} of its commits",
            hint=f"git -C {shlex.quote(str(path))} cat-file -t {missing[0]}",
        )
