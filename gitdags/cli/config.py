"""gitdags config: every setting, its value and where that comes from."""

from __future__ import annotations

import argparse

from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.config import SETTINGS
from gitdags.errors import GitdagsError


def configure(parser: argparse.ArgumentParser) -> None:
    """No words of its own."""


def run(context: Context, args: argparse.Namespace) -> int:
    """One line a setting; those of the repository at hand, where there is one."""
    settings = context.settings
    try:
        settings = context.catalog.settings(context.repository)
    except GitdagsError as error:
        if context.repository_name is not None:
            raise
        if context.verbosity > 0:
            context.note(f"without a repository: {error.message}")
    found = []
    for setting in SETTINGS:
        _ = settings[setting.name]  # raises, naming the place, for a value that is no good
        text, source = settings.origin(setting.name)
        if setting.secret and text:
            text = "***"
        found.append((setting, text, source))
    if context.json:
        context.write_json(
            [
                {"name": s.name, "value": text, "source": source, "env": s.env, "help": s.help}
                for s, text, source in found
            ]
        )
        return 0
    rows: list[list[table.Cell]] = [
        [
            (s.name, "bold"),
            text or '""',
            ("" if src == "default" else src, "yellow"),
            (s.help, "dim"),
        ]
        for s, text, src in found
    ]
    table.write(context.out, rows, ("SETTING", "VALUE", "FROM", ""))
    return 0
