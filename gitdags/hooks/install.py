"""Installing hooks, taking them out again, and saying how they stand.

Where core.hooksPath is not set, our hooks go into the repository's own folder of hooks, and a hook that
stands there is set aside under another name in that folder, and run by ours. Where it is set (a folder of
all the user's repositories, one under version control) nothing is written there: core.hooksPath of this
repository is led to a folder of ours, whose hooks run those of the other folder, also such as come later.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from gitdags import git
from gitdags.errors import GitdagsError
from gitdags.hooks import config
from gitdags.hooks.inbox import FOLDER, Inbox, common_dir

HOOKS = ("reference-transaction", "post-commit", "post-merge", "post-checkout", "post-rewrite",
         "post-receive")  # fmt: skip
"""Each is for every kind of repository: git runs those that apply."""
_ID = b"\n# gitdags hook 5d0f6c1a"
_ASIDE = ".before-gitdags"
_PASSED_ON = (
    "applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit",
    "prepare-commit-msg", "commit-msg", "pre-rebase", "pre-push", "pre-receive", "update",
    "post-update", "pre-auto-gc", "sendemail-validate",
)  # fmt: skip
"""githooks(5), but for those whose mere presence changes what git does, or which run very often."""
_ONLY_IF_THERE = ("push-to-checkout", "proc-receive", "post-index-change")


class CannotInstall(GitdagsError):
    """Hooks cannot be put into a repository, or taken out."""


@dataclass(frozen=True, slots=True)
class Hook:
    """How one hook stands."""

    name: str
    state: Literal["installed", "missing", "changed"]
    """changed: somebody has put another one in its place since"""
    runs: str | None = None
    """path of the hook that was there before, which it runs too"""


@dataclass(frozen=True, slots=True)
class Status:
    """How the hooks of a repository stand."""

    folder: str
    """where they are"""
    hooks: tuple[Hook, ...]
    hidden: bool
    """whether git is told to hide refs of gitdags' own"""
    waiting: int
    """bytes of moves that were not taken in yet"""
    problem: str = ""
    """the last thing that went wrong in the background"""

    @property
    def installed(self) -> bool:
        """Whether every hook is there and will be run."""
        return all(hook.state == "installed" for hook in self.hooks)


def install(path: Path, settings: Mapping[str, str], python: str = sys.executable) -> Status:
    """Put the hooks into a repository; again: mend what is missing.

    What the hooks start is run by ``python``, and given ``settings``. Raises CannotInstall,
    GitFailed, OSError.
    """
    common = _common(path)
    box = common / FOLDER
    record = _record(box)
    folder, other = _place(path, common, record)
    existed = folder.is_dir()
    box.mkdir(exist_ok=True)
    shutil.copymode(common / "refs", box)
    Inbox(common).begin(git.Repository(path))
    if record is None:
        hooks_path = str(folder) if other is not None else None
        made = config.change(common, box / "config.before", hooks_path)
        record = {"v": 1, "other": other, "made_folder": not existed and other is None,
                  "config": {"added": made.added, "hooks_path": made.hooks_path,
                             "former": made.former, "after": made.after}}  # fmt: skip
    _write(box / "installed.json", json.dumps(record | {"settings": dict(settings)}), 0o600)
    folder.mkdir(exist_ok=True)
    shared = bool(box.stat().st_mode & stat.S_IWGRP)
    for name in HOOKS:
        _put(folder, name, _render(name, other, python, shared=shared))
    if other is not None:
        base = _resolved(path, other)
        for name in (*_PASSED_ON, *(n for n in _ONLY_IF_THERE if (base / n).exists())):
            _put(folder, name, _render(name, other, python, shared=shared))
    found = status(path)
    now = config.effective_hooks_path(path)
    if other is not None and now != str(folder):
        uninstall(path)
        raise CannotInstall(
            f"core.hooksPath of this worktree alone is {now}, and wins",
            hint=f"git -C {shlex.quote(str(path))} config --worktree --unset core.hooksPath",
        )
    return found


def uninstall(path: Path) -> list[str]:
    """Take the hooks out, and undo what installing changed; notes on what could not be as it was.

    Moves that were not taken in stay in a file, which a note names. Raises CannotInstall, GitFailed.
    """
    common = _common(path)
    box = common / FOLDER
    record = _record(box)
    if record is None:
        raise CannotInstall("no hooks of gitdags are installed here", hint="gitdags hooks install")
    notes = []
    made = config.Change.of(record["config"])
    if not config.restore(common, box / "config.before", made):
        notes.append("the configuration was changed since: took out of it what gitdags had added")
    if record["other"] is None:
        folder = common / "hooks"
        for name in HOOKS:
            notes += _take(folder, name)
        if record["made_folder"] and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    left = Inbox(common).waiting()
    for entry in box.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif not (left and entry.name in ("moves", "moves.1")):
            entry.unlink()
    if left:
        notes.append(f"moves that were not recorded are left in {box}")
    else:
        box.rmdir()
    return notes


