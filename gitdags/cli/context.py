"""What every command is handed: settings, catalog, the repository meant, and where to write."""

from __future__ import annotations

import dataclasses
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitdags import config
from gitdags.errors import shown
from gitdags.model import Json, RegisteredRepository
from gitdags.wire import plain

if TYPE_CHECKING:
    from rich.console import Console

    from gitdags.catalog import Catalog


@dataclasses.dataclass(frozen=True)
class Context:
    """Made once per call of the command line."""

    settings: config.Settings
    repository_name: str | None = None
    json: bool = False
    verbosity: int = 0
    """-1 quiet, 0 as usual, 1 more"""

    @cached_property
    def catalog(self) -> Catalog:
        """All repositories of the store; opened when first asked for."""
        from gitdags.catalog import Catalog

        return Catalog(self.settings)

    @cached_property
    def repository(self) -> RegisteredRepository:
        """The repository of ``-r``, of the working directory, or the only one."""
        return self.catalog.repository(self.repository_name, Path.cwd())

    @cached_property
    def out(self) -> Console:
        """Standard output for people: colours on a terminal only."""
        return _console(stderr=False)

    def note(self, text: str) -> None:
        """A message for a person, on stderr; none with ``-q``."""
        if self.verbosity >= 0:
            print("\n".join(shown(line, 2_000) for line in text.split("\n")), file=sys.stderr)

    def write_json(self, value: Json) -> None:
        """Data on stdout, with the JSON library that settings name."""
        from gitdags.serialize.document import writer

        print(writer(self.settings["json_library"])(plain(value)))

    def write_text(self, text: str) -> None:
        """Data on stdout as it is."""
        sys.stdout.write(text)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    class Plain(Console):
        """A console that leaves a reader's early end to `main`, as `print` does."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Plain(stderr=stderr, highlight=False, soft_wrap=True, emoji=False, markup=False)
