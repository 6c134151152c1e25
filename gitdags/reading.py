"""From what came of a parse to what is kept: documents, failures, and the files they rest on.

Nothing that a DAG file says is taken for granted: paths are looked up in Git, descriptions are made
into documents or are a failure.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gitdags.config import Settings
from gitdags.git import Repository, display
from gitdags.model import Commit, ParseFailure
from gitdags.serialize import document, secrets
from gitdags.serialize.environment import Environment
from gitdags.serialize.request import Outcome
from gitdags.serialize.sandbox import WORKER


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What one DAG file yields at one commit."""

    file: str
    documents: tuple[document.Document, ...]
    airflow: tuple[str | None, ...]
    """Airflow's own JSON, one per document; None where Airflow did not parse"""
    errors: tuple[ParseFailure, ...]
    code: tuple[tuple[str, str], ...]
    """(path, blob id) of the repository files the parse read"""
    guesses: tuple[str, ...] = ()
    """what the recorder could not know"""
    placeholders: tuple[str, ...] = ()
    """variables, connections and the like that the file asked for in vain"""


class Reader:
    """Reads the outcomes of one repository's files; ``withheld`` are the variables without secrets."""

    def __init__(self, repo: Repository, settings: Settings, withheld: Sequence[str]) -> None:
        self._repo, self._settings, self._withheld = repo, settings, withheld

    def read(
        self, outcome: Outcome, home: Path, commit: Commit, environment: Environment
    ) -> ParsedFile:
        """What a file yields; ``home`` is the folder of the pool that parsed it."""
        file = outcome.request.file
        replace = [
            (str(outcome.request.root), "<repo>"),
            *([(outcome.scratch, "<tmp>")] if outcome.scratch else []),
            (str(home), "<home>"),
            (str(WORKER), "<gitdags>"),
            *((path, "<python>") for path in environment.site),
        ]
        documents = []
        own: list[str | None] = []
        guesses: dict[str, None] = {}
        placeholders: dict[str, None] = {}
        errors = [
            ParseFailure(
                display(file),
                error["type"],
                document.clean(error["message"], replace),
                _trim(document.clean(error["traceback"], replace)),
            )
            for error in outcome.errors
        ]
        for described in outcome.dags:
            try:
                made = document.make(described["document"], replace)
                airflow = described["airflow"]
                text = None if airflow is None else document.plain_json(airflow, replace)
                for name in described["guesses"]:
                    guesses[document.clean(name, replace)] = None
                for name in described["placeholders"]:
                    placeholders[document.clean(name, replace)] = None
                placeholders.update(dict.fromkeys(secrets.seen(made.text, self._withheld)))
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                # No description of the worker's: a DAG file can write its own result.
                message = f"its description is no DAG's: {type(error).__name__}: {error}"
                errors.append(ParseFailure(display(file), "Crash", message))
            else:
                documents.append(made)
                own.append(text)
        return ParsedFile(
            display(file),
            tuple(documents),
            tuple(own),
            tuple(errors),
            tuple(self._code(commit, file, outcome.opened)),
            tuple(guesses),
            tuple(placeholders),
        )

    def _code(self, commit: Commit, file: bytes, opened: Sequence[str]) -> list[tuple[str, str]]:
        """(path, blob id) of the files a parse read, each looked up in the tree, sorted by path.

        What the worker says it opened is only a hint: whatever is no file of the tree is left out.
        """
        plugins = self._settings["plugins_folder"].encode() + b"/"
        found = {}
        for path in {file, *(os.fsencode(name) for name in opened if "\0" not in name)}:
            if b"__pycache__" in path.split(b"/"):
                continue  # not checked out: Python only looked whether it is there
            real = self._repo.follow(commit.tree, path)
            if real is None or not real[1].is_file:
                continue
            if real[0].rpartition(b"/")[2] == b".airflowignore":
                continue
            if self._settings["plugins"] and real[0].startswith(plugins):
                continue  # they are part of the environment
            found[real[0]] = real[1].oid
        return [(display(path), found[path]) for path in sorted(found)]


def _trim(traceback: str) -> str:
    """A traceback from the first frame in the repository on; the importer's own frames say nothing."""
    lines = traceback.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith('  File "<repo>')), None)
    if first is None:
        return traceback
    return "\n".join(["Traceback (most recent call last):", *lines[first:]])
