"""Pages inside Airflow's API server, below ``/gitdags``: its auth manager says who may see what.

Airflow mounts a plugin's application without authentication, so this one asks for itself: for every
DAG, and for files, which belong to no single DAG, whether the code of all DAGs may be read. Off until
the setting ``airflow_web`` is on. Every process of Airflow imports this: the application is made, and
what it needs loaded, with the first request.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from gitdags import config
from gitdags.errors import GitdagsError

log = logging.getLogger("gitdags.web")

PREFIX = "/gitdags"


class GitDagsWebPlugin(AirflowPlugin):
    """Filled when Airflow loads it, once a process."""

    name = "gitdags-web"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Offer the application where settings want it."""
        try:
            if config.load()["airflow_web"]:
                cls.fastapi_apps = [{"app": Application(), "url_prefix": PREFIX, "name": "gitdags"}]
        except GitdagsError as error:
            log.error("gitdags: no pages: %s", error.message)


@dataclass
class Application:
    """An ASGI application that is made when it is first asked something."""

    _made: Any = field(default=None, repr=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._made is None:
            self._made = make()
        await self._made(scope, receive, send)


def make(settings: config.Settings | None = None) -> Any:
    """gitdags' application with Airflow's auth manager at its door."""
    from gitdags.web.app import create

    settings = settings or config.load()
    return create(settings, access(settings))


def access(settings: config.Settings) -> Any:
    """Who may: whoever Airflow knows, and of each DAG what Airflow lets them see."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
    from airflow.api_fastapi.auth.managers.models.resource_details import (
        DagAccessEntity,
        DagDetails,
    )
    from anyio import from_thread

    from gitdags.web.access import Access, Principal, Unauthorized

    @dataclass(frozen=True)
    class Known(Principal):
        """A user of Airflow's, and what was asked about it in this request."""

        user: Any = None
        seen: dict[str, bool] = field(default_factory=dict)

    class AirflowAccess(Access):
        """Airflow's own answers in place of rules; tokens of gitdags hold as elsewhere."""

        def principal(self, request: Any, find: Any) -> Principal:
            """The user whose token or session cookie Airflow itself accepts."""
            given = request.headers.get("authorization", "")
            if given[:15].lower() == "bearer gitdags_":
                return super().principal(request, find)
            token = given[7:] if given[:7].lower() == "bearer " else None
            token = token or request.cookies.get(COOKIE_NAME_JWT_TOKEN)
            if not token:
                return Principal()
            try:
                user = from_thread.run(get_auth_manager().get_user_from_token, token)
            except Exception as error:  # whatever is wrong with it, it opens nothing
                log.debug("gitdags: a token of Airflow's is refused: %s", error)
                raise Unauthorized("Airflow does not accept this token; log in there") from None
            return Known(user.get_name(), user=user)

        def may_read_dag(self, who: Principal, repo: str, dag_id: str) -> bool:
            """As Airflow answers it for that DAG."""
            if not isinstance(who, Known):
                return who.token is not None
            if dag_id not in who.seen:
                who.seen[dag_id] = get_auth_manager().is_authorized_dag(
                    method="GET", user=who.user, details=DagDetails(id=dag_id)
                )
            return who.seen[dag_id]

        def may_read_files(self, who: Principal, repo: str) -> bool:
            """Whether the code of all DAGs may be read."""
            if not isinstance(who, Known):
                return who.token is not None
            return bool(
                get_auth_manager().is_authorized_dag(
                    method="GET", user=who.user, access_entity=DagAccessEntity.CODE
                )
            )

    plain = Access.of(settings, local=False)
    return AirflowAccess(local=False, rules=plain.rules, hosts=plain.hosts, per_dag=True)
