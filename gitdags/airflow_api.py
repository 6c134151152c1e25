"""The REST API of an Airflow installation, as far as gitdags speaks it: JSON over HTTP, version 2."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from gitdags.errors import GitdagsError, shown
from gitdags.model import PastRun

_PAGE = 100  # Airflow's own most is 100 by default
_TIMEOUT = 30.0  # seconds


class ApiRefused(GitdagsError):
    """Airflow cannot be reached, or answers with an error."""

    http_status = 502

    def __init__(self, message: str, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint)
        self.status = status
        """Airflow's HTTP status; 0 where there was no answer"""


class AirflowApi:
    """One installation. ``url`` is where its web pages are; ``user:password@`` in it asks for a token.

    ``token`` is a bearer token of Airflow's own (setting ``airflow_token``).
    """

    def __init__(self, url: str, token: str = "") -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ApiRefused(
                f"{shown(url)} is no address of an Airflow", hint="gitdags import-runs --help"
            )
        host = parts.netloc.rpartition("@")[2]
        self.url = urllib.parse.urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._token = token
        if not token and parts.username:
            self._token = self._sign_in(parts.username, parts.password or "")

    def call(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON that Airflow answers to a request below ``/api/v2``. Raises ApiRefused."""
        asked = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._send(method, f"{self.url}/api/v2/{path}{asked}", body)

    def fields(self, schema: str) -> set[str]:
        """The fields of one of the API's schemas, as its OpenAPI document has them; none, if not there.

        Raises ApiRefused.
        """
        schemas = self._send("GET", f"{self.url}/openapi.json", None)["components"]["schemas"]
        return set(schemas.get(schema, {}).get("properties", ()))

    def runs(self, since: datetime | None = None) -> Iterator[PastRun]:
        """Every DagRun of the installation, by id. Airflow tells no serialized DAGs this way.

        Raises ApiRefused.
        """
        query = {"order_by": "id", "limit": str(_PAGE)}
        if since is not None:
            query["run_after_gte"] = since.isoformat()
        offset = 0
        while True:
            page = self.call("GET", "dags/~/dagRuns", query={**query, "offset": str(offset)})
            found = page["dag_runs"]
            yield from map(_past_run, found)
            offset += len(found)
            if not found or (offset >= (page.get("total_entries") or 0) and len(found) < _PAGE):
                return

    def _sign_in(self, user: str, password: str) -> str:
        told = {
            "username": urllib.parse.unquote(user), "password": urllib.parse.unquote(password)
        }  # fmt: skip
        return str(self._send("POST", f"{self.url}/auth/token", told)["access_token"])

    def _send(self, method: str, url: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - see init
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - see init
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            detail = _detail(error)
            hint = (
                "gitdags -c airflow_token=TOKEN …" if error.code in (401, 403) else f"curl -i {url}"
            )
            raise ApiRefused(
                f"Airflow at {self.url} answers {error.code}: {detail}", hint, error.code
            ) from None
        except (urllib.error.URLError, TimeoutError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ApiRefused(
                f"Airflow at {self.url} cannot be reached: {reason}", hint=f"curl -i {self.url}"
            ) from None
        except ValueError:
            raise ApiRefused(
                f"{self.url} does not answer as Airflow does", hint=f"curl {url}"
            ) from None


def _past_run(row: Mapping[str, Any]) -> PastRun:
    began = row.get("start_date") or row.get("queued_at") or row["run_after"]
    versions = row.get("dag_versions") or [{}]
    return PastRun(
        dag_id=row["dag_id"],
        run_id=row["dag_run_id"],
        uid=None,
        state=row["state"],
        at=datetime.fromisoformat(began),
        bundle=versions[0].get("bundle_name"),
        bundle_version=row.get("bundle_version"),
        executed=None,
    )


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        told = json.loads(error.read())["detail"]
    except (ValueError, KeyError, TypeError, OSError):
        return error.reason
    return shown(told if isinstance(told, str) else json.dumps(told), 300)
