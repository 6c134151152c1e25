"""How a commit is parsed: by which interpreter, with which variables, confined by what.

Here the rules about environments, secrets and trust meet the machine. It decides; `serialize.pool`
does it, and `history` keeps what comes of it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gitdags.config import Settings
from gitdags.environments import Fitting, Rules, load
from gitdags.git import Repository
from gitdags.model import Commit, RegisteredRepository
from gitdags.serialize import sandbox
from gitdags.serialize.builds import Builds, Built, CannotBuild, Recipe
from gitdags.serialize.environment import (
    RECORDER,
    Environment,
    default_python,
    env_hash,
    probe,
    read_env_file,
)
from gitdags.serialize.pool import NoAirflow
from gitdags.serialize.sandbox import Confinement
from gitdags.serialize.secrets import withhold
from gitdags.trust import Trust


@dataclass(frozen=True, slots=True)
class Parser:
    """One way to parse; equal ones can share a warm process."""

    python: str
    environment: Environment
    """without what the commit itself adds to it"""
    secrets: bool = False
    """whether its files are given the variables' secrets"""


class Parsers:
    """The ways to parse the commits of one repository, as the settings in force have it."""

    def __init__(
        self, repo: Repository, registered: RegisteredRepository, settings: Settings, layout: str
    ) -> None:
        self._repo, self._settings, self._layout = repo, settings, layout
        self._name = registered.name
        self._given = read_env_file(Path(registered.env_file)) if registered.env_file else {}
        self._shown, self.withheld = withhold(self._given)
        self._cache = settings.home / "cache" / "environments.json"
        self._found: dict[tuple[str, str | None, str, bool], Parser] = {}
        self._trust: Trust | None = None
        self.problems: dict[str, str] = {}
        """rule -> why it could not be followed, of the rules that fitted a commit"""

    @cached_property
    def confinement(self) -> Confinement:
        """What confines every file here. Raises NoSandbox."""
        return sandbox.choose(self._settings["sandbox"], self._settings["sandbox_user"])

    @cached_property
    def rules(self) -> Rules:
        """Which interpreter for which commits. Raises BadRules."""
        return Rules(self._repo, load(self._settings.environments, self._name))

    @cached_property
    def builds(self) -> Builds:
        """The environments that gitdags has built."""
        return Builds(self._settings.home / "environments")

    @property
    def trust(self) -> Trust:
        """Which commits are trusted, as the refs stood when `look_again` was last called."""
        if self._trust is None:
            self._trust = Trust(self._repo, self._settings["trusted_refs"])
        return self._trust

    def look_again(self) -> None:
        """Refs may have moved: ask anew which commits are trusted, and which rules fit."""
        self._trust = None
        self.__dict__.pop("rules", None)

    def variables(self, parser: Parser) -> Mapping[str, str]:
        """What files see in their environment."""
        return self._given if parser.secrets else self._shown

    @property
    def env_files(self) -> set[str | None]:
        """The hashes of variables that a commit may be parsed with now."""
        hashes = {env_hash(self._shown)}
        if self._settings["secrets"] == "trusted":
            hashes.add(env_hash(self._given))
        return hashes

    @property
    def asked_for(self) -> bool:
        """Whether an interpreter was named for this call or process, which beats every rule."""
        return self._settings.origin("python")[1] in ("flag", "environment")

    @property
    def python(self) -> str:
        """The interpreter where no rule says another."""
        python: str = self._settings["python"] or default_python()
        return os.path.abspath(python) if "/" in python else python

    @property
    def engines(self) -> tuple[str, ...]:
        """The engine asked for; of ``auto`` Airflow, where there may be one, then the recorder.

        Raises BadRules.
        """
        wanted = self._settings["engine"]
        if wanted != "auto":
            return (wanted,)
        if self._has_airflow or (self.rules.rules and not self.asked_for):
            return ("airflow", RECORDER)
        return (RECORDER,)

    def default(self, engine: str) -> Parser:
        """An engine's way to parse where no rule fits, and no commit is trusted. Raises NoAirflow."""
        return self._parser(self.python, None, engine, secrets=False)

    def of(self, commit: Commit, engine: str) -> Parser:
        """An engine's way to parse a commit: by the first rule that can be followed.

        Of ``auto``, where that leaves a commit without Airflow, the recorder's. May build an
        environment, which takes minutes, where that is allowed and the commit trusted. Raises
        NoAirflow, BadRules.
        """
        if engine == RECORDER:
            # One interpreter for all eras: what it guesses of an era it finds in the files.
            secrets = self._may_read_secrets(commit)
            return self._parser(self.python, None, RECORDER, secrets=secrets)
        secrets = self._may_read_secrets(commit)
        if not self.asked_for:
            for fitting in self.rules.fitting(commit):
                problem = fitting.problem
                if not problem:
                    try:
                        found = self._follow(fitting, commit, secrets=secrets)
                    except (CannotBuild, NoAirflow) as error:
                        problem = error.message
                    else:
                        self.problems.pop(fitting.rule.name, None)
                        return found
                self.problems[fitting.rule.name] = problem
        if not self._has_airflow and self._settings["engine"] == "auto":
            engine = RECORDER
        return self._parser(self.python, None, engine, secrets=secrets)

    def follow(self, fitting: Fitting, commit: Commit) -> Parser:
        """The way to parse a commit by one rule. Raises CannotBuild or NoAirflow."""
        if fitting.problem:
            raise CannotBuild(fitting.problem, hint="gitdags environments list")
        return self._follow(fitting, commit, secrets=self._may_read_secrets(commit))

    def admit(self, commit: Commit) -> None:
        """Raise Untrusted for a commit that must not be parsed here."""
        if not self.confinement.confined:
            self.trust.demand(commit.sha, self.confinement.reason)

    def build(self, recipe: Recipe, commit: Commit, *, again: bool = False) -> Built:
        """Build what a commit asks for. Raises CannotBuild, also where the commit is not trusted."""
        if not self.trust.holds(commit.sha):
            raise CannotBuild(
                f"no trusted ref reaches {commit.sha[:12]}, so nothing is built for it",
                hint="gitdags -c trusted_refs='main, release/*' environments",
            )
        return self.builds.build(recipe, again=again)

    def _may_read_secrets(self, commit: Commit) -> bool:
        return (
            self._settings["secrets"] == "trusted"
            and bool(self.withheld)
            and self.trust.holds(commit.sha)
        )

    def _follow(self, fitting: Fitting, commit: Commit, *, secrets: bool) -> Parser:
        python, key = self._interpreter(fitting, commit)
        return self._parser(python, key, "airflow", secrets=secrets)

    def _interpreter(self, fitting: Fitting, commit: Commit) -> tuple[str, str | None]:
        """(path of an interpreter, key of what was built) for a rule. Raises CannotBuild."""
        if fitting.recipe is None:
            return fitting.python, None
        built = self.builds.find(fitting.recipe)
        if built is None:
            if not self._settings["build_environments"]:
                raise CannotBuild(
                    f"the environment {fitting.rule.name} is not built yet",
                    hint=f"gitdags environments build {fitting.rule.name}",
                )
            built = self.build(fitting.recipe, commit)
        if built.problem:
            raise CannotBuild(
                built.problem, hint=f"gitdags environments build --again {fitting.rule.name}"
            )
        return built.python, fitting.recipe.key

    @cached_property
    def _has_airflow(self) -> bool:
        """Whether the interpreter where no rule fits has an Airflow."""
        try:
            probe(self.python, self._cache)
        except NoAirflow:
            return False
        return True

    def _parser(self, python: str, key: str | None, engine: str, *, secrets: bool) -> Parser:
        known = (python, key, engine, secrets)
        if known not in self._found:
            variables = self._given if secrets else self._shown
            environment = dataclasses.replace(
                probe(python, self._cache, engine),
                env_file=env_hash(variables),
                layout=self._layout,
                build=key,
            )
            self._found[known] = Parser(python, environment, secrets)
        return self._found[known]
