"""Words to commands, exceptions to text and exit codes; nothing else."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gitdags import __version__, config, mirror
from gitdags.cli.context import Context
from gitdags.errors import GitdagsError, UsageError, shown

COMMANDS = (
    "init", "repos", "fetch", "index", "ls", "show", "log", "blame", "diff", "export",
    "db", "config", "completion",
)  # fmt: skip
BUG, INTERRUPTED = 70, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code as in docs: 0, 1 "no", 2 usage, 3 known error, 70, 130."""
    mirror.scrub_environment()
    home: Path | None = None
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        args = parser(words).parse_args(words)
        settings = config.load(_flags(args.settings))
        home = settings.home
        context = Context(
            settings,
            args.repo,
            args.json,
            -1 if args.quiet else args.verbose,
        )
        module = importlib.import_module(f"gitdags.cli.{args.command}")
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
    """The whole grammar; only the command that ``words`` name has its own words filled in."""
    top = argparse.ArgumentParser(
        prog="gitdags",
        description="Every DAG, at every commit.",
        parents=[_shared(top=True)],
    )
    top.add_argument("--version", action="version", version=f"gitdags {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"gitdags.cli.{name}")
        own = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            parents=[_shared(top=False)],
        )
        module.configure(own)
    return top


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


def _flags(settings: Sequence[str]) -> dict[str, str]:
    flags = {}
    for word in settings:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"-c {shown(word)} is not NAME=VALUE", hint="gitdags config")
        flags[name] = value
    return flags


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
