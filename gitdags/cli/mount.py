"""gitdags mount MOUNTPOINT"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitdags.errors import UsageError, shown

if TYPE_CHECKING:
    from gitdags.cli.context import Context

    from fuse_mount.repositories import MountedRepository

HELP = "show every ref of every registered repository as a folder"

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
        "--metrics-port", type=int, default=0, metavar="PORT", help="serve Prometheus on 127.0.0.1"
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

    def repositories() -> Sequence[MountedRepository]:
        return [
            MountedRepository(each.name, str(each.path), each.dags_folder)
            for each in context.catalog.repositories()
        ]

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
        moves=getattr(context.catalog, "moves", None),
        foreground=args.foreground,
        log_file=settings.home / "mount.log",
        note=context.note,
    )
    return 0


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
