"""Git hooks: putting them into a repository and taking them out, and reading what they have seen.

A hook is a few lines of shell (`resources/hook.sh`). It adds a line per moved ref to a file in the
repository's own Git directory, and starts ``gitdags hooks handle`` in the background; nothing else of
gitdags runs inside a Git command. What is done about a move is `receiver`'s.
"""

from gitdags.hooks.inbox import Inbox, common_dir, identity
from gitdags.hooks.install import CannotInstall, Status, install, status, uninstall
from gitdags.hooks.moves import matters

__all__ = [
    "CannotInstall",
    "Inbox",
    "Status",
    "common_dir",
    "identity",
    "install",
    "matters",
    "status",
    "uninstall",
]
