"""gitdags umount MOUNTPOINT"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitdags.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="what `gitdags mount` was given")
    parser.add_argument(
        "--lazy", action="store_true", help="out of sight at once, ended with its last user"
    )


def run(context: Context, args: argparse.Namespace) -> int:
    """Returns when the mount is gone, or out of sight with --lazy."""
    from fuse_mount import mount as fuse

    mountpoint = fuse.located(args.mountpoint)
    if os.getcwd() == mountpoint or os.getcwd().startswith(mountpoint + "/"):
        os.chdir("/")  # this process must not be what holds it
    fuse.unmount(mountpoint, lazy=args.lazy)
    return 0
