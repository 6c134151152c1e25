"""Looking for faults: each check names what holds or what does not, and how to mend it."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gitdags import git, hooks, program
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.errors import GitdagsError, shown
from gitdags.model import RegisteredRepository
from gitdags.serialize import builds, sandbox
from gitdags.serialize.environment import default_python, probe

_SPOOL_AGE = 300.0
"""Seconds after which a stamp should long have been drained."""


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
    yield _sandbox(settings)
    yield from _uv(settings)
    yield from _mounts()
    try:
        counts = catalog.counts()
    except GitdagsError as error:
        yield Diagnosis("fault", "store", error.message, error.hint)
        return
    listed = ", ".join(f"{name} {n:,}" for name, n in counts.items())
    yield Diagnosis("ok", "store", listed)
    yield from _runs(catalog)
    for repo in catalog.repositories():
        try:
            opened = catalog.opened(repo)
            opened.require_commits()
        except GitdagsError as error:
            yield Diagnosis("fault", repo.name, error.message, error.hint)
            continue
        yield from _repository(repo.name, repo.path, opened)
        yield from _trust(catalog, repo)


def _runs(catalog: Catalog) -> Iterator[Diagnosis]:
    """The spool, and what is not as it should be with stamped runs."""
    size, oldest = catalog.spool.waiting()
    age = time.time() - oldest if oldest else 0.0
    if age > _SPOOL_AGE:
        yield Diagnosis(
            "warning", "spool", f"{size:,} bytes of stamps wait since {age / 60:.0f} minutes",
            "gitdags drain",
        )  # fmt: skip
    refused = catalog.spool.folder / "refused"
    if refused.exists():
        yield Diagnosis(
            "warning", "spool", "some records said nothing that could be stored",
            f"cat {shlex.quote(str(refused))}",
        )  # fmt: skip
    counts = catalog.run_counts()
    said = f"{counts['runs']:,} stamped, {counts['conflicts']:,} in conflict"
    if counts["doubtful"]:
        yield Diagnosis(
            "warning", "runs", f"{said}, {counts['doubtful']:,} without a document",
            "gitdags drain --again",
        )  # fmt: skip
    else:
        yield Diagnosis("ok", "runs", said)


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
        state: Literal["warning", "fault"] = (
            "warning" if settings["engine"] != "airflow" else "fault"
        )
        message = error.message + (
            ": DAG files are recorded without it" if state == "warning" else ""
        )
        return Diagnosis(state, "airflow", message, error.hint)
    return Diagnosis(
        "ok", "airflow", f"{found.airflow} in {python}, {len(found.providers)} providers"
    )


def _sandbox(settings: Settings) -> Diagnosis:
    """Which tier confines DAG files; a lesser one with the reason."""
    try:
        found = sandbox.choose(settings["sandbox"], settings["sandbox_user"])
    except GitdagsError as error:
        return Diagnosis("fault", "sandbox", error.message, "apt-get install bubblewrap")
    who = f", as {found.user}" if os.getuid() == 0 and found.confined else ""
    if found.tier == sandbox.FULL:
        said = f"full: bubblewrap, namespaces for each file, Landlock, seccomp{who}"
        return Diagnosis("ok", "sandbox", said)
    hint = (
        "apt-get install bubblewrap"
        if shutil.which("bwrap") is None
        else ("bwrap --unshare-user --unshare-pid --unshare-net --ro-bind / / true")
    )
    if found.tier == sandbox.LANDLOCK:
        said = f"landlock: Landlock and seccomp alone{who}"
        if not found.reason:
            return Diagnosis("ok", "sandbox", f"{said}, as asked for")
        return Diagnosis("warning", "sandbox", f"{said}; {found.reason}", hint)
    said = f"none ({found.reason}): only commits that trusted refs reach are parsed"
    return Diagnosis("warning", "sandbox", said, hint)


def _uv(settings: Settings) -> Iterator[Diagnosis]:
    """What builds environments, where that is allowed."""
    if not settings["build_environments"]:
        return
    try:
        yield Diagnosis("ok", "environments", f"built by {builds.uv()}, for trusted commits")
    except GitdagsError as error:
        yield Diagnosis("fault", "environments", error.message, error.hint)


def _trust(catalog: Catalog, repo: RegisteredRepository) -> Iterator[Diagnosis]:
    """Which refs are trusted, what is kept from files, and rules that make no sense."""
    try:
        parsers = catalog.history(repo).parsers
        rules = len(parsers.rules.rules)
    except GitdagsError as error:
        yield Diagnosis("fault", repo.name, error.message, error.hint)
        return
    refs = parsers.trust.refs
    if not refs:
        yield Diagnosis(
            "warning", repo.name, "no ref is trusted: trusted_refs names none that is here",
            f"git -C {shlex.quote(repo.path)} for-each-ref",
        )  # fmt: skip
        return
    kept = f", {len(parsers.withheld)} secrets withheld" if parsers.withheld else ""
    ruled = f", {rules} rules for environments" if rules else ""
    named = ", ".join(refs[:3]) + (f" and {len(refs) - 3} more" if len(refs) > 3 else "")
    yield Diagnosis("ok", repo.name, f"trusted: {named}{kept}{ruled}")


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
    yield from _remotes(name, path)
    yield from _hooks(name, path)
    branch = opened.default_branch()
    tip = opened.ref(branch) if branch else None
    if tip is not None:
        try:
            opened.measure(opened.commit(tip).tree)
        except GitdagsError as error:
            yield Diagnosis("fault", name, error.message, error.hint)
            return
    yield Diagnosis("ok", name, f"{path}, {len(opened.refs())} refs, default {branch}")


def _remotes(name: str, path: str) -> Iterator[Diagnosis]:
    words = ("config", "--type=bool", "--null", "--get-regexp", r"^remote\..*\.mirror$")
    try:
        _, found = program.asks(path, *words)
    except GitdagsError as error:
        yield Diagnosis("warning", name, error.message, error.hint)
        return
    for entry in found.decode("utf-8", "replace").split("\0")[:-1]:
        key, _, value = entry.partition("\n")
        if value == "true":
            remote = key.removeprefix("remote.").removesuffix(".mirror")
            yield Diagnosis(
                "warning", name, f"a push to {shown(remote)} takes refs that gitdags keeps with it",
                f"git -C {shlex.quote(path)} config {shlex.quote(key)} false",
            )  # fmt: skip


def _hooks(name: str, path: str) -> Iterator[Diagnosis]:
    """Hooks that were installed and are not all in place, or whose moves nobody takes in."""
    try:
        found = hooks.status(Path(path))
    except GitdagsError as error:
        yield Diagnosis("warning", name, error.message, error.hint)
        return
    if any(hook.state != "missing" for hook in found.hooks) and not found.installed:
        wrong = ", ".join(hook.name for hook in found.hooks if hook.state != "installed")
        yield Diagnosis(
            "warning",
            name,
            f"hooks were replaced or removed: {wrong}",
            f"gitdags -r {name} hooks install",
        )
    if found.problem:
        yield Diagnosis("warning", name, f"hooks: {found.problem}", f"gitdags -r {name} deploys")
