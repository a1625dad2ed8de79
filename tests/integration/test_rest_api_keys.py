"""A tenant's keys over REST: what they open, from where, until when, and who may make which."""

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.rest import client_of, pointers, problem

HELLO = {"to": "anna@example.net", "subject": "Hello", "text": "Hello Anna\n"}


async def make(client: httpx.AsyncClient, **wanted: object) -> dict[str, Any]:
    answer = await client.post("api-keys", json={"name": "made by a test", **wanted})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


@asynccontextmanager
async def coming_from(app: FastAPI, key: str, address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 40000)),
        base_url="http://penguin.test/api/v1/",
        headers={"Authorization": f"Bearer {key}"},
    ) as client:
        yield client


def in_hours(hours: float) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)).isoformat()


async def test_a_key_is_shown_once_and_listed_by_its_prefix(rest_client: httpx.AsyncClient) -> None:
    made = await make(rest_client, scopes=["messages:read"])
    key = made.pop("key")
    assert key.split("_")[2] == made["prefix"]
    assert made.pop("aws") is None
    listed = (await rest_client.get("api-keys", params={"prefix": made["prefix"][:6]})).json()
    assert listed == {"items": [made], "next": None}
    shown = await rest_client.get(f"api-keys/{made['id']}")
    assert shown.json() == made
    assert key.split("_")[3] not in shown.text
    everything = (await rest_client.get("api-keys")).json()["items"]
    assert {each["created_by"] for each in everything} == {"operator", made["created_by"]}


async def test_a_key_says_which_key_made_it(rest_client: httpx.AsyncClient) -> None:
    (first,) = (await rest_client.get("api-keys")).json()["items"]
    assert (await make(rest_client, role="admin"))["created_by"] == f"api-key {first['id']}"


