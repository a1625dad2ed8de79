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
from control_plane.upgrades.decide import Decision, Plan, Word, decide
from control_plane.upgrades.facts import load_facts, remember_past
from control_plane.upgrades.states import UNDER_WAY, PlanState, ServerState
from db.models import Release, Upgrade
from db.session import Database
from protos.agent.v1.commands_pb2 import Command, ConfirmRelease, RollBackAgent, UpgradeAgent

#: Of its own, so that nothing else holds it up.
UPGRADES_QUEUE = "upgrades"
#: For which a server must do well after it was confirmed, before it says that the release is installed. It is watched
#: on by the plan, from here.
SERVER_SOAK = dt.timedelta(seconds=20)
#: A server that was away when it was told is told again.
_WORD_LIFE = dt.timedelta(seconds=20)

_MOVE = text(
    "UPDATE upgrade_servers SET state = :state, reason = nullif(:reason, ''), since = :now"
    " WHERE upgrade_id = :upgrade AND vps_id = :vps"
)
_TOLD = text(
    "UPDATE upgrade_servers SET told_at = :now WHERE upgrade_id = :upgrade AND vps_id = :vps RETURNING tenant_id"
)
_RELEASE_STATES = {PlanState.DONE: "proven", PlanState.ROLLED_BACK: "failed"}


async def advance_upgrade(session: AsyncSession, now: dt.datetime) -> PlanState | None:
    """Do what is due about the plan that is under way and return how it stands now; None when there is none."""
    under_way = select(Upgrade).where(Upgrade.state.in_(UNDER_WAY)).with_for_update(skip_locked=True)
    row = await session.scalar(under_way.execution_options(populate_existing=True))
    if row is None:
        return None
    release = await session.get_one(Release, row.release)
    decision = decide(_plan(row), await load_facts(session, row.id, now), now)
    await _carry_out(session, row, release, decision, now)
    return decision.plan.state


def add_upgrade_jobs(app: App, database: Database, clock: Clock) -> None:
    """Add `upgrades.advance`."""

    @app.periodic(cron="* * * * * */5")
    @app.task(name="upgrades.advance", queue=UPGRADES_QUEUE, queueing_lock="upgrades.advance")
    async def upgrade_advanced(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        async with database.system() as session:
            await advance_upgrade(session, clock())


def _plan(row: Upgrade) -> Plan:
    return Plan(
        release=row.release,
        state=PlanState(row.state),
        ring=row.ring,
        rings=row.rings,
        ring_since=row.ring_since,
        soak=dt.timedelta(seconds=row.soak_seconds),
        patience=dt.timedelta(seconds=row.patience_seconds),
        minimum_sends=row.minimum_sends,
        reason=row.reason or "",
    )


async def _carry_out(
    session: AsyncSession, row: Upgrade, release: Release, decision: Decision, now: dt.datetime
) -> None:
    asked = [move.vps_id for move in decision.moves if move.state is ServerState.ASKED]
    if asked:
        await remember_past(session, row.id, asked, now)
    for move in decision.moves:
        moved = {"state": move.state.value, "reason": move.reason, "now": now, "upgrade": row.id, "vps": move.vps_id}
        await session.execute(_MOVE, moved)
    for vps_id, word in decision.words:
        await _tell(session, row, vps_id, _command(word, release, row), now)
    plan = decision.plan
    row.state, row.ring, row.ring_since, row.reason = plan.state.value, plan.ring, plan.ring_since, plan.reason or None
    if plan.state not in UNDER_WAY:
        row.ended_at = now
        release.state = _RELEASE_STATES[plan.state]
    await session.flush()


async def _tell(session: AsyncSession, row: Upgrade, vps_id: uuid.UUID, command: Command, now: dt.datetime) -> None:
    tenant_id: uuid.UUID = (await session.execute(_TOLD, {"now": now, "upgrade": row.id, "vps": vps_id})).scalar_one()
    await request_command(session, CommandOrder(tenant_id, vps_id, command, f"upgrade {row.id}", _WORD_LIFE))


def _command(word: Word, release: Release, row: Upgrade) -> Command:
    match word:
        case Word.UPGRADE:
            deed = UpgradeAgent(
                release=release.name,
                manifest_sha256=release.manifest_sha256,
                signature=release.signature,
                certificate=release.certificate,
                patience_seconds=row.patience_seconds,
                soak_seconds=SERVER_SOAK.total_seconds(),
            )
            return Command(upgrade_agent=deed)
        case Word.CONFIRM:
            return Command(confirm_release=ConfirmRelease(release=release.name))
        case Word.ROLL_BACK:
            return Command(roll_back_agent=RollBackAgent(release=release.name))
