"""The headers that OpenAPI names are those that are sent, over operations of each kind at both doors."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from limits import RateLimitItemPerMinute

from control_plane.rest import limited_requests
from control_plane.rest.app import make_app
from control_plane.rest.rates import Rates, RouteClass
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server
from tests.integration.rest import client_of

KEY = {"Idempotency-Key": "one-2026-11-22"}
#: Of the same answer, not with each: this one was not repeated, and that problem is not one to wait for.
SOMETIMES = {"idempotency-replayed", "retry-after"}
COUNTED = {"x-request-id", "ratelimit", "ratelimit-policy"}
KNOWN = COUNTED | SOMETIMES | {"etag", "location"}


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


def told(document: dict[str, Any], answer: httpx.Response) -> set[str]:
    """Return the headers that are named of an answer, in lower case."""
    path, method = answer.request.url.path, answer.request.method.lower()
    fitting = [each for each in document["paths"] if re.fullmatch(re.sub("{[^}]*}", "[^/]+", each), path)]
    # Of a thing and what is done with it, the latter.
    closest = max(fitting, key=lambda each: len(re.sub("{[^}]*}", "", each)))
    responses = document["paths"][closest][method]["responses"]
    found = responses.get(str(answer.status_code), responses.get("default"))
    if "$ref" in found:
        found = document["components"]["responses"][found["$ref"].rpartition("/")[2]]
    return {name.lower() for name in found["headers"]}


def check(document: dict[str, Any], answer: httpx.Response, status: int) -> set[str]:
    """Check that an answer has this status and the headers that are named of it, and return these."""
    assert answer.status_code == status, answer.text
    sent = KNOWN & {name.lower() for name in answer.headers}
    named = told(document, answer)
    assert sent <= named, answer.request
    assert named - sent <= SOMETIMES, answer.request
    return sent


async def test_what_the_tenants_door_sends_is_what_it_says(
    rest_app: FastAPI, rest_client: httpx.AsyncClient, inbox: SomeInbox
) -> None:
    document = rest_app.openapi()
    workspaces = await rest_client.get("workspaces")
    assert check(document, workspaces, 200) == {*COUNTED, "etag"}
    unchanged = await rest_client.get("workspaces", headers={"If-None-Match": workspaces.headers["etag"]})
    assert check(document, unchanged, 304) == {*COUNTED, "etag"}
    made = await rest_client.post("workspaces", json={"name": "Shop"}, headers=KEY)
    assert check(document, made, 201) == {*COUNTED, "location"}
    again = await rest_client.post("workspaces", json={"name": "Shop"}, headers=KEY)
    assert check(document, again, 201) == {*COUNTED, "location", "idempotency-replayed"}
    one = made.headers["location"].removeprefix("/api/v1/")
    assert check(document, await rest_client.get(one), 200) == {*COUNTED, "etag"}
    assert check(document, await rest_client.patch(one, json={"name": "Store"}), 200) == COUNTED
    assert check(document, await rest_client.delete(one), 204) == COUNTED
    assert check(document, await rest_client.get(one), 404) == COUNTED
    assert check(document, await rest_client.post("workspaces", json={}), 422) == COUNTED
    mail = {"to": "anna@example.net", "subject": "Fish", "text": "Hello"}
    sent = await rest_client.post(f"inboxes/{inbox.id}/messages", json=mail)
    assert check(document, sent, 202) == {*COUNTED, "location"}
    address = {"email_address": inbox.address.replace("sales", "orders")}
    alias = await rest_client.post(f"inboxes/{inbox.id}/aliases", json=address)
    assert check(document, alias, 201) == {*COUNTED, "location"}
    assert (await rest_client.delete(alias.headers["location"].removeprefix("/api/v1/"))).status_code == 204
    held = await rest_client.post("queue/pauses", json={"subject": "priority", "of": "low"})
    assert check(document, held, 201) == {*COUNTED, "location"}
    assert (await rest_client.delete(held.headers["location"].removeprefix("/api/v1/"))).status_code == 204
    assert check(document, await rest_client.get("http://penguin.test/healthz"), 200) == {"x-request-id"}


async def test_a_limit_that_is_reached_says_when_to_come_again(
    rest_app: FastAPI, rest_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = RateLimitItemPerMinute(1)
    monkeypatch.setattr(limited_requests, "RATES", dict.fromkeys(RouteClass, Rates(one, one, one)))
    monkeypatch.setattr(rest_app.state.limiter, "_now", lambda: 630.0)
    answers = [await rest_client.get("workspaces") for _ in range(2)]
    assert check(rest_app.openapi(), answers[0], 200) == {*COUNTED, "etag"}
    assert check(rest_app.openapi(), answers[1], 429) == {*COUNTED, "retry-after"}


async def test_a_database_that_is_away_is_said_with_when_to_come_again(
    rest_settings: Settings, tmp_path: Path, tenant: SomeTenant
) -> None:
    away = rest_settings.model_dump() | {"api_database_url": f"postgresql://penguin_api@/penguin?host={tmp_path}"}
    app = make_app(Settings.model_validate(away))
    async with client_of(app, tenant.api_key) as client:
        assert check(app.openapi(), await client.get("workspaces"), 503) == {*COUNTED, "retry-after"}
