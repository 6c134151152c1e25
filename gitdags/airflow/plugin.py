"""The plugin that Airflow finds by its entry point: the listener, and links from Airflow's pages.

Does nothing, and says nothing, where no bundle of gitdags is configured. Loads no SQLAlchemy, no pygit2
and no web framework: every process of Airflow imports this.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from gitdags import config
from gitdags.errors import GitdagsError, shown

log = logging.getLogger("gitdags.listener")

_BUNDLES = ("gitdags.airflow.bundle.GitDagsBundle", "gitdags.airflow.GitDagsBundle")

# One tab each on the pages of a DAG, a run and a task instance; Airflow fills in the braces. On the page
# of a task instance that is not mapped it leaves {MAP_INDEX} as it is.
_VIEWS = {
    "dag": "dag_id={DAG_ID}",
    "dag_run": "dag_id={DAG_ID}&run_id={RUN_ID}",
    "task_instance": "dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}",
}


class GitDagsPlugin(AirflowPlugin):
    """Filled when Airflow loads it, once a process."""

    name = "gitdags"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Read both configurations, once."""
        try:
            repos = repositories()
            settings = config.load()
            wanted = settings["listener"]
            if wanted == "off" or (wanted == "auto" and not repos):
                return
            cls.listeners = [_listener(settings, repos, others=wanted == "on")]
            cls.external_views = views(settings["web_url"], settings["airflow_name"])
        except GitdagsError as error:
            log.error("gitdags: runs are not stamped: %s", error.message)


def repositories() -> dict[str, str]:
    """Bundle name -> repository, of the bundles of gitdags in Airflow's configuration."""
    try:
        listed = conf.getjson("dag_processor", "dag_bundle_config_list", fallback=None) or []
    except Exception as error:  # Airflow says the same, and stops, where it matters
        log.debug("gitdags: %s", shown(str(error)))
        return {}
    return {
        item["name"]: item["kwargs"]["repo"]
        for item in listed
        if isinstance(item, dict)
        and item.get("classpath") in _BUNDLES
        and isinstance(item.get("kwargs"), dict)
        and isinstance(item["kwargs"].get("repo"), str)
        and isinstance(item.get("name"), str)
    }


def views(web_url: str, airflow: str) -> list[dict[str, str]]:
    """Airflow's ``external_views`` that lead to gitdags' pages; none where nobody says where these are."""
    if not web_url:
        return []
    from urllib.parse import quote

    find = f"{web_url.rstrip('/')}/find?airflow={quote(airflow, safe='')}"
    return [
        {
            "name": "Git",
            "href": f"{find}&{query}",
            "destination": destination,
            "url_route": f"gitdags-{destination.replace('_', '-')}",
        }
        for destination, query in _VIEWS.items()
    ]


def _listener(settings: config.Settings, repos: dict[str, str], *, others: bool) -> Any:
    from gitdags.airflow.listener import Listener
    from gitdags.airflow.outbox import Outbox
    from gitdags.airflow.remote import Remote
    from gitdags.airflow.runtime import Runtime
    from gitdags.spool import Spool

    url = settings["stamps_url"]
    remote = Remote(url, settings["stamps_token"]) if url else None
    return Listener(
        settings["airflow_name"],
        repos,
        Outbox(Spool(settings.spool), remote),
        Runtime(settings.home / "cache", settings["image"]),
        others=others,
        rendered=settings["rendered"],
    )