async def test_a_key_opens_its_scopes_and_nothing_else(
    rest_client: httpx.AsyncClient, rest_app: FastAPI, system_database: Database, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    reader = await make(rest_client, scopes=["messages:read"])
    sender = await make(rest_client, scopes=["messages:send"])
    messages = f"inboxes/{inbox.id}/messages"
    async with client_of(rest_app, reader["key"]) as client:
        assert (await client.get(messages)).status_code == 200
        problem(await client.post(messages, json=HELLO), 403, "forbidden")
        problem(await client.post(f"inboxes/{inbox.id}/messages:batch", json={"messages": [HELLO]}), 403, "forbidden")
        problem(await client.get(f"workspaces/{tenant.workspace_id}/vps"), 403, "forbidden")
        problem(await client.get("api-keys"), 403, "forbidden")
    async with client_of(rest_app, sender["key"]) as client:
        problem(await client.get(messages), 403, "forbidden")
        assert (await client.post(messages, json=HELLO)).status_code == 202


async def test_a_suspended_tenants_key_that_only_sends_opens_nothing(
    rest_client: httpx.AsyncClient, rest_app: FastAPI, system_database: Database, tenant: SomeTenant
) -> None:
    sender = await make(rest_client, scopes=["messages:send", "inboxes:read"])
    async with system_database.system() as session:
        await session.execute(text("UPDATE tenants SET state = 'suspended'"))
    async with client_of(rest_app, sender["key"]) as client:
        problem(await client.post(f"inboxes/{uuid.uuid4()}/messages", json=HELLO), 403, "forbidden")
        problem(await client.get(f"workspaces/{tenant.workspace_id}/vps"), 403, "forbidden")
        assert (await client.get(f"workspaces/{tenant.workspace_id}/inboxes")).status_code == 200


@pytest.mark.parametrize(
    ("networks", "address", "opens"),
    [
        (["192.0.2.0/24"], "192.0.2.255", True),
        (["192.0.2.0/24"], "192.0.3.0", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.7", True),
        (["198.51.100.7", "2001:db8::/32"], "198.51.100.7", True),
        (["198.51.100.7", "2001:db8::/32"], "2001:db8:1::1", True),
        (["198.51.100.7", "2001:db8::/32"], "2001:db9::1", False),
        (["0.0.0.0/0"], "a-unix-socket", False),
    ],
)
async def test_a_key_is_of_use_from_its_networks_alone(
    rest_client: httpx.AsyncClient, rest_app: FastAPI, networks: list[str], address: str, opens: bool
) -> None:
    made = await make(rest_client, role="owner", networks=networks)
    async with coming_from(rest_app, made["key"], address) as client:
        answer = await client.get("api-keys")
        sent = await client.post(f"inboxes/{uuid.uuid4()}/messages", json=HELLO)
    if opens:
        assert (answer.status_code, sent.status_code) == (200, 404)
    else:
        problem(answer, 401, "unauthenticated")
        problem(sent, 401, "unauthenticated")
        shown = (await rest_client.get(f"api-keys/{made['id']}")).json()
        assert shown["last_used_at"] is None


async def test_a_revoked_key_opens_nothing_and_stays_listed(rest_client: httpx.AsyncClient, rest_app: FastAPI) -> None:
    made = await make(rest_client, role="admin")
    assert (await rest_client.delete(f"api-keys/{made['id']}")).status_code == 204
    revoked = (await rest_client.get(f"api-keys/{made['id']}")).json()["revoked_at"]
    assert revoked is not None
    async with client_of(rest_app, made["key"]) as client:
        problem(await client.get("api-keys"), 401, "unauthenticated")
    assert (await rest_client.delete(f"api-keys/{made['id']}")).status_code == 204
    assert (await rest_client.get(f"api-keys/{made['id']}")).json()["revoked_at"] == revoked


async def test_another_tenants_key_is_not_there(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, rest_app: FastAPI
) -> None:
    made = await make(rest_client, role="admin")
    problem(await other_client.get(f"api-keys/{made['id']}"), 404, "not-found")
    problem(await other_client.delete(f"api-keys/{made['id']}"), 404, "not-found")
    assert made["id"] not in (await other_client.get("api-keys")).text
    async with client_of(rest_app, made["key"]) as client:
        assert (await client.get("api-keys")).status_code == 200


async def test_nobody_makes_a_key_that_may_more_than_they(rest_client: httpx.AsyncClient, rest_app: FastAPI) -> None:
    limited = await make(rest_client, scopes=["api-keys:manage", "messages:read"])
    async with client_of(rest_app, limited["key"]) as client:
        for beyond in ({"scopes": ["messages:send"]}, {"role": "owner"}, {"role": "member"}):
            problem(await client.post("api-keys", json={"name": "more", **beyond}), 403, "forbidden")
        assert (await make(client, scopes=["messages:read"]))["scopes"] == ["messages:read"]


async def test_nobody_makes_a_key_that_lasts_longer_or_comes_from_elsewhere(
    rest_client: httpx.AsyncClient, rest_app: FastAPI
) -> None:
    bound = await make(rest_client, role="owner", expires_at=in_hours(2), networks=["127.0.0.0/8"])
    async with client_of(rest_app, bound["key"]) as client:
        inherited = await make(client, role="owner")
        assert inherited["expires_at"] == bound["expires_at"]
        assert inherited["networks"] == ["127.0.0.0/8"]
        narrower = await make(client, role="owner", expires_at=in_hours(1), networks=["127.0.0.1"])
        assert narrower["networks"] == ["127.0.0.1/32"]
        for beyond in ({"expires_at": in_hours(3)}, {"networks": ["127.0.0.1", "10.0.0.0/8"]}, {"networks": ["::/0"]}):
            body = {"name": "more", "role": "owner", **beyond}
            problem(await client.post("api-keys", json=body), 403, "forbidden")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({}, "/scopes"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"scopes": ["messages:read"], "role": "owner"}, "/scopes"),
        ({"role": "operator"}, "/role"),
        ({"role": "owner", "name": " "}, "/name"),
        ({"role": "owner", "name": "a\nb"}, "/name"),
        ({"role": "owner", "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"role": "owner", "expires_at": "2120-01-01T00:00:00"}, "/expires_at"),
        ({"role": "owner", "networks": ["192.0.2.1/24"]}, "/networks/0"),
        ({"role": "owner", "networks": ["192.0.2.1", "here"]}, "/networks/1"),
        ({"role": "owner", "tenant_id": str(uuid.uuid4())}, "/tenant_id"),
    ],
)
async def test_a_wrong_wish_is_refused_and_nothing_is_made(
    rest_client: httpx.AsyncClient, wrong: dict[str, Any], pointer: str
) -> None:
    answer = await rest_client.post("api-keys", json={"name": "wrong", **wrong})
    assert pointers(problem(answer, 422, "invalid-input")) == [pointer]
    assert len((await rest_client.get("api-keys")).json()["items"]) == 1


async def test_a_prefix_is_no_pattern(rest_client: httpx.AsyncClient) -> None:
    problem(await rest_client.get("api-keys", params={"prefix": "%"}), 422, "invalid-input")
    assert (await rest_client.get("api-keys", params={"prefix": "7777777777"})).json()["items"] == []


async def test_keys_come_in_pages(rest_client: httpx.AsyncClient) -> None:
    made = {(await make(rest_client, role="billing"))["id"] for _ in range(3)}
    seen, after = set(), None
    for _ in range(4):
        page = (await rest_client.get("api-keys", params={"limit": 1, **({"after": after} if after else {})})).json()
        seen |= {each["id"] for each in page["items"]}
        after = page["next"]
    assert made < seen
    assert len(seen) == 4
