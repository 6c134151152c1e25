"""Words to commands, exceptions to text and exit codes; nothing else."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from gitdags import __version__, config
from gitdags.cli.context import Context
from gitdags.errors import GitdagsError, UsageError, shown

# Each is a module beside this one, with `configure` and `run`; imported when it is called.
COMMANDS = {
    "init": "register a repository of DAGs (a path), or mirror one (a URL)",
    "repos": "list the registered repositories",
    "fetch": "update mirrors from their remotes",
    "index": "parse the DAGs of commits into the store, those that are not there yet",
    "ls": "list the DAGs at a commit, and the files that fail",
    "show": "show one DAG at a commit: a summary, its code, a drawing, or its document (--json)",
    "log": "show at which commits DAGs changed, and how",
    "blame": "show which commit brought each task and edge of a DAG, and which last changed it",
    "diff": "compare the DAGs of two commits: added, removed, changed, and in what",
    "check": "check the DAGs of a commit, or of a range of commits: for CI",
    "run": "start a run of a DAG at a commit",
    "runs": "list the runs that were stamped, and the commits they ran at",
    "stamp": "say by hand which commit a run ran at",
    "import-runs": "stamp the runs that an Airflow had before gitdags was there",
    "suspects": "show what changed since the last good run of a DAG",
    "drain": "take the stamps that Airflow's processes left in the spool into the store",
    "export": "write the files of a commit to a new folder, for hosts without FUSE",
    "mount": "show every ref of every registered repository as a folder, read-only",
    "umount": "take a mount down",
    "serve": "show all of this in a browser: pages and an API",
    "environments": "list, build and test the interpreters that parse different commits",
    "token": "make, list and revoke the tokens that open a server",
    "hooks": "install, remove or check the Git hooks that record which refs moved",
    "deploys": "list the recorded moves of refs, newest first",
    "backup": "write stamps, deployments and kept commits to one file",
    "restore": "bring back what a backup holds; nothing that is there is changed",
    "db": "show or upgrade the schema of the store",
    "gc": "remove what nothing refers to: from the store, and from the files of export bundles",
    "doctor": "look for faults: in the installation, the store, the repositories",
    "config": "list the settings, their values and where each comes from",
    "completion": 'print the completion script of a shell: eval "$(gitdags completion bash)"',
}
BUG, INTERRUPTED = 70, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code as in docs: 0, 1 "no", 2 usage, 3 known error, 70, 130."""
    _scrub_environment()
    _end_tidily()
    home: Path | None = None
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        top = parser(words)
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            argcomplete.autocomplete(top)
        args = top.parse_args(words)
        settings = config.load(_flags(args.settings))
        home = settings.home
        context = Context(
            settings,
            args.repo,
            args.json,
            -1 if args.quiet else args.verbose,
        )
        module = _module(args.command)
        try:
            code: int = module.run(context, args)
            sys.stdout.flush()
            return code
        finally:
            if "catalog" in vars(context):
                context.catalog.close()
    except GitdagsError as error:
        return _complain(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has gone, as `head` does: no error, and nothing left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _complain(_known(error)) if error.errno in _OURS else _bug(home)
    except Exception:
        return _bug(home)


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The grammar; of the commands only those among ``words`` have theirs, or all if none is."""
    top = argparse.ArgumentParser(
        prog="gitdags",
        description="Every DAG, at every commit.",
        parents=[_shared(top=True)],
    )
    top.add_argument("--version", action="version", version=f"gitdags {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    called = next((word for word in words if word in COMMANDS), None)
    for name, help in COMMANDS.items():
        sentence = help[0].upper() + help[1:] + "."
        own = commands.add_parser(
            name, help=help, description=sentence, parents=[_shared(top=False)]
        )
        if called is None or name in words:
            _module(name).configure(own)
    return top


def _module(command: str) -> ModuleType:
    return importlib.import_module("gitdags.cli." + command.replace("-", "_"))


def _shared(*, top: bool) -> argparse.ArgumentParser:
    """Words that may stand before the command or after it."""
    shared = argparse.ArgumentParser(add_help=False)

    def default(value: object) -> object:
        return value if top else argparse.SUPPRESS

    group = shared.add_argument_group("shared options") if not top else shared
    repo = group.add_argument(
        "-r",
        "--repo",
        metavar="NAME",
        default=default(None),
        help="the repository; else the one of the working directory, else the only one",
    )
    repo.completer = _complete("repositories")  # type: ignore[attr-defined]  # read by argcomplete
    group.add_argument(
        "-c",
        dest="settings",
        metavar="NAME=VALUE",
        action="append",
        default=default([]),
        help="a setting for this call; `gitdags config` lists them",
    )
    group.add_argument(
        "--json", action="store_true", default=default(False), help="data as JSON on stdout"
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", default=default(False), help="no messages"
    )
    group.add_argument("-v", "--verbose", action="count", default=default(0), help="more messages")
    return shared


def _complete(what: str) -> object:
    from gitdags.cli import complete

    return getattr(complete, what)


def _scrub_environment() -> None:
    """Take from this process the variables by which git would be pointed at another repository.

    git sets them for hooks, and with GIT_DIR set its check of a repository's owner is off.
    """
    for name in _LOCAL_VARIABLES:
        os.environ.pop(name, None)


# `git rev-parse --local-env-vars`, and what replaces programs or configuration.
_LOCAL_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES", "GIT_EXEC_PATH", "GIT_EXTERNAL_DIFF", "GIT_QUARANTINE_PATH",
)  # fmt: skip


def _flags(settings: Sequence[str]) -> dict[str, str]:
    flags = {}
    for word in settings:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"-c {shown(word)} is not NAME=VALUE", hint="gitdags config")
        flags[name] = value
    return flags


def _end_tidily() -> None:
    """Make being told to end an exception, so that folders and processes of ours are cleaned up."""

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


def _complain(error: GitdagsError) -> int:
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit_code


_OURS = {13, 28, 30, 1}  # EACCES, ENOSPC, EROFS, EPERM: the machine's state, not a bug


def _known(error: OSError) -> GitdagsError:
    where = f"{error.filename}: " if error.filename else ""
    return GitdagsError(
        f"{where}{error.strerror}", hint="df -h; ls -ld " + str(error.filename or ".")
    )


def _bug(home: Path | None) -> int:
    """Keep the traceback in a file and say where; it is for us, not for the user."""
    text = f"gitdags {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, {sys.argv}\n"
    text += traceback.format_exc()
    last = text.strip().splitlines()[-1]
    try:
        folder = (home or Path.home()) / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f"bug-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
        log.write_text(text)
        where = str(log)
    except OSError:
        where = "no log could be written"
        print(text, file=sys.stderr)
    print(
        f"error: this is a bug in gitdags: {shown(last, 200)}\nhint: cat {where}", file=sys.stderr
    )
    return BUG


if __name__ == "__main__":
    sys.exit(main())
