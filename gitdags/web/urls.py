"""Where things are: paths of pages and API below a prefix, every part of them escaped. Pure."""

from __future__ import annotations

from urllib.parse import quote, urlencode


def segment(text: str | bytes) -> str:
    """One part of a path; a slash in it is ``%2F``, bytes that are no UTF-8 stay what they are."""
    return quote(_bytes(text), safe="")


def path(text: str | bytes) -> str:
    """A path of a file, its slashes kept."""
    return quote(_bytes(text), safe="/")


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def query(**parts: str | list[str] | None) -> str:
    """``?a=1&b=2``; what is None or empty is left out; nothing where all is."""
    given = {name: value for name, value in parts.items() if value}
    return "?" + urlencode(given, doseq=True, errors="surrogateescape") if given else ""


class Urls:
    """The addresses of one application, mounted at ``root`` (no slash at its end)."""

    def __init__(self, root: str = "") -> None:
        self.root = root

    # ── pages ─────────────────────────────────────────────────────────────────────────────

    def home(self) -> str:
        """All repositories."""
        return f"{self.root}/"

    def repo(self, repo: str, at: str | None = None, **more: str | None) -> str:
        """A repository's DAGs at a revision."""
        return f"{self.root}/{segment(repo)}{query(at=at, **more)}"

    def dag(
        self,
        repo: str,
        dag_id: str,
        tab: str = "",
        at: str | None = None,
        **more: str | list[str] | None,
    ) -> str:
        """A DAG at a revision: its graph, or ``code``, ``history``, ``runs``, ``document``."""
        below = f"/{tab}" if tab else ""
        return f"{self.root}/{segment(repo)}/dags/{segment(dag_id)}{below}{query(at=at, **more)}"

    def source(self, repo: str, file: str | bytes = "", at: str | None = None, **more: str) -> str:
        """A file or folder of the repository at a revision."""
        return f"{self.root}/{segment(repo)}/source/{path(file)}{query(at=at, **more)}"

    def compare(self, repo: str, old: str | None, new: str | None, **more: str | None) -> str:
        """What differs between two revisions."""
        found = {"from": old, "to": new, **more}
        return f"{self.root}/{segment(repo)}/compare{query(**found)}"

    def section(self, repo: str, name: str, **more: str | None) -> str:
        """``commits``, ``deploys`` or ``runs`` of a repository."""
        return f"{self.root}/{segment(repo)}/{name}{query(**more)}"

    def run(self, repo: str, dag_id: str, run_id: str, **more: str | None) -> str:
        """One run."""
        return (
            f"{self.root}/{segment(repo)}/runs/{segment(dag_id)}/{segment(run_id)}{query(**more)}"
        )

    def static(self, name: str) -> str:
        """A file of our own; its version in the address, as it is cached for good."""
        from gitdags.web.assets import version

        return f"{self.root}/static/{name}?v={version(name)}"

    # ── API ───────────────────────────────────────────────────────────────────────────────

    def api(self, repo: str, rest: str, **more: str | list[str] | None) -> str:
        """Something below ``/api/v1/repos/REPO/``; ``rest`` is escaped by the caller."""
        return f"{self.root}/api/v1/repos/{segment(repo)}/{rest}{query(**more)}"
