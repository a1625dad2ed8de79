"""What tenants' plans allow and what is used of it, for tenants to see and operators to set.

The table `plans` is the only place where limits stand; the database holds them (db/migrations: hold_plan_limit), in the
transaction that adds a thing, whoever adds it. The sends of a day are held where they are leased.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput, NotFound, PlanLimitReached
from db.models import Tenant

#: What plans limit: the columns of the table, and what plan_overrides of a tenant may name.
LIMITED = ("servers", "domains", "inboxes", "api_keys", "webhooks", "sends_a_day")

#: The SQLSTATE of hold_plan_limit().
_REACHED = "PM001"

_USED = text("""
SELECT t.plan, what, plan_limit(t.id, what) AS most,
    CASE what
        WHEN 'servers' THEN (SELECT count(*) FROM vps_servers v WHERE v.tenant_id = t.id AND v.status <> 'deleted')
        WHEN 'domains' THEN (SELECT count(*) FROM domains d
                             WHERE d.tenant_id = t.id AND d.deleted_at IS NULL)
        WHEN 'inboxes' THEN (SELECT count(*) FROM inboxes i WHERE i.tenant_id = t.id)
        WHEN 'api_keys' THEN (SELECT count(*) FROM api_keys k WHERE k.tenant_id = t.id AND k.revoked_at IS NULL)
        WHEN 'webhooks' THEN (SELECT count(*) FROM webhook_endpoints w
                              WHERE w.tenant_id = t.id AND w.deleted_at IS NULL)
        ELSE (SELECT coalesce(sum(s.claimed), 0) FROM inbox_daily_sends s
              WHERE s.tenant_id = t.id AND s.day = (now() AT TIME ZONE 'UTC')::date)
    END AS used
FROM tenants t CROSS JOIN unnest(CAST(:limited AS text[])) WITH ORDINALITY AS limited (what, place)
WHERE t.id = :tenant_id ORDER BY place
""")
_PLANS = text("SELECT name, servers, domains, inboxes, api_keys, webhooks, sends_a_day FROM plans ORDER BY name")


@dataclass(frozen=True, slots=True)
class Used:
    """How much there is of something, and how much the plan allows; None for as much as one likes."""

    what: str
    used: int
    limit: int | None


async def usage(session: AsyncSession, tenant_id: uuid.UUID) -> tuple[str, list[Used]]:
    """Return a tenant's plan, and its use against the limits; raise `NotFound`."""
    rows = (await session.execute(_USED, {"limited": list(LIMITED), "tenant_id": tenant_id})).all()
    if not rows:
        raise NotFound("There is no such tenant.")
    return rows[0].plan, [Used(row.what, int(row.used), row.most) for row in rows]


async def list_plans(session: AsyncSession) -> Sequence[Row[Any]]:
    """Return the plans, by name."""
    return (await session.execute(_PLANS)).all()


async def set_plan(session: AsyncSession, tenant_id: uuid.UUID, plan: str, overrides: Mapping[str, int | None]) -> None:
    """Give a tenant a plan, and what it has instead of the plan's limits; for operators.

    What is there beyond a new limit stays. Raises `NotFound`, and `InvalidInput` for what no plan limits.
    """
    if unknown := sorted(set(overrides) - set(LIMITED)):
        raise InvalidInput(f"no plan limits {', '.join(unknown)}; there are {', '.join(LIMITED)}")
    if plan not in {row.name for row in await list_plans(session)}:
        raise NotFound(f"There is no plan {plan}.")
    values = {"plan": plan, "plan_overrides": dict(overrides)}
    changed = await session.execute(update(Tenant).where(Tenant.id == tenant_id).values(values).returning(Tenant.id))
    if changed.scalar_one_or_none() is None:
        raise NotFound(f"There is no tenant {tenant_id}.")


def limit_reached(error: BaseException) -> PlanLimitReached | None:
    """Return what a database's error says of a plan's limit, if it does."""
    cause: Any = getattr(error, "orig", None) or error
    if getattr(cause, "sqlstate", None) != _REACHED:
        return None
    return PlanLimitReached(str(cause.diag.message_primary))
