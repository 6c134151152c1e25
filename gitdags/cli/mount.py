"""gitdags mount MOUNTPOINT"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitdags.errors import GitdagsError, UsageError, shown

if TYPE_CHECKING:
    from fuse_mount.repositories import MountedRepository
    from gitdags.cli.context import Context
    from gitdags.model import Move, RegisteredRepository

_GENERIC = frozenset(
    (
        "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "auto", "noauto",
        "user", "nouser", "defaults", "nofail", "_netdev",
    )
)  # fmt: skip
"""Options of fstab lines that mount(8) passes on; the mount is ro,nosuid,nodev whatever they say."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty directory")
    parser.add_argument(
        "-f", "--foreground", action="store_true", help="stay, write messages to stderr"
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "kernel", "libfuse"),
        default="auto",
        help="what speaks to the kernel (auto: kernel on Linux, else libfuse)",
    )
    parser.add_argument(
        "--allow-other", action="store_true", help="let other users read the mount too"
    )
    parser.add_argument(
        "--xattr", action="store_true", help="tell commits, trees and blobs as extended attributes"
    )
    parser.add_argument(
        "--metrics-port",
        type=_port,
        default=0,
        metavar="PORT",
        help="serve Prometheus on 127.0.0.1",
    )
    parser.add_argument(
        "-o", dest="options", default="", metavar="OPTIONS", help="options of an fstab line"
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """Returns once files can be read; with --foreground, when it is unmounted."""
    from fuse_mount import mount as fuse
    from fuse_mount.repositories import MountedRepository
    from fuse_mount.supervisor import Plan

    _read_options(args)

    # Called in a process of its own: the catalog's libraries stay out of the server's memory.
    def repositories() -> Sequence[MountedRepository]:
        return [
            MountedRepository(each.name, each.path, _dags_folder(context, each))
            for each in context.catalog.repositories()
        ]

    def moves(name: str, ref: str) -> Sequence[Move]:
        return context.catalog.moves(context.catalog.repository(name), ref)

    settings = context.settings
    plan = Plan(
        mountpoint=fuse.located(args.mountpoint),
        backend=fuse.choose(args.backend),
        allow_other=args.allow_other,
        xattr=args.xattr,
        tree_memory=settings["mount_trees"],
        blob_memory=settings["mount_files"],
        node_memory=settings["mount_nodes"],
        pack_memory=settings["mount_packs"],
        spool=settings["mount_spool"],
        deadline=settings["mount_deadline"],
        metrics_port=args.metrics_port,
    )
    fuse.mount(
        plan,
        repositories,
        moves=moves,
        foreground=args.foreground,
        log_file=settings.home / "mount.log",
        note=context.note,
    )
    return 0


def _dags_folder(context: Context, repository: RegisteredRepository) -> str:
    """Where a repository's DAG files are; the setting's answer where it cannot be read just now."""
    try:
        return context.catalog.history(repository).dags_folder
    except GitdagsError:
        folder = repository.dags_folder
        return context.settings["dags_folder"] if folder is None else folder


def _port(text: str) -> int:
    """An argparse type: a TCP port."""
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no port from 1 to 65535")
    return int(text)


def _read_options(args: argparse.Namespace) -> None:
    """Turns ``-o`` of an fstab line into flags. Raises UsageError for what is unknown."""
    for option in filter(None, args.options.split(",")):
        name, _, value = option.partition("=")
        if name == "allow_other":
            args.allow_other = True
        elif name == "xattr":
            args.xattr = True
        elif name == "backend" and value in ("auto", "kernel", "libfuse"):
            args.backend = value
        elif name not in _GENERIC and not name.startswith("x-"):
            raise UsageError(
                f"there is no mount option {shown(option)!r}", hint="gitdags mount --help"
            )
