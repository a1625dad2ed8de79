"""Plans as operators make, apply, abort and see them; system role."""

import datetime as dt
import math
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.upgrades.payloads import payload_of
from control_plane.upgrades.releases import find_release
from control_plane.upgrades.states import PlanState
from db.by_time import Place, newest_first
from db.models import Upgrade, UpgradeServer

#: Canaries that are chosen when none are named, and the second ring's share of all servers.
_CANARIES = 1
_SECOND_SHARE = 0.1

# A release that is not given is of no matter.
_SERVERS = text(
    "SELECT id, tenant_id FROM vps_servers WHERE status = 'ready'"
    " AND (CAST(:release AS text) IS NULL OR agent_version IS DISTINCT FROM :release)"
    " ORDER BY link_session IS NULL, md5(id::text || :salt)"
)


@dataclass(frozen=True, slots=True)
class Pace:
    """Attempts to deliver, or the time, for which each ring is watched; and what a server gets to begin with it."""

    minimum_sends: int = 200
    soak: dt.timedelta = dt.timedelta(minutes=30)
    patience: dt.timedelta = dt.timedelta(minutes=3)


#: As it is when nothing else is asked for.
PACE = Pace()


@dataclass(frozen=True, slots=True)
class Wish:
    """A release's name or version, the servers of the first ring (one is chosen for none), and how carefully."""

    version: str
    canaries: Collection[uuid.UUID] = ()
    pace: Pace = PACE


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan with its servers, by ring."""

    plan: Upgrade
    servers: Sequence[UpgradeServer]


def rings_of(servers: Sequence[uuid.UUID], canaries: Collection[uuid.UUID]) -> list[list[uuid.UUID]]:
    """Return the rings: the canaries, a tenth of all, and the rest; none of them is empty."""
    first = [each for each in servers if each in canaries] if canaries else list(servers[:_CANARIES])
    others = [each for each in servers if each not in set(first)]
    tenth = math.ceil(len(servers) * _SECOND_SHARE)
    return [ring for ring in (first, others[:tenth], others[tenth:]) if ring]


async def make_plan(session: AsyncSession, wish: Wish, requested_by: str) -> Upgrade:
    """Choose the servers that do not run a release, in rings. Nothing happens before it is applied.

    Raises `NotFound` for a release or canary that there is not, `InvalidInput` when no server needs it, and `Conflict`
    for a release that a plan was rolled back for.
    """
    release = await find_release(session, wish.version)
    if release.state == "failed":
        raise Conflict(f"The release {release.name} was rolled back before; make another.")
    plan = Upgrade(id=uuid.uuid4(), release=release.name, requested_by=requested_by)
    return await add_plan(session, plan, wish.canaries, wish.pace)


async def add_plan(session: AsyncSession, plan: Upgrade, canaries: Collection[uuid.UUID], pace: Pace) -> Upgrade:
    """Choose the servers that need a plan's payload, in rings, and keep it. Raises `NotFound` and `InvalidInput`."""
    rows = (await session.execute(_SERVERS, {"release": plan.release, "salt": str(plan.id)})).all()
    tenants = {row.id: row.tenant_id for row in rows}
    if unknown := set(canaries) - set(tenants):
        raise NotFound(f"There is no server {unknown.pop()} that is ready and needs it.")
    if not tenants:
        raise InvalidInput("No server needs it.", "/canaries")
    rings = rings_of(list(tenants), canaries)
    plan.rings = len(rings)
    plan.minimum_sends = pace.minimum_sends
    plan.soak_seconds = pace.soak.total_seconds()
    plan.patience_seconds = pace.patience.total_seconds()
    session.add(plan)
    await session.flush()
    for number, ring in enumerate(rings):
        for vps_id in ring:
            session.add(UpgradeServer(upgrade_id=plan.id, vps_id=vps_id, tenant_id=tenants[vps_id], ring=number))
    await session.flush()
    await session.refresh(plan)
    return plan


async def apply_plan(session: AsyncSession, upgrade_id: uuid.UUID) -> Upgrade:
    """Let it begin; raise `NotFound`, and `Conflict` when it has begun, another is under way, or it is out of date."""
    plan = await _locked(session, upgrade_id)
    if plan.state != PlanState.PLANNED:
        raise Conflict(f"The plan is {plan.state} and not planned.")
    await (await payload_of(session, plan)).check(session)
    plan.state = PlanState.RUNNING
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict("Another plan is under way; abort it, or wait for its end.") from error
    return plan


async def abort_plan(session: AsyncSession, upgrade_id: uuid.UUID, requested_by: str) -> Upgrade:
    """Take it back, on servers that have the release too; raise `NotFound`, and `Conflict` when it is over."""
    plan = await _locked(session, upgrade_id)
    match plan.state:
        case PlanState.PLANNED:
            plan.state = PlanState.ABORTED
        case PlanState.RUNNING:
            plan.state, plan.reason = PlanState.ROLLING_BACK, f"aborted by {requested_by}"
        case PlanState.ROLLING_BACK:
            pass
        case state:
            raise Conflict(f"The plan is {state}.")
    await session.flush()
    return plan


async def list_plans(session: AsyncSession, after: Place | None, limit: int) -> Sequence[Upgrade]:
    """Return a page of plans, newest first."""
    query = newest_first(select(Upgrade), Upgrade.created_at, Upgrade.id, after)
    return (await session.scalars(query.limit(limit))).all()


async def show_plan(session: AsyncSession, upgrade_id: uuid.UUID) -> PlanView:
    """Return a plan with its servers; raise `NotFound`."""
    plan = await session.get(Upgrade, upgrade_id, populate_existing=True)
    if plan is None:
        raise NotFound("There is no such plan.")
    query = select(UpgradeServer).where(UpgradeServer.upgrade_id == upgrade_id)
    ordered = query.order_by(UpgradeServer.ring, UpgradeServer.vps_id).execution_options(populate_existing=True)
    return PlanView(plan, (await session.scalars(ordered)).all())


async def _locked(session: AsyncSession, upgrade_id: uuid.UUID) -> Upgrade:
    query = select(Upgrade).where(Upgrade.id == upgrade_id).with_for_update().execution_options(populate_existing=True)
    plan = await session.scalar(query)
    if plan is None:
        raise NotFound("There is no such plan.")
    return plan
