"""The pages, by URL. Each asks the catalog, and hands what it says to a template; none decides more."""

from gitdags.web.pages.comparing import compare
from gitdags.web.pages.dag import code, document, graph, history
from gitdags.web.pages.files import source
from gitdags.web.pages.place import failure, static
from gitdags.web.pages.reference import docs
from gitdags.web.pages.repository import commits, deploys, home, repository
from gitdags.web.pages.runs import dag_runs, find, run, runs

__all__ = [
    "code",
    "commits",
    "compare",
    "dag_runs",
    "deploys",
    "docs",
    "document",
    "failure",
    "find",
    "graph",
    "history",
    "home",
    "repository",
    "run",
    "runs",
    "source",
    "static",
]
