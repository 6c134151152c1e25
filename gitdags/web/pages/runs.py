"""Runs: which there were, what one of them ran, and what may have broken it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gitdags.catalog import NoSuchDag
from gitdags.errors import GitdagsError, quoted
from gitdags.model import RegisteredRepository, RunStamp, Suspicion, Try
from gitdags.run_catalog import NoSuchRun
from gitdags.web import graph as graphs
from gitdags.web.answers import HTML, NO_STORE, send
from gitdags.web.drawing import Options
from gitdags.web.pages.comparing import stat
from gitdags.web.pages.dag import pieces, svg
from gitdags.web.pages.place import BadParameter, Place, parameter, pretty, render
from gitdags.web.site import View
from gitdags.web.views import view

_PAGE = 100


def runs(request: Request) -> Response:
    """The runs of a repository, newest first."""
    with view(request) as v:
        place = Place(v, request)
        return _list(place, None, "runs.html", "runs")


def dag_runs(request: Request) -> Response:
    """The runs of a DAG, whatever commit they ran at; with ``here=1`` those at this one."""
    with view(request) as v:
        place = Place(v, request)
        return _list(place, place.dag_id(), "dag_runs.html", "dags")


def _list(place: Place, dag_id: str | None, template: str, tab: str) -> Response:
    v, request = place.v, place.request
    before = _cursor(parameter(request, "after"))
    airflow = parameter(request, "airflow")
    here = place.sha if request.query_params.get("here") == "1" else None

    def make() -> dict[str, Any]:
        found = v.catalog.runs(
            dag_id, here, airflow, place.repo, limit=_PAGE + 1, before=before, tries=False
        )
        seen = [run for run in found[:_PAGE] if v.sees_dag(place.repo.name, run.dag_id)]
        more = None
        if len(found) > _PAGE:
            last = found[_PAGE - 1]
            more = place.here(after=f"{last.stamped_at.timestamp():.6f}-{last.id}")
        return {
            "runs": seen,
            "known": _commits(place, seen),
            "more": more,
            "dag_id": dag_id,
            "here": here,
            "airflow": airflow,
            "section": "runs",
        }

    return place.answer(template, (v.catalog.runs_state(),), make, tab=tab)


def _cursor(text: str | None) -> tuple[datetime, int] | None:
    if text is None:
        return None
    seconds, _, number = text.partition("-")
    try:
        return datetime.fromtimestamp(float(seconds), UTC), int(number)
    except (ValueError, OverflowError, OSError):
        raise BadParameter("after is no place in this list") from None


def _commits(place: Place, found: Sequence[RunStamp]) -> dict[str, Any]:
    """The commits of runs that this repository has."""
    opened = place.v.catalog.opened(place.repo)
    shas = {run.commit for run in found if run.commit and run.repo in (None, place.repo.name)}
    return {sha: opened.commit(sha) for sha in shas if opened.has(sha)}


# ── one run ───────────────────────────────────────────────────────────────────────────────


def run(request: Request) -> Response:
    """A run: its commit, the graph and code it ran, its tries, and what changed since the last good one."""
    with view(request) as v:
        dag_id, run_id = request.path_params["dag_id"], request.path_params["run_id"]
        repo = v.repository(request.path_params["repo"])
        if not v.sees_dag(repo.name, dag_id):
            raise NoSuchDag(f"there is no DAG {quoted(dag_id)}", hint="gitdags ls")
        airflow = parameter(request, "airflow")
        found = [r for r in v.catalog.generations(dag_id, run_id, airflow)
                 if r.repo in (None, repo.name)]  # fmt: skip
        if not found:
            raise NoSuchRun(
                f"no run {quoted(run_id)} of {quoted(dag_id)} ran here", hint="gitdags runs"
            )
        asked = parameter(request, "generation")
        one = next((r for r in found if asked == str(r.generation)), found[0])
        others = [r for r in found if r != one]
        there = one.commit is not None and v.catalog.opened(repo).has(one.commit)
        place = Place(v, request, one.commit if there else None)

        def make() -> dict[str, Any]:
            return _run(place, one, others, there=there)

        return place.answer("run.html", (v.catalog.runs_state(), one.id, there), make, tab="runs")


def _run(place: Place, one: RunStamp, others: Sequence[RunStamp], *, there: bool) -> dict[str, Any]:
    v = place.v
    document = None
    if one.dag_hash is not None:
        document = json.loads(v.catalog.document_text(one.dag_hash))
    good = v.catalog.last_success(one)
    suspicion: Suspicion | None = None
    trouble = ""
    if good is not None:
        try:
            suspicion = v.catalog.suspects(one, parse=False)
        except GitdagsError as error:
            trouble = error.message
    rendered = v.catalog.rendered(one)
    fields = sorted(rendered.items())
    texts = pieces(place, [("x.json", pretty(value)) for _, value in fields])
    executed = v.catalog.executed(one)
    return {
        "run": one,
        "others": others,
        "there": there,
        "document": document,
        "svg": None if document is None else svg(
            place, (one.dag_hash, "run"), graphs.of(document), Options(), one.dag_id, selects=False
        ),
        "elsewhere": [t for t in one.tries if t.commit not in (None, one.commit) or t.conflict],
        "good": good,
        "suspicion": suspicion,
        "trouble": trouble,
        "stat": stat,
        "rendered": [(key, lines) for (key, _), lines in zip(fields, texts, strict=True)],
        "executed": executed,
        "known": _known(place, one),
        "try_key": _try_key,
    }  # fmt: skip


def _known(place: Place, one: RunStamp) -> dict[str, Any]:
    opened = place.v.catalog.opened(place.repo)
    shas = {one.commit, *one.moved_to, *(t.commit for t in one.tries)} - {None}
    return {sha: opened.commit(sha) for sha in shas if sha is not None and opened.has(sha)}


def _try_key(one: Try) -> str:
    index = f"[{one.map_index}]" if one.map_index >= 0 else ""
    return f"{one.task_id}{index}"


# ── from Airflow's pages ──────────────────────────────────────────────────────────────────


def find(request: Request) -> Response:
    """Where Airflow's own pages lead: to a run's page, a DAG's, or a list where several fit.

    ``q`` looks for DAGs by name, in every repository that may be read.
    """
    with view(request) as v:
        names = ("airflow", "dag_id", "run_id", "task_id", "map_index", "q")
        given = {name: parameter(request, name) for name in names}
        dag_id, run_id = given["dag_id"], given["run_id"]
        places = v.repositories()
        choices: list[tuple[str, str, str]] = []
        if run_id is not None:
            choices = _runs_of(v, places, dag_id, run_id, given["airflow"])
        if not choices and dag_id is not None:
            choices = _dags_of(v, places, dag_id, exact=True)
        wanted = given["q"] or (dag_id if not choices else None)
        if len(choices) == 1 and given["q"] is None:
            return RedirectResponse(choices[0][2], 302, {"cache-control": NO_STORE})
        if wanted:
            choices += _dags_of(v, places, wanted, exact=False)
        body = render("find.html", request, given=given, choices=choices[:200], wanted=wanted)
        status = 200 if choices or not any(given.values()) else 404
        return send(request, body.encode(), HTML, keep=NO_STORE, status=status)


def _runs_of(
    v: View,
    places: Sequence[RegisteredRepository],
    dag_id: str | None,
    run_id: str,
    airflow: str | None,
) -> list[tuple[str, str, str]]:
    try:
        found = v.catalog.generations(dag_id, run_id, airflow)
    except NoSuchRun:
        return []
    names = {repo.name for repo in places}
    newest: dict[tuple[str, str], RunStamp] = {}
    for one in found:
        newest.setdefault((one.airflow, one.dag_id), one)
    several = len({one.airflow for one in newest.values()}) > 1
    told = []
    for one in newest.values():
        repo = (
            one.repo if one.repo in names else next(iter(names), None) if one.repo is None else None
        )
        if repo is None or not v.sees_dag(repo, one.dag_id):
            continue
        where = v.urls.run(repo, one.dag_id, one.run_id, airflow=one.airflow if several else None)
        told.append((f"{one.dag_id} · {one.run_id}", f"{one.airflow}, {one.state}", where))
    return told


def _dags_of(
    v: View, places: Sequence[RegisteredRepository], text: str, *, exact: bool
) -> list[tuple[str, str, str]]:
    told = []
    for repo in places:
        try:
            names = v.catalog.dag_ids(repo)
        except GitdagsError:
            continue  # its store or mirror is away; the others still answer
        for name in names:
            fits = name == text if exact else text.lower() in name.lower()
            if fits and v.sees_dag(repo.name, name):
                told.append((name, repo.name, v.urls.dag(repo.name, name)))
    return told
