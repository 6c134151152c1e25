"""gitdags completion: what a shell needs to complete our words."""

from __future__ import annotations

import argparse

from gitdags.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh", "powershell"))


def run(context: Context, args: argparse.Namespace) -> int:
    """Print it."""
    import argcomplete

    context.write_text(argcomplete.shellcode(["gitdags"], shell=args.shell) + "\n")
    return 0
