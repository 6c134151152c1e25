"""gitdags hooks: the Git hooks that tell which refs moved."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path

from gitdags import git, hooks
from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.config import SETTINGS, Settings
from gitdags.errors import GitdagsError, UsageError
from gitdags.hooks import CannotInstall, Status
from gitdags.model import RegisteredRepository
from gitdags.wire import plain

_STYLES = {"installed": "green", "missing": "yellow", "changed": "bold red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument(
        "action",
        choices=("install", "uninstall", "status", "handle"),
        help="handle is what the hooks start: it takes in the moves waiting in GITDIR",
    )
    parser.add_argument("folder", metavar="GITDIR", nargs="?", type=Path, help="for handle only")


def run(context: Context, args: argparse.Namespace) -> int:
    """Change, or say how the hooks stand; `status` exits 1 where they are not all in place."""
    if (args.folder is not None) != (args.action == "handle"):
        raise UsageError("handle takes a GITDIR, and only handle", hint="gitdags hooks status")
    if args.action == "handle":
        return _handle(args.folder)
    repo = _repository(context)
    path = Path(repo.path)
    if args.action == "uninstall":
        return _uninstall(context, repo)
    if args.action == "install":
        if repo.url is not None:
            raise CannotInstall(
                f"{repo.name} is a mirror: its moves are recorded by fetching",
                hint=f"gitdags -r {repo.name} fetch",
            )
        found = hooks.install(path, _given(context.settings))
    else:
        found = hooks.status(path)
    _show(context, repo, found, installing=args.action == "install")
    return 0 if found.installed else 1


def _show(context: Context, repo: RegisteredRepository, found: Status, *, installing: bool) -> None:
    if context.json:
        context.write_json({"repo": repo.name, "installed": found.installed, **plain(found)})
        return
    rows: list[list[table.Cell]] = [
        [hook.name, (hook.state, _STYLES[hook.state]), f"then {hook.runs}" if hook.runs else ""]
        for hook in found.hooks
    ]
    table.write(context.out, rows)
    if installing:
        context.note(
            f"{repo.name}: hooks are in {found.folder}\n"
            "set transfer.hideRefs and log.excludeDecoration, so that git shows no refs/gitdags; "
            "uninstall takes both out again"
        )
    elif not found.installed:
        context.note(f"hint: gitdags -r {repo.name} hooks install")
    if found.waiting:
        context.note(f"{found.waiting:,} bytes of moves wait to be taken in: gitdags deploys")
    if found.problem:
        context.note(f"last in the background: {found.problem}")


def _uninstall(context: Context, repo: RegisteredRepository) -> int:
    try:
        context.catalog.receive(repo)
    except GitdagsError as error:
        context.note(f"warning: what waited could not be recorded: {error.message}")
    for note in hooks.uninstall(Path(repo.path)):
        context.note(f"note: {note}")
    context.note(f"{repo.name}: hooks are out; commits that were deployed stay kept")
    if context.json:
        context.write_json({"repo": repo.name, "installed": False})
    return 0


def _handle(folder: Path) -> int:
    """What a hook started: apart from its terminal, behind everybody else, with the settings it was given."""
    from gitdags import config
    from gitdags.hooks.install import saved_settings
    from gitdags.program import environment
    from gitdags.receiver import attend

    with contextlib.suppress(PermissionError):  # when it leads its group already
        os.setsid()
    os.nice(10)
    kept = environment()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        if name not in kept:
            del os.environ[name]
    common = folder.resolve()
    attend(config.load(saved_settings(common)), common)
    return 0


def _repository(context: Context) -> RegisteredRepository:
    """The one of ``-r``, or of the working directory; never another for being the only one."""
    here = git.discover(Path.cwd())
    found = context.repository if context.repository_name or here is None else None
    if found is None:
        common = hooks.common_dir(Path.cwd())
        found = next(
            (r for r in context.catalog.repositories() if hooks.common_dir(r.path) == common), None
        )
    if found is None:
        raise CannotInstall("this repository is not registered", hint="gitdags init .")
    return found


def _given(settings: Settings) -> dict[str, str]:
    """The settings of this call that the hooks' environment may lack; no secrets but in `db`."""
    given = {s.name: settings.origin(s.name) for s in SETTINGS if not s.secret}
    chosen = {name: text for name, (text, by) in given.items() if by in ("flag", "environment")}
    return chosen | {"home": str(settings.home)}
