"""The git program, for what writes into a repository: plumbing only, in an environment of its own.

Words are ours or full object ids, never what a person typed. Fetching and cloning are `mirror`'s.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gitdags.errors import GitdagsError, shown

_KEPT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
"""Where the user's configuration is: `safe.directory` stands in it."""

_QUIET = (
    # What we do to refs is nobody else's business: no hook of the repository runs for it, ours least.
    "-c", f"core.hooksPath={os.devnull}",
    "-c", "core.fsmonitor=false",
    "-c", "core.logAllRefUpdates=false",
    "-c", "gc.auto=0",
)  # fmt: skip


class GitFailed(GitdagsError):
    """The git program is missing, or refused what was asked of it."""

    http_status = 500


def environment(path: Path | str | None = None) -> dict[str, str]:
    """The caller's environment without what points git elsewhere.

    git sets GIT_DIR and more for hooks, and with GIT_DIR set its check of the repository's owner is
    off; so every GIT_* goes but those that say where configuration is. With ``path``, git does not
    look for a repository above it.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k in _KEPT}
    kept |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    if path is not None:
        kept["GIT_CEILING_DIRECTORIES"] = os.path.dirname(os.path.realpath(path))
    return kept


def run(path: Path | str, *words: str, input: bytes = b"") -> bytes:
    """What git writes to stdout, run in the repository at ``path``. Raises GitFailed."""
    done = _done(path, words, input)
    if done.returncode:
        raise failed(path, words, done.stderr)
    return done.stdout


def asks(path: Path | str, *words: str) -> tuple[int, bytes]:
    """(exit code, stdout) of a question to which no is an answer, such as ``config --get``.

    Asked under the configuration as it is. Raises GitFailed where git itself fails (128 and above).
    """
    done = _done(path, words, b"", ())
    if done.returncode >= 128:
        raise failed(path, words, done.stderr)
    return done.returncode, done.stdout


@contextmanager
def talking(path: Path | str, *words: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """(stdin, stdout) of a git that goes on answering, such as ``cat-file --batch``."""
    with _started(path, words) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdin, process.stdout
        finally:
            process.kill()


def stream(path: Path | str, *words: str, input: bytes) -> Iterator[bytes]:
    """What git writes to stdout, in pieces, while it writes. Raises GitFailed at the end."""
    with _started(path, words) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(input)
            process.stdin.close()
            while piece := process.stdout.read(1 << 16):
                yield piece
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
        if process.returncode:
            raise failed(path, words, b"exit code %d" % process.returncode)


def failed(path: Path | str, words: tuple[str, ...], stderr: bytes) -> GitFailed:
    """What git said when it refused, as one line."""
    lines = [ln for ln in stderr.decode("utf-8", "replace").splitlines() if ln.strip()]
    reason = next((ln for ln in lines if "fatal" in ln or "error" in ln), (lines or ["?"])[-1])
    return GitFailed(
        f"git {words[0]}: {shown(reason.strip(), 200)}",
        hint=f"git -C {shlex.quote(str(path))} fsck --connectivity-only",
    )


def _done(
    path: Path | str, words: tuple[str, ...], input: bytes, settings: tuple[str, ...] = _QUIET
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(path), *settings, *words],
            input=input,
            capture_output=True,
            env=environment(path),
            check=False,
        )
    except FileNotFoundError:
        raise _no_git() from None


def _started(path: Path | str, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["git", "-C", str(path), *_QUIET, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(path),
        )
    except FileNotFoundError:
        raise _no_git() from None


def _no_git() -> GitFailed:
    return GitFailed("there is no git program", hint="apt-get install git")
