"""Endpoints and events for tests, made as tenants and agents make them."""

import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy import text

from db.ids import uuid7
from db.session import Database
from tests.integration.mail_rows import SomeInbox

_EVENT = text(
    "INSERT INTO message_events (tenant_id, message_id, event_id, kind, at, applied, detail)"
    ' VALUES (:tenant, :message, :id, :kind, :at, :applied, \'{"text": "250 ok"}\')'
)
_DUE_NOW = text("UPDATE webhook_deliveries SET due_at = now() WHERE state = 'waiting'")
_STATES = text("SELECT state FROM webhook_deliveries ORDER BY position")


async def make_webhook(client: httpx.AsyncClient, port: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    made = await client.post("webhooks", json={"url": f"http://127.0.0.1:{port}/hook", **more})
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    return body


async def tell(database: Database, inbox: SomeInbox, send_id: uuid.UUID, *kinds: str, applied: bool = True) -> None:
    """Record events of a send, one transaction for all."""
    async with database.system() as session:
        for kind in kinds:
            values = {"tenant": inbox.tenant.id, "message": send_id, "id": uuid7(), "at": datetime.now(UTC)}
            await session.execute(_EVENT, {**values, "kind": kind, "applied": applied})


async def make_due(database: Database) -> None:
    """Let what waits be due at once."""
    async with database.system() as session:
        await session.execute(_DUE_NOW)


async def states(database: Database) -> list[str]:
    async with database.system() as session:
        return list((await session.scalars(_STATES)).all())


async def count(database: Database, table: str) -> int:
    async with database.system() as session:
        return int((await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())  # noqa: S608 - ours
