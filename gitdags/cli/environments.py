"""gitdags environments: which interpreter parses which commits; building and testing them."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from gitdags import trial
from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.cli.words import add_revision, count, day
from gitdags.environments import Fitting, Rule
from gitdags.errors import GitdagsError, UsageError, quoted
from gitdags.model import Commit
from gitdags.parsers import Parser, Parsers
from gitdags.serialize.builds import Built, CannotBuild

_STYLES = {"used": "green", "ready": "green", "not built": "yellow", "failed": "bold red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words; without an action it lists."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.set_defaults(at="HEAD", name=None)
    for name, help in (
        ("list", "list the rules, what each means at a commit, and what was built"),
        ("build", "build the environment of a rule at a commit, from wheels, with uv"),
        ("test", "have the environment of a commit parse a small file, in the sandbox"),
        ("remove", "delete an environment that was built"),
    ):
        own = actions.add_parser(name, help=help, description=f"{help.capitalize()}.")
        if name == "remove":
            own.add_argument("key", help="as `environments list` shows it, or how it begins")
            continue
        if name != "list":
            own.add_argument("name", nargs="?", help="of a rule; default: the first that fits")
        add_revision(own, "--at", "the commit it is for; default: HEAD", default="HEAD")
        if name == "build":
            own.add_argument("--again", action="store_true", help="also where it failed before")


def run(context: Context, args: argparse.Namespace) -> int:
    """Exit 1 where an environment does not pass its test."""
    repo = context.repository
    parsers = context.catalog.history(repo).parsers
    parsers.look_again()
    if args.action == "remove":
        return _remove(context, parsers, args.key)
    commit = context.catalog.commit(repo, args.at)
    if args.action == "build":
        return _build(context, parsers, commit, args)
    if args.action == "test":
        return _test(context, parsers, commit, args.name)
    return _list(context, parsers, commit)


def _list(context: Context, parsers: Parsers, commit: Commit) -> int:
    fitting = {found.rule.name: found for found in parsers.rules.fitting(commit)}
    try:
        used: Parser | None = parsers.of(commit, parsers.engines[0])
    except GitdagsError as error:
        used = None
        context.note(f"warning: {error.message}")
    rules = [
        _described(rule, fitting.get(rule.name), parsers, used) for rule in parsers.rules.rules
    ]
    builds = parsers.builds.all()
    if context.json:
        context.write_json(
            {
                "commit": commit.sha,
                "trusted": parsers.trust.holds(commit.sha),
                "environment": used and used.environment.id,
                "python": used and used.python,
                "rules": rules,
                "builds": [_told(built) for built in builds],
            }
        )
        return 0
    if rules:
        rows: list[list[table.Cell]] = [
            [
                (str(row["name"]), "bold"),
                str(row["python"]),
                (str(row["conditions"]), "dim"),
                (str(row["state"]), _STYLES.get(str(row["state"]), "")),
                str(row["problem"]),
            ]
            for row in rules
        ]
        table.write(context.out, rows, ("RULE", "PYTHON", "FOR", f"AT {commit.sha[:12]}", ""))
    if used is not None:
        context.out.print(f"{commit.sha[:12]} is parsed by {used.environment} ({used.python})")
    if builds:
        context.out.print()
        table.write(
            context.out,
            [
                [
                    (built.recipe.key[:12], "yellow"),
                    built.recipe.python,
                    count(len(built.recipe.requirements), "requirement"),
                    day(datetime.fromtimestamp(built.built_at, UTC)),
                    ("failed", _STYLES["failed"]) if built.problem else f"{built.seconds:.0f} s",
                    built.problem,
                ]
                for built in builds
            ],
            ("BUILT", "PYTHON", "OF", "WHEN", "", ""),
        )
    return 0


def _described(
    rule: Rule, found: Fitting | None, parsers: Parsers, used: Parser | None
) -> dict[str, object]:
    """A rule, and its state at a commit: used, ready, not built, failed, or "" where it does not fit."""
    state, problem, key = "", "", None
    if found is not None:
        problem = found.problem
        built = parsers.builds.find(found.recipe) if found.recipe else None
        key = found.recipe.key if found.recipe else None
        python = built.python if built else found.python
        if problem or (built and built.problem):
            state, problem = "failed", problem or (built.problem if built else "")
        elif found.recipe and built is None:
            state = "not built"
        elif rule.name in parsers.problems:
            state, problem = "failed", parsers.problems[rule.name]
        else:
            state = "used" if used is not None and used.python == python else "ready"
    return {
        "name": rule.name,
        "python": rule.python,
        "conditions": rule.conditions,
        "state": state,
        "problem": problem,
        "key": key,
    }


def _build(context: Context, parsers: Parsers, commit: Commit, args: argparse.Namespace) -> int:
    found = _chosen(parsers, commit, args.name, to_build=True)
    if found.recipe is None:
        raise CannotBuild(found.problem, hint=f"gitdags environments list --at {commit.sha[:12]}")
    known = parsers.builds.find(found.recipe)
    if known is None or known.problem:
        wanted = count(len(found.recipe.requirements), "requirement")
        context.note(f"building {found.rule.name}: Python {found.recipe.python}, {wanted}")
    built = parsers.build(found.recipe, commit, again=args.again)
    if context.json:
        context.write_json(_told(built))
    else:
        context.out.print(f"{built.recipe.key[:12]} {built.python}")
    return 0


def _test(context: Context, parsers: Parsers, commit: Commit, name: str | None) -> int:
    parser = parsers.of(commit, parsers.engines[0])
    if name is not None:
        parser = parsers.follow(_chosen(parsers, commit, name, to_build=False), commit)
    result = trial.run(parsers, parser, context.settings)
    if context.json:
        context.write_json(
            {
                "python": parser.python,
                "environment": parser.environment.id,
                "airflow": parser.environment.airflow,
                "sandbox": parsers.confinement.tier,
                "seconds": result.seconds,
                "problem": result.problem or None,
            }
        )
    else:
        said = result.problem or f"parses, in {result.seconds:.1f} s with its start"
        context.out.print(f"{parser.environment} ({parser.python}): {said}")
    return 1 if result.problem else 0


def _remove(context: Context, parsers: Parsers, key: str) -> int:
    found = [built for built in parsers.builds.all() if built.recipe.key.startswith(key)]
    if len(found) != 1 or not key:
        which = "several were built" if len(found) > 1 else "none was built"
        raise UsageError(
            f"{which} whose key begins with {quoted(key)}", hint="gitdags environments list"
        )
    parsers.builds.remove(found[0])
    context.note(f"{found[0].recipe.key[:12]} is gone")
    return 0


def _chosen(parsers: Parsers, commit: Commit, name: str | None, *, to_build: bool) -> Fitting:
    """What a rule means at a commit: the named one, else the first that fits (and is to be built)."""
    for found in parsers.rules.fitting(commit):
        if name == found.rule.name or (name is None and (found.rule.built or not to_build)):
            if to_build and not found.rule.built:
                raise UsageError(
                    f"{name} is an interpreter that is there; nothing is built for it",
                    hint=f"gitdags environments test {name}",
                )
            return found
    known = ", ".join(rule.name for rule in parsers.rules.rules) or "none"
    raise UsageError(
        f"no rule{f' named {quoted(name)}' if name else ''} fits {commit.sha[:12]} (rules: {known})",
        hint=f"gitdags environments list --at {commit.sha[:12]}",
    )


def _told(built: Built) -> dict[str, object]:
    return {
        "key": built.recipe.key,
        "python": built.recipe.python,
        "requirements": list(built.recipe.requirements),
        "constraints": list(built.recipe.constraints),
        "without": list(built.recipe.without),
        "interpreter": None if built.problem else built.python,
        "built_at": datetime.fromtimestamp(built.built_at, UTC),
        "seconds": built.seconds,
        "problem": built.problem or None,
    }
