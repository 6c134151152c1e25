"""The OpenAPI document is kept to: Schemathesis asks what it allows, and more; nothing breaks."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gitdags.config import Settings
from gitdags.store import Store
from gitdags.web.app import create
from tests.web.conftest import Server, World

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip


SCHEMA = schemathesis.openapi.from_dict(create(Settings({"home": "/nowhere"}, {})).openapi())
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.label)
def test_no_answer_is_undocumented(operation: Any, server: Server, world: World) -> None:
    store = Store(world.settings.database)
    _, token = store.tokens.create("schema", "admin")
    store.close()

    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(data=strategies.data())
    def check(data: strategies.DataObject) -> None:
        mode = data.draw(strategies.sampled_from(list(GenerationMode)))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        parts = case.path_parameters or {}
        if "repo" in parts and data.draw(strategies.integers(0, 3)):
            parts["repo"] = "sales"  # else nearly every answer is that it is unknown
        if "sha" in parts and data.draw(strategies.booleans()):
            parts["sha"] = world.commits["moved"]
        headers = {"authorization": f"Bearer {token}"} if data.draw(strategies.booleans()) else {}
        answer = case.call(base_url=server.url, headers=headers)
        case.validate_response(answer, checks=CHECKS)

    check()
    for taken in server.site.spool.take():
        server.site.spool.done(taken)
