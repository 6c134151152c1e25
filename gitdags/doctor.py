"""Looking for faults: each check names what holds or what does not, and how to mend it."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gitdags import git
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.errors import GitdagsError
from gitdags.serialize.environment import default_python, probe


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing looked at."""

    state: Literal["ok", "warning", "fault"]
    subject: str
    message: str
    hint: str = ""


def examine(settings: Settings, catalog: Catalog) -> Iterator[Diagnosis]:
    """Look at the machine, the parser, the store and every repository; never raises GitdagsError."""
    yield Diagnosis("ok", "python", f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}")
    if shutil.which("git") is None:
        yield Diagnosis("warning", "git", "there is no git program", "apt-get install git")
    yield from _home(settings)
    yield _airflow(settings)
    yield from _mounts()
    try:
        counts = catalog.counts()
    except GitdagsError as error:
        yield Diagnosis("fault", "store", error.message, error.hint)
        return
    listed = ", ".join(f"{name} {n:,}" for name, n in counts.items())
    yield Diagnosis("ok", "store", listed)
    for repo in catalog.repositories():
        try:
            opened = catalog.opened(repo)
            opened.require_commits()
        except GitdagsError as error:
            yield Diagnosis("fault", repo.name, error.message, error.hint)
            continue
        yield from _repository(repo.name, repo.path, opened)


def _home(settings: Settings) -> Iterator[Diagnosis]:
    home = settings.home
    place = home
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        yield Diagnosis("fault", "home", f"{home} cannot be written", f"ls -ld {place}")
        return
    free = shutil.disk_usage(place).free
    if free < 100 << 20:
        yield Diagnosis("fault", "home", f"{home}: {free >> 20} MiB free", f"df -h {place}")
    else:
        yield Diagnosis("ok", "home", f"{home}, {free >> 30} GiB free")


def _airflow(settings: Settings) -> Diagnosis:
    python = settings["python"] or default_python()
    try:
        found = probe(python, None)
    except GitdagsError as error:
        state: Literal["warning", "fault"] = "warning" if settings["engine"] != "airflow" else "fault"
        message = error.message + (": DAG files are recorded without it" if state == "warning" else "")
        return Diagnosis(state, "airflow", message, error.hint)
    return Diagnosis(
        "ok", "airflow", f"{found.airflow} in {python}, {len(found.providers)} providers"
    )


def _mounts() -> Iterator[Diagnosis]:
    from fuse_mount.mount import stale_mounts

    if not Path("/dev/fuse").exists():
        yield Diagnosis(
            "warning", "mount", "there is no /dev/fuse: `gitdags mount` cannot work here",
            "modprobe fuse",
        )  # fmt: skip
        return
    stale = stale_mounts()
    for place in stale:
        hint = f"gitdags umount --lazy {shlex.quote(place)}"
        yield Diagnosis("fault", "mount", f"{place} is mounted, but nobody serves it", hint)
    if not stale:
        yield Diagnosis("ok", "mount", "/dev/fuse is there, no dead mount")


def _repository(name: str, path: str, opened: git.Repository) -> Iterator[Diagnosis]:
    if opened.is_shallow:
        yield Diagnosis(
            "warning", name, "the clone is shallow: history ends early",
            f"git -C {path} fetch --unshallow",
        )  # fmt: skip
    for remote, spec in opened.refspecs():
        if spec == "+refs/*:refs/*":
            yield Diagnosis(
                "fault", name, f"a pruning fetch of {remote} deletes refs that gitdags keeps",
                f"git -C {path} config remote.{remote}.fetch '+refs/heads/*:refs/heads/*'",
            )  # fmt: skip
    branch = opened.default_branch()
    tip = opened.ref(branch) if branch else None
    if tip is not None:
        try:
            opened.measure(opened.commit(tip).tree)
        except GitdagsError as error:
            yield Diagnosis("fault", name, error.message, error.hint)
            return
    yield Diagnosis("ok", name, f"{path}, {len(opened.refs())} refs, default {branch}")
