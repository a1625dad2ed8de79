"""`upgrades.advance`: every five seconds, what is to be done about the plan that is under way is decided and done.

All of it is one transaction under the plan's lock: words to servers are rows (fleet/commands.py), which go out after.
"""

import datetime as dt
import uuid

from procrastinate import App
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock
from control_plane.fleet.commands import CommandOrder, request_command
from control_plane.upgrades.decide import Decision, Plan, decide
from control_plane.upgrades.facts import load_facts, remember_past
from control_plane.upgrades.failing_checks import forget_recovered
from control_plane.upgrades.payloads import Payload, payload_of
from control_plane.upgrades.states import UNDER_WAY, PlanState, ServerState
from db.models import Upgrade, VpsServer
from db.session import Database
from protos.agent.v1.commands_pb2 import Command, FlushQueue

#: Of its own, so that nothing else holds it up.
UPGRADES_QUEUE = "upgrades"
#: For a server to take up what is left of its queue.
_FLUSH_LIFE = dt.timedelta(minutes=5)

_MOVE = text(
    "UPDATE upgrade_servers SET state = :state, reason = nullif(:reason, ''), since = :now"
    " WHERE upgrade_id = :upgrade AND vps_id = :vps"
)


async def advance_upgrade(session: AsyncSession, now: dt.datetime) -> PlanState | None:
    """Do what is due about the plan that is under way and return how it stands now; None when there is none."""
    under_way = select(Upgrade).where(Upgrade.state.in_(UNDER_WAY)).with_for_update(skip_locked=True)
    row = await session.scalar(under_way.execution_options(populate_existing=True))
    if row is None:
        return None
    payload = await payload_of(session, row)
    await forget_recovered(session, row.id)
    decision = decide(_plan(row, payload), await load_facts(session, row.id, payload, now), now)
    await _carry_out(session, row, payload, decision, now)
    return decision.plan.state


def add_upgrade_jobs(app: App, database: Database, clock: Clock) -> None:
    """Add `upgrades.advance`."""

    @app.periodic(cron="* * * * * */5")
    @app.task(name="upgrades.advance", queue=UPGRADES_QUEUE, queueing_lock="upgrades.advance")
    async def upgrade_advanced(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        async with database.system() as session:
            await advance_upgrade(session, clock())


def _plan(row: Upgrade, payload: Payload) -> Plan:
    return Plan(
        payload=payload.name,
        state=PlanState(row.state),
        ring=row.ring,
        rings=row.rings,
        ring_since=row.ring_since,
        soak=dt.timedelta(seconds=row.soak_seconds),
        patience=dt.timedelta(seconds=row.patience_seconds),
        minimum_sends=row.minimum_sends,
        reason=row.reason or "",
        goes_back_by_itself=payload.goes_back_by_itself,
    )


async def _carry_out(
    session: AsyncSession, row: Upgrade, payload: Payload, decision: Decision, now: dt.datetime
) -> None:
    asked = [move.vps_id for move in decision.moves if move.state is ServerState.ASKED]
    if asked:
        await remember_past(session, row.id, asked, now)
    for move in decision.moves:
        moved = {"state": move.state.value, "reason": move.reason, "now": now, "upgrade": row.id, "vps": move.vps_id}
        await session.execute(_MOVE, moved)
        if move.state is ServerState.REVERTED:
            await _flush(session, row, move.vps_id)
    for vps_id, word in decision.words:
        await payload.tell(session, row, vps_id, word, now)
    plan = decision.plan
    row.state, row.ring, row.ring_since, row.reason = plan.state.value, plan.ring, plan.ring_since, plan.reason or None
    if plan.state not in UNDER_WAY:
        row.ended_at = now
        await payload.end(session, plan.state, now)
    await session.flush()


async def _flush(session: AsyncSession, row: Upgrade, vps_id: uuid.UUID) -> None:
    """Have a server try at once what was deferred meanwhile: by itself it would wait, up to over an hour."""
    server = await session.get_one(VpsServer, vps_id)
    flush = Command(flush_queue=FlushQueue())
    await request_command(session, CommandOrder(server.tenant_id, vps_id, flush, f"upgrade {row.id}", _FLUSH_LIFE))
