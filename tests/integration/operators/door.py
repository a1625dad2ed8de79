"""Keys for the operators' door, and clients with them."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import httpx
from fastapi import FastAPI

from control_plane.operators.acts import Actor, Door
from control_plane.operators.keys import NewOperatorKey, create_operator_key
from control_plane.operators.scopes import OperatorScope
from db.session import Database
from tests.integration.rest import client_of

TESTER = Actor(Door.CLI, "tester")


async def make_key(
    database: Database, name: str, scopes: Iterable[OperatorScope], expires_at: dt.datetime | None = None
) -> NewOperatorKey:
    async with database.system() as session:
        return await create_operator_key(session, TESTER, name, scopes, expires_at)


def operator_client(app: FastAPI, key: str | None) -> httpx.AsyncClient:
    return client_of(app, key, "operator/v1")


async def acts_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return what was done to the queue, the latest first."""
    items = (await client.get("acts")).json()["items"]
    return [item for item in items if item["act"].startswith("queue.")]
