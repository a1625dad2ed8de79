"""The headers that OpenAPI names are those that are sent at the operators' door too, where requests are not counted."""

import httpx
from fastapi import FastAPI

from tests.integration.database import SomeTenant
from tests.integration.test_rest_answer_headers import check


async def test_what_the_operators_door_sends_is_what_it_says(
    operators_app: FastAPI, operator: httpx.AsyncClient, tenant: SomeTenant
) -> None:
    document = operators_app.openapi()
    assert check(document, await operator.get("fleet"), 200) == {"x-request-id"}
    held = await operator.post("queue/pauses", json={"subject": "priority", "of": "low"})
    assert check(document, held, 201) == {"x-request-id", "location"}
    resumed = await operator.delete(held.headers["location"].removeprefix("/operator/v1/"))
    assert check(document, resumed, 204) == {"x-request-id"}
    assert check(document, await operator.get(f"tenants/{tenant.id}"), 200) >= {"x-request-id"}
    assert check(document, await operator.get("alerts?limit=0"), 422) == {"x-request-id"}
