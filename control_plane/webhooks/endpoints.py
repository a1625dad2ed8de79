"""A tenant's endpoints, as the tenant sees and changes them. A secret is shown once and never read back."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import tenant_keys
from control_plane.errors import Conflict, NotFound
from control_plane.sealing import Sealer
from control_plane.tenancy.scope import TenantScope
from control_plane.tenancy.workspaces import require_workspace
from control_plane.webhooks.event_types import EventType
from control_plane.webhooks.signing import new_secret, place_of
from db.models import WebhookEndpoint

#: Each costs a row for each event.
MOST_ENDPOINTS = 20
#: For how long the secret before signs, too, unless the caller says otherwise.
OVERLAP = dt.timedelta(hours=24)

_BURY = text(
    "UPDATE webhook_deliveries SET state = 'dead', claim_token = NULL, finished_at = now(),"
    " last_error = coalesce(last_error, 'the endpoint was disabled')"
    " WHERE tenant_id = :tenant AND endpoint_id = :endpoint AND state = 'waiting'"
)
# Two that come at once must not both be the last that there is room for.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('webhooks:' || CAST(:tenant AS text), 0))")


@dataclass(frozen=True, slots=True)
class WantedEndpoint:
    """An endpoint to make; its URL has been judged (urls.py)."""

    url: str
    event_types: frozenset[EventType]
    workspace_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """What to change of an endpoint; None leaves it."""

    url: str | None = None
    event_types: frozenset[EventType] | None = None
    enabled: bool | None = None


async def create_endpoint(
    session: AsyncSession, scope: TenantScope, wanted: WantedEndpoint, sealer: Sealer
) -> tuple[uuid.UUID, str]:
    """Make an endpoint; return its id and secret. Raises `Conflict` for one too many, `NotFound`, `InvalidInput`."""
    workspace_id = scope.workspace_of(wanted.workspace_id)
    await session.execute(_ONE_AT_A_TIME, {"tenant": scope.tenant_id})
    await _require_workspace(session, scope, workspace_id)
    count = await session.scalar(select(func.count()).select_from(WebhookEndpoint).where(_of(scope)))
    if (count or 0) >= MOST_ENDPOINTS:
        raise Conflict(f"A tenant may have {MOST_ENDPOINTS} webhooks; delete one first.")
    endpoint_id, secret = uuid.uuid4(), new_secret()
    keys = await tenant_keys(session, sealer, scope.tenant_id)
    row = {
        "id": endpoint_id,
        "tenant_id": scope.tenant_id,
        "workspace_id": workspace_id,
        "url": wanted.url,
        "event_types": _names(wanted.event_types),
        "secret_sealed": keys.seal(secret.encode(), place_of(endpoint_id)),
    }
    await session.execute(insert(WebhookEndpoint).values(row))
    return endpoint_id, secret


async def list_endpoints(
    session: AsyncSession, scope: TenantScope, after: uuid.UUID | None, limit: int
) -> Sequence[WebhookEndpoint]:
    """Return the tenant's endpoints in the order of their ids, from the one after `after`."""
    query = select(WebhookEndpoint).where(_of(scope)).order_by(WebhookEndpoint.id).limit(limit)
    return (await session.scalars(query if after is None else query.where(WebhookEndpoint.id > after))).all()


async def load_endpoint(session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID) -> WebhookEndpoint:
    """Return one endpoint; raise `NotFound`."""
    query = select(WebhookEndpoint).where(_of(scope), WebhookEndpoint.id == endpoint_id)
    found = (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()
    if found is None:
        raise NotFound("There is no such webhook.")
    return found


async def change_endpoint(
    session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID, change: EndpointChange
) -> WebhookEndpoint:
    """Change what is named; raise `NotFound`. What waits for an endpoint that is disabled is dead until replayed."""
    await load_endpoint(session, scope, endpoint_id)
    values: dict[str, object] = {}
    if change.url is not None:
        values["url"] = change.url
    if change.event_types is not None:
        values["event_types"] = _names(change.event_types)
    if change.enabled is not None:
        reason = None if change.enabled else "It was disabled by its tenant."
        values |= {"enabled": change.enabled, "disabled_reason": reason, "failing_since": None}
    if values:
        await _update(session, scope, endpoint_id, values)
    if change.enabled is False:
        await session.execute(_BURY, {"tenant": scope.tenant_id, "endpoint": endpoint_id})
    return await load_endpoint(session, scope, endpoint_id)


async def rotate_secret(
    session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID, overlap: dt.timedelta, sealer: Sealer
) -> str:
    """Return a new secret; the present one signs beside it for as long as `overlap`. Raises `NotFound`."""
    await load_endpoint(session, scope, endpoint_id)
    secret = new_secret()
    keys = await tenant_keys(session, sealer, scope.tenant_id)
    values = {
        "secret_sealed": keys.seal(secret.encode(), place_of(endpoint_id)),
        "previous_secret_until": func.now() + overlap,
    }
    await _update(session, scope, endpoint_id, values)
    return secret


async def delete_endpoint(session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID) -> None:
    """Tell it nothing from now on; the worker takes its rows away (forget.py). Raises `NotFound`."""
    await load_endpoint(session, scope, endpoint_id)
    await _update(session, scope, endpoint_id, {"enabled": False, "deleted_at": func.now()})
    await session.execute(_BURY, {"tenant": scope.tenant_id, "endpoint": endpoint_id})


def _of(scope: TenantScope) -> ColumnElement[bool]:
    return and_(WebhookEndpoint.tenant_id == scope.tenant_id, WebhookEndpoint.deleted_at.is_(None))


async def _update(
    session: AsyncSession, scope: TenantScope, endpoint_id: uuid.UUID, values: Mapping[str, object]
) -> None:
    await session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.tenant_id == scope.tenant_id, WebhookEndpoint.id == endpoint_id)
        .values(values)
        .execution_options(synchronize_session=False)
    )


async def _require_workspace(session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID | None) -> None:
    if workspace_id is None:
        return
    await require_workspace(session, scope, workspace_id, hold=True)


def _names(types: frozenset[EventType]) -> list[str]:
    return sorted(each.value for each in types)
