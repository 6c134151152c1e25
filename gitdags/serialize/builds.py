"""Environments that gitdags builds: by uv, from wheels only, kept by the hash of what they are of.

A recipe is text that may come out of a commit, so it can name packages and nothing else: no index,
no address, no path, no option. What a wheel runs it runs when it is imported: only recipes of
trusted commits are built, which is for the caller to see to.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from gitdags.errors import GitdagsError, quoted, shown
from gitdags.serialize import document

TIMEOUT = 1800.0
"""Seconds a build may take."""
_MOST_LINES = 5_000
_DRAWN = " \u00d7\u2570\u2500\u25b6\u2192\u2502\u251c"  # what uv draws beside its errors
_OF_THE_INDEX = (
    "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links",
    "--no-index", "--trusted-host", "--pre", "--prefer-binary", "--only-binary", "--no-binary",
    "--require-hashes", "--use-feature",
)  # fmt: skip
"""Options in a requirements file that are left out: where packages come from, uv's settings say."""


UNNEEDED = ("python-nvd3", "unicodecsv")
"""What Airflow 2 depends on, has no wheel, and no parse needs: charts and CSV of its web pages."""


class BadRequirements(GitdagsError):
    """A file of requirements says something else than which packages."""


class CannotBuild(GitdagsError):
    """uv is missing, or could not build an environment."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an environment is made of: lines of requirements and constraints, sorted; a Python.

    ``without`` are names of packages that are left out, whatever depends on them.
    """

    python: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What it is kept under: the same for the same recipe, in whatever order it was written."""
        parts = [self.python, *map(list, (self.requirements, self.constraints, self.without))]
        return document.digest(document.canonical(parts))[:32]


@dataclass(frozen=True, slots=True)
class Built:
    """An environment that was built, or that could not be."""

    recipe: Recipe
    folder: Path
    built_at: float
    seconds: float
    problem: str = ""

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")


def recipe(
    python: str, requirements: str, constraints: str = "", without: Sequence[str] = UNNEEDED
) -> Recipe:
    """A recipe of the text of files of requirements. Raises BadRequirements.

    What is asked for by name is not left out.
    """
    if not re.fullmatch(r"3\.\d{1,2}(\.\d{1,3})?", python):
        raise BadRequirements(f"{quoted(python)} is no version of Python such as 3.12")
    wanted = _lines(requirements)
    if not wanted:
        raise BadRequirements("the requirements name no package")
    named = {canonicalize_name(Requirement(line).name) for line in wanted}
    left_out = {canonicalize_name(name) for name in without} - named
    return Recipe(python, wanted, _lines(constraints), tuple(sorted(left_out)))


def _lines(text: str) -> tuple[str, ...]:
    found = set()
    joined = re.sub(r"\\\n", " ", text)
    for number, line in enumerate(joined.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        line = re.split(r"\s--hash[= ]", line)[0].strip()
        if not line or re.split(r"[\s=]", line)[0] in _OF_THE_INDEX:
            continue
        try:
            parsed = Requirement(line)
        except InvalidRequirement:
            raise BadRequirements(
                f"line {number} of the requirements, {quoted(line)}, names no package"
            ) from None
        if parsed.url is not None:
            raise BadRequirements(
                f"line {number} of the requirements, {quoted(line)}, is an address"
            )
        found.add(str(parsed))
    if len(found) > _MOST_LINES:
        raise BadRequirements(f"the requirements have more than {_MOST_LINES:,} lines")
    return tuple(sorted(found))


class Builds:
    """Built environments, one folder each below ``home``; safe for several processes at once."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def all(self) -> list[Built]:
        """Every environment that was built or failed to, the newest first."""
        found = [self._read(path) for path in self._home.glob("*.json")]
        return sorted((b for b in found if b is not None), key=lambda b: -b.built_at)

    def find(self, wanted: Recipe) -> Built | None:
        """What is known of a recipe: built, failed, or None."""
        return self._read(self._note(wanted))

    def build(self, wanted: Recipe, *, again: bool = False) -> Built:
        """Build what is not there yet; one that failed is tried again only if told so.

        Raises CannotBuild, also for one that failed before.
        """
        known = self.find(wanted)
        if known is None or (known.problem and again):
            with self._locked(wanted):
                known = self.find(wanted)  # another process may have built it meanwhile
                if known is None or (known.problem and again):
                    known = self._make(wanted)
        if known.problem:
            raise CannotBuild(known.problem, hint=f"cat {self._log(wanted)}")
        return known

    def remove(self, built: Built) -> None:
        """Forget an environment and delete its folder."""
        with self._locked(built.recipe):
            self._note(built.recipe).unlink(missing_ok=True)
            self._log(built.recipe).unlink(missing_ok=True)
            shutil.rmtree(built.folder, ignore_errors=True)

    def _make(self, wanted: Recipe) -> Built:
        program = uv()
        began = time.time()
        folder, aside = self._home / wanted.key, self._home / f"{wanted.key}.partial"
        shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
        aside.mkdir(parents=True)
        problem = ""
        try:
            for name, lines in (
                ("requirements.txt", wanted.requirements),
                ("constraints.txt", wanted.constraints),
                ("overrides.txt", [f"{n} ; sys_platform == 'none'" for n in wanted.without]),
            ):
                (aside / name).write_text("\n".join(lines) + "\n")
            venv = aside / "venv"
            # Relocatable: it is built aside, and only a whole one gets its name.
            make = [program, "venv", "--no-python-downloads", "--relocatable"]
            problem = self._run(
                [*make, "--python", _interpreter(wanted.python), str(venv)], wanted, "wb"
            )
            if not problem:
                install = [program, "pip", "install", "--python", str(venv / "bin" / "python")]
                install += ["--only-binary", ":all:", "-r", "requirements.txt"]
                install += ["-c", "constraints.txt"] if wanted.constraints else []
                install += ["--overrides", "overrides.txt"] if wanted.without else []
                problem = self._run(install, wanted, "ab", cwd=aside)
            if not problem:
                shutil.rmtree(folder, ignore_errors=True)
                venv.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        built = Built(wanted, folder, began, round(time.time() - began, 3), problem)
        self._write(built)
        return built

    def _run(self, words: list[str], wanted: Recipe, mode: str, cwd: Path | None = None) -> str:
        """What uv said when it failed, in a line; "" when it did not. All of it is in the log."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
        environ |= {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
        with open(self._log(wanted), mode) as log:
            log.write(b"$ " + " ".join(words).encode() + b"\n")
            log.flush()
            try:
                done = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=cwd or self._home,
                    env=environ,
                    timeout=TIMEOUT,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return f"building took longer than {TIMEOUT:g} s"
            except OSError as error:
                return f"cannot run {words[0]}: {error.strerror}"
        if done.returncode == 0:
            return ""
        text = self._log(wanted).read_text(errors="replace").rpartition("\n$ ")[2]
        lines = [line.strip(_DRAWN) for line in text.splitlines()[1:] if line.strip()]
        said = " ".join(lines)
        fault = said[max(0, said.find("error:")) :].removeprefix("error:").strip()
        return "uv: " + shown(fault or f"exit code {done.returncode}", 400)

    @contextmanager
    def _locked(self, wanted: Recipe) -> Iterator[None]:
        self._home.mkdir(parents=True, exist_ok=True)
        with open(self._home / f"{wanted.key}.lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _note(self, wanted: Recipe) -> Path:
        return self._home / f"{wanted.key}.json"

    def _log(self, wanted: Recipe) -> Path:
        return self._home / f"{wanted.key}.log"

    def _read(self, note: Path) -> Built | None:
        try:
            told = json.loads(note.read_bytes())
            made = Recipe(
                told["python"],
                tuple(told["requirements"]),
                tuple(told["constraints"]),
                tuple(told["without"]),
            )
            built = Built(
                made, self._home / made.key, told["built_at"], told["seconds"], told["problem"]
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent or damaged: it is built again
        return built if built.problem or os.access(built.python, os.X_OK) else None

    def _write(self, built: Built) -> None:
        told = {
            "python": built.recipe.python,
            "requirements": list(built.recipe.requirements),
            "constraints": list(built.recipe.constraints),
            "without": list(built.recipe.without),
            "built_at": built.built_at,
            "seconds": built.seconds,
            "problem": built.problem,
        }
        note = self._note(built.recipe)
        aside = note.with_suffix(".partial.json.tmp")
        aside.write_text(json.dumps(told))
        aside.replace(note)


def _interpreter(version: str) -> str:
    """An interpreter of a version that runs, else the version, for uv to find one.

    uv stops at the first of that name on PATH, also where that is a shim that runs nothing.
    """
    minor = ".".join(version.split(".")[:2])
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [
        sys.executable,
        shutil.which(f"python{minor}"),
        *sorted(map(str, pyenv.glob(f"versions/{minor}.*/bin/python")), reverse=True),
        f"/usr/local/bin/python{minor}",
        f"/usr/bin/python{minor}",
    ]
    code = "import platform; print(platform.python_version())"
    for candidate in candidates:
        if candidate is None or not os.access(candidate, os.X_OK):
            continue
        try:
            said = subprocess.run(
                [candidate, "-I", "-c", code],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            continue  # a shim, or broken
        if said == version or said.startswith(f"{version}."):
            return candidate
    return version


def uv() -> str:
    """Where the uv program is: beside this interpreter, or on PATH. Raises CannotBuild."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("uv")
    if found is None:
        raise CannotBuild("there is no uv program to build with", hint="pip install 'gitdags[uv]'")
    return found
