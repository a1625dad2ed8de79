"""What was told to an endpoint, and telling it again. A replay keeps the event's id, so receivers know it again."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.tenancy.scope import TenantScope
from control_plane.webhooks.endpoints import load_endpoint
from control_plane.webhooks.event_types import EventType
from db.models import TenantEvent, WebhookDelivery

#: Events of one replay; a longer range is replayed in several.
MOST_REPLAYED = 10_000

_AGAIN = (
    "state = 'waiting', waiting_since = now(), attempts = 0, due_at = now(), claim_token = NULL, last_error = NULL,"
    " finished_at = NULL"
)
_REPLAY_ONE = text(
    f"UPDATE webhook_deliveries SET {_AGAIN}"  # noqa: S608 - a constant
    " WHERE tenant_id = :tenant AND endpoint_id = :endpoint AND id = :id AND state <> 'waiting'"
)
# Also what it was never told, as while it was disabled. What waits already goes on as it is.
_REPLAY_RANGE = text(f"""
INSERT INTO webhook_deliveries AS d (tenant_id, endpoint_id, event_id, position, subject_id)
SELECT e.tenant_id, w.id, e.id, e.position, e.subject_id
FROM webhook_endpoints w
JOIN tenant_events e ON e.tenant_id = w.tenant_id
    AND (w.workspace_id IS NULL OR w.workspace_id = e.workspace_id)
    AND (cardinality(w.event_types) = 0 OR e.type = ANY (w.event_types))
LEFT JOIN webhook_deliveries known ON known.endpoint_id = w.id AND known.event_id = e.id
WHERE w.tenant_id = :tenant AND w.id = :endpoint AND e.type <> 'webhook.ping'
    AND e.recorded_at >= :since AND e.recorded_at < :until AND e.position > :after
    AND (known.state IS NULL OR known.state = 'dead' OR (:delivered AND known.state = 'delivered'))
ORDER BY e.position
LIMIT :most
ON CONFLICT (endpoint_id, event_id) DO UPDATE SET {_AGAIN} WHERE d.state <> 'waiting'
RETURNING d.position
""")  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Range:
    """Events recorded since a moment and before another, after a position."""

    since: dt.datetime
    until: dt.datetime
    after: int = 0
    #: Also those that were delivered.
    delivered: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Which deliveries to list: those in a state, if one is named, before the one that `after` names."""

    state: str | None
    after: uuid.UUID | None
    limit: int


async def ping(session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID) -> uuid.UUID:
    """Have the endpoint told of nothing but that; return the delivery's id. Raises `NotFound` and `Conflict`."""
    endpoint = await _require_enabled(session, scope, endpoint_id)
    made = await session.execute(
        insert(TenantEvent)
        .values(
            tenant_id=scope.tenant_id,
            type=EventType.WEBHOOK_PING.value,
            # A subject of its own: a ping waits for nothing, and nothing for it.
            subject_id=uuid.uuid4(),
            workspace_id=endpoint,
            at=text("now()"),
            data={"webhook_id": str(endpoint_id)},
        )
        .returning(TenantEvent.id, TenantEvent.position, TenantEvent.subject_id)
    )
    event = made.one()
    delivery = await session.execute(
        insert(WebhookDelivery)
        .values(
            tenant_id=scope.tenant_id,
            endpoint_id=endpoint_id,
            event_id=event.id,
            position=event.position,
            subject_id=event.subject_id,
        )
        .returning(WebhookDelivery.id)
    )
    found: uuid.UUID = delivery.scalar_one()
    return found


async def list_deliveries(
    session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID, page: Page
) -> Sequence[Row[WebhookDelivery, str]]:
    """Return the endpoint's deliveries with the types of their events, newest first; raise `NotFound`."""
    await load_endpoint(session, scope, endpoint_id)
    query = _deliveries(scope, endpoint_id).order_by(WebhookDelivery.position.desc()).limit(page.limit)
    if page.state is not None:
        query = query.where(WebhookDelivery.state == page.state)
    if page.after is not None:
        before = select(WebhookDelivery.position).where(
            WebhookDelivery.tenant_id == scope.tenant_id, WebhookDelivery.id == page.after
        )
        query = query.where(WebhookDelivery.position < before.scalar_subquery())
    return (await session.execute(query)).all()


async def replay_one(session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID, delivery_id: uuid.UUID) -> None:
    """Tell one event again, whatever became of it; one that waits goes on as it is. Raises `NotFound`, `Conflict`."""
    await _require_enabled(session, scope, endpoint_id)
    query = _deliveries(scope, endpoint_id).where(WebhookDelivery.id == delivery_id)
    if (await session.execute(query)).first() is None:
        raise NotFound("There is no such delivery.")
    values = {"tenant": scope.tenant_id, "endpoint": endpoint_id, "id": delivery_id}
    await session.execute(_REPLAY_ONE, values)


async def replay_range(
    session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID, chosen: Range
) -> tuple[int, int | None]:
    """Tell the events of a range again; return how many there were, and the position to go on after if there are more.

    Raises `NotFound` and `Conflict`.
    """
    await _require_enabled(session, scope, endpoint_id)
    values = {
        "tenant": scope.tenant_id,
        "endpoint": endpoint_id,
        "since": chosen.since,
        "until": chosen.until,
        "after": chosen.after,
        "delivered": chosen.delivered,
        "most": MOST_REPLAYED,
    }
    positions = (await session.scalars(_REPLAY_RANGE, values)).all()
    return len(positions), max(positions) if len(positions) == MOST_REPLAYED else None


def _deliveries(scope: TenantScope, endpoint_id: uuid.UUID) -> Any:  # noqa: ANN401 - a select of two, long to say
    return (
        select(WebhookDelivery, TenantEvent.type)
        .join(TenantEvent, TenantEvent.id == WebhookDelivery.event_id)
        .where(WebhookDelivery.tenant_id == scope.tenant_id, WebhookDelivery.endpoint_id == endpoint_id)
    )


async def _require_enabled(session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID) -> uuid.UUID | None:
    """Return the endpoint's workspace."""
    endpoint = await load_endpoint(session, scope, endpoint_id)
    if not endpoint.enabled:
        raise Conflict("The webhook is disabled; enable it first.")
    return endpoint.workspace_id
