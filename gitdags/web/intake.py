"""What comes in: stamps of workers that have no database. Each is on the disk before it is answered."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from gitdags.errors import GitdagsError
from gitdags.spool import VERSION
from gitdags.web import schemas
from gitdags.web.answers import JSON, NO_STORE, as_json, send
from gitdags.web.views import site_of, view

router = APIRouter(prefix="/api/v1", responses=schemas.PROBLEMS)

MOST_BYTES = 1 << 20
"""Of one request's body."""
MOST_RECORDS = 1_000
Text = Annotated[str, Field(max_length=4_000)]


class TooLong(GitdagsError):
    """A body past the limit."""

    http_status = 413


class NotRecords(GitdagsError):
    """A body that is no list of spool records."""

    http_status = 422


class CannotSpool(GitdagsError):
    """The spool's disk is full or away."""

    http_status = 503


class Record(BaseModel):
    """A spool record of kind stamp or rendered. Fields that are not named here are kept too."""

    model_config = ConfigDict(extra="allow")

    v: int = Field(default=VERSION, ge=1, le=VERSION)
    kind: str = Field(pattern="^(stamp|rendered)$")
    id: str = Field(default="", max_length=64, pattern="^[A-Za-z0-9._-]*$")
    at: float = Field(default=0.0, ge=0, le=1e11, description="Unix seconds")
    airflow: Text
    dag_id: Text
    run_id: Text
    repo: Text | None = None
    commit: Text | None = None


_RECORDS = TypeAdapter(list[Record])


@router.post(
    "/stamps",
    response_model=schemas.Accepted,
    status_code=202,
    tags=["stamps"],
    responses={413: schemas.PROBLEMS[400]},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "array", "items": Record.model_json_schema()}
                }
            },
        }
    },
)
async def stamps(request: Request) -> Response:
    """Take in spool records; answered when they are on the disk. Wants a token of scope stamp."""
    body = await read(request, MOST_BYTES)
    return await run_in_threadpool(_take, request, body)


async def read(request: Request, most: int) -> bytes:
    """A body, of which no more than the limit is read. Raises TooLong."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLong(f"a body may have {most:,} bytes", hint="gitdags drain")
        parts.append(part)
    return b"".join(parts)


def _take(request: Request, body: bytes) -> Response:
    with view(request, reads=False) as v:
        records = None
        v.site.access.require_writer(v.who, v.who.token.repository if v.who.token else None)
        try:
            given = orjson.loads(body)
            records = _RECORDS.validate_python(given if isinstance(given, list) else [given])
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise NotRecords(_first(error), hint="gitdags stamp -h") from None
        if len(records) > MOST_RECORDS:
            raise TooLong(f"{MOST_RECORDS:,} records are the most at once", hint="gitdags drain")
        for record in records:
            v.site.access.require_writer(v.who, record.repo)
        spool = site_of(request).spool
        try:
            for record in records:
                # Its path is one of another host's, and says nothing of what lies there on this one.
                spool.append(record.model_dump(exclude_unset=True) | {"remote": True}, sync=False)
            spool.sync()
        except OSError as error:
            raise CannotSpool(
                f"the spool: {error.strerror}", hint=f"df -h {spool.folder}"
            ) from None
        return send(request, as_json({"accepted": len(records)}), JSON, keep=NO_STORE, status=202)


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        one = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
    return f"the body is no JSON: {error}"