def status(path: Path) -> Status:
    """How the hooks of a repository stand. Raises CannotInstall where it is none, GitFailed."""
    common = _common(path)
    box = common / FOLDER
    record = _record(box)
    folder, other = _place(path, common, record)
    led = config.effective_hooks_path(path)
    reached = _resolved(path, led) if led is not None else common / "hooks"
    hooks = []
    for name in HOOKS:
        file = folder / name
        before = folder / (name + _ASIDE) if other is None else _resolved(path, other) / name
        runs = str(before) if _runs(before) else None
        ours = _is_ours(file)
        if not ours or record is None or not _same(folder, reached):
            changed = record is not None and (file.exists() or not _same(folder, reached))
            hooks.append(Hook(name, "changed" if changed else "missing"))
        else:
            hooks.append(Hook(name, "installed", runs))
    hidden = all(value in config.values(common, key) for key, value in config.HIDDEN)
    return Status(str(folder), tuple(hooks), hidden, Inbox(common).waiting(), _problem(box))


def saved_settings(common: Path) -> dict[str, str]:
    """The settings that the hooks of a repository were installed with."""
    record = _record(common / FOLDER)
    return {} if record is None else {str(k): str(v) for k, v in record["settings"].items()}


# ── one hook ──────────────────────────────────────────────────────────────────────────────────


def _render(name: str, other: str | None, python: str, *, shared: bool) -> str:
    text = (resources.files("gitdags") / "resources" / "hook.sh").read_text()
    values = {
        "@HOOK@": name,
        "@BOX@": f"../{FOLDER}" if other is None else "..",
        "@PYTHON@": shlex.quote(python),
        "@OTHER@": f"$here/{name}{_ASIDE}" if other is None else f"{shlex.quote(other)}/{name}",
        "@UMASK@": "umask 002" if shared else ":",
    }
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


def _put(folder: Path, name: str, text: str) -> None:
    """Write a hook; one that stands there and is not ours is set aside first. No moment without one."""
    file, before = folder / name, folder / (name + _ASIDE)
    if os.path.lexists(file) and not _is_ours(file):
        if os.path.lexists(before):
            raise CannotInstall(
                f"{before} is there already, and so is another {name}",
                hint=f"ls -l {shlex.quote(str(file))}*",
            )
        os.link(file, before, follow_symlinks=False)
    _write(file, text, 0o755)


def _take(folder: Path, name: str) -> list[str]:
    """Take a hook out and put back what was there; notes on what is in the way."""
    file, before = folder / name, folder / (name + _ASIDE)
    if os.path.lexists(file) and not _is_ours(file):
        if not os.path.lexists(before):
            return [f"{file} is not gitdags' any more: left alone"]
        return [f"{file} is not gitdags' any more: left alone, as {before.name} beside it"]
    if os.path.lexists(before):
        os.replace(before, file)
    else:
        file.unlink(missing_ok=True)
    return []


def _is_ours(file: Path) -> bool:
    try:
        with open(file, "rb") as text:
            return _ID in text.read(200)
    except OSError:
        return False


def _runs(file: Path) -> bool:
    return file.is_file() and os.access(file, os.X_OK)


# ── places ────────────────────────────────────────────────────────────────────────────────────


def _common(path: Path) -> Path:
    common = common_dir(path)
    if common is None:
        raise CannotInstall(f"{path} is no Git repository", hint=f"ls -la {shlex.quote(str(path))}")
    return common


def _place(path: Path, common: Path, record: dict[str, Any] | None) -> tuple[Path, str | None]:
    """(folder our hooks go to, folder whose hooks they run where that is another one)."""
    own = common / FOLDER / "hooks"
    if record is not None:
        other = record["other"]
    else:
        other = config.effective_hooks_path(path)
        if other is None and (common / "hooks").is_symlink():
            other = str(common / "hooks")  # what it leads to is not this repository's alone
    return (common / "hooks", None) if other is None else (own, other)


def _resolved(path: Path, hooks_path: str) -> Path:
    """core.hooksPath as a place: relative to where hooks run, the top of the working tree."""
    opened = git.Repository(path)
    return (opened.work_tree or opened.git_dir) / hooks_path


def _same(a: Path, b: Path) -> bool:
    return os.path.realpath(a) == os.path.realpath(b)


def _record(box: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((box / "installed.json").read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise CannotInstall(
            f"{box / 'installed.json'} is damaged",
            hint=f"rm {shlex.quote(str(box))}/installed.json",
        ) from None
    return found if isinstance(found, dict) else None


def _problem(box: Path) -> str:
    """The last line of the handler's log, where it ended in an error."""
    try:
        lines = (box / "handler.log").read_text(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1] if lines and "error:" in lines[-1] else ""


def _write(file: Path, text: str, mode: int) -> None:
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_text(text)
        os.chmod(aside, mode)
        os.replace(aside, file)
    finally:
        aside.unlink(missing_ok=True)
