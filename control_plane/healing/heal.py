"""`healing.heal`: every five seconds, what is to be done about servers that are not well is decided and done.

All of it is one transaction: words to servers are rows (fleet/commands.py), which go out after. Whatever is done is a
row of `healing_acts` with its reason, and an alert of the rule `healing.<rule>`, which ends with the reason. When the
budget is spent, `healing.<rule>.spent` calls a person.
"""

import datetime as dt
from collections.abc import Sequence
from datetime import timedelta

from procrastinate import App
from sqlalchemy import ColumnElement, and_, exists, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock
from control_plane.fleet.commands import CommandOrder, request_command
from control_plane.healing.decide import BUDGET_TIME, ActState, Begin, End, Past, Spent, decide
from control_plane.healing.look import look_at_servers
from control_plane.healing.rules import COMMANDS, STANDING, HealingAct, Rule
from control_plane.monitoring.alert_states import AlertState
from control_plane.monitoring.alerts import HEALING
from db.ids import uuid7
from db.models import Alert, HealingActRow, HealingCondition, VpsServer
from db.session import Database
from protos.agent.v1.commands_pb2 import Command, FlushQueue, RestartMailServer, ShedDisk

#: Of its own, so that nothing else holds it up.
HEALING_QUEUE = "healing"
#: A server that cannot be told within it is looked at again.
_WORD_LIFE = timedelta(seconds=30)
_SLOWED = 2
_COMMANDS = {
    HealingAct.RESTART_MAIL_SERVER: Command(restart_mail_server=RestartMailServer()),
    HealingAct.FLUSH_QUEUE: Command(flush_queue=FlushQueue()),
    HealingAct.SHED_DISK: Command(shed_disk=ShedDisk()),
}
_WORDS = {
    HealingAct.RESTART_MAIL_SERVER: "Its mail server is restarted",
    HealingAct.FLUSH_QUEUE: "Its Postfix tries at once what it has deferred",
    HealingAct.SHED_DISK: "Its disk is cleared of packages, journal and old logs",
    HealingAct.HOLD_QUEUE: "Nothing more is leased to it until its queue has shrunk",
    HealingAct.SLOW_SENDING: "Its inboxes send half of their daily limits",
    HealingAct.QUARANTINE: "It is quarantined: nothing is leased to it",
    HealingAct.HAND_ON: "What was leased to it goes back as its leases end",
}

_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('healing', 0))")
# What a command came to; of one that is gone with its server's tenant nothing more is expected.
_SETTLE = text(
    "UPDATE healing_acts a SET state = CASE c.state WHEN 'done' THEN 'done' ELSE 'failed' END, ended_at = :now,"
    " detail = CASE WHEN c.state = 'done' THEN c.detail ELSE c.state || ': ' || coalesce(c.detail, '') END"
    " FROM server_commands c WHERE c.id = a.command_id AND a.state = 'asked' AND c.state NOT IN ('waiting', 'sent')"
)
# An operator takes a pause back like any other (rest/operators/pauses.py).
_TAKEN_BACK = text(
    "UPDATE healing_acts a SET state = 'ended', ended_at = p.resumed_at, ended_by = 'an operator',"
    " detail = 'its pause was taken back' FROM pauses p"
    " WHERE p.healing_act_id = a.id AND a.state = 'standing' AND p.resumed_at IS NOT NULL"
)
_PAUSE = text(
    "INSERT INTO pauses (tenant_id, vps_id, reason, by_operator, healing_act_id)"
    " VALUES (:tenant, :vps, :reason, true, :act)"
)
_RESUME = text("UPDATE pauses SET resumed_at = now() WHERE healing_act_id = :act AND resumed_at IS NULL")
_WAKE = text("SELECT pg_notify('sends_ready', '')")
_PACE = text(
    "UPDATE vps_servers v SET send_divisor = CASE WHEN EXISTS (SELECT FROM healing_acts a WHERE a.vps_id = v.id"
    " AND a.act = 'slow_sending' AND a.state = 'standing') THEN CAST(:slowed AS integer) ELSE 1 END WHERE v.id = :vps"
)
_LEASED = text("SELECT count(*) FROM messages WHERE vps_id = :vps AND state = 'queued'")
_OLD = text("DELETE FROM healing_acts WHERE ended_at < CAST(:now AS timestamptz) - interval '90 days'")


async def heal(session: AsyncSession, rules: Sequence[Rule], now: dt.datetime) -> None:
    """Do what is due; nothing while another does. System role."""
    if not await session.scalar(_TURN):
        return
    for statement in (_SETTLE, _TAKEN_BACK, _OLD):
        await session.execute(statement, {"now": now} if statement is not _TAKEN_BACK else {})
    servers = await look_at_servers(session, rules, now)
    for move in decide(rules, servers, await _history(session, now), now):
        match move:
            case Begin():
                await _begin(session, move, now)
            case End(act_id, why):
                await end_act(session, await session.get_one(HealingActRow, act_id), now, why)
            case Spent(_, rule, reason):
                words = f"{_WORDS[rule.act]} no more: that was done {rule.budget} times within an hour. {reason}"
                await _tell(session, move, "critical", words, now)
    await _end_alerts(session, now)


def add_healing_jobs(app: App, database: Database, rules: Sequence[Rule], clock: Clock) -> None:
    """Add `healing.heal`."""

    @app.periodic(cron="* * * * * */5")
    @app.task(name="healing.heal", queue=HEALING_QUEUE, queueing_lock="healing.heal")
    async def healed(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        async with database.system() as session:
            await heal(session, rules, clock())


async def end_act(session: AsyncSession, row: HealingActRow, now: dt.datetime, why: str, by: str | None = None) -> None:
    """Take back what stands, and wake the queuers when the transaction commits."""
    row.state, row.ended_at, row.detail, row.ended_by = ActState.ENDED.value, now, why, by
    await session.flush()
    await session.execute(_RESUME, {"act": row.id})
    await session.execute(_PACE, {"vps": row.vps_id, "slowed": _SLOWED})
    await session.execute(_WAKE)


async def _begin(session: AsyncSession, move: Begin, now: dt.datetime) -> None:
    rule = move.rule
    tenant_id = (await session.execute(select(VpsServer.tenant_id).where(VpsServer.id == move.vps_id))).scalar_one()
    row = HealingActRow(
        id=uuid7(),
        tenant_id=tenant_id,
        vps_id=move.vps_id,
        rule=rule.name,
        act=rule.act.value,
        reason=move.reason,
        state=ActState.STANDING.value if rule.act in STANDING else ActState.ASKED.value,
        began_at=now,
    )
    if rule.act in COMMANDS:
        order = CommandOrder(tenant_id, move.vps_id, _COMMANDS[rule.act], f"healing {rule.name}", _WORD_LIFE)
        row.command_id = await request_command(session, order)
    elif rule.act is HealingAct.HAND_ON:
        leased = await session.scalar(_LEASED, {"vps": move.vps_id})
        row.state, row.ended_at = ActState.DONE.value, now
        row.detail = f"{leased} sends were leased to it; each is another's when its lease has ended"
    session.add(row)
    await session.flush()
    if rule.act is HealingAct.SLOW_SENDING:
        await session.execute(_PACE, {"vps": move.vps_id, "slowed": _SLOWED})
    elif rule.act in STANDING:
        reason = "quarantined" if rule.act is HealingAct.QUARANTINE else "held"
        pause = {"tenant": tenant_id, "vps": move.vps_id, "reason": f"{reason}: {move.reason}"[:500], "act": row.id}
        await session.execute(_PAUSE, pause)
    severity = "critical" if rule.act is HealingAct.QUARANTINE else "warning" if rule.act in STANDING else "notice"
    await _tell(session, move, severity, f"{_WORDS[rule.act]}. {move.reason}", now)


async def _history(session: AsyncSession, now: dt.datetime) -> list[Past]:
    """Return what matters still: what is not over, or was begun within the hour or its condition."""
    in_condition = exists().where(
        HealingCondition.vps_id == HealingActRow.vps_id,
        HealingCondition.rule == HealingActRow.rule,
        HealingCondition.began_at <= HealingActRow.began_at,
    )
    matters = or_(HealingActRow.ended_at.is_(None), HealingActRow.began_at > now - BUDGET_TIME, in_condition)
    rows = await session.scalars(select(HealingActRow).where(matters).execution_options(populate_existing=True))
    return [
        Past(row.id, row.vps_id, row.rule, ActState(row.state), row.began_at, row.ended_at, row.ended_by is not None)
        for row in rows
    ]


def _is_open() -> ColumnElement[bool]:
    return and_(Alert.rule.like(f"{HEALING}%"), Alert.state != AlertState.RESOLVED.value)


async def _tell(session: AsyncSession, move: Begin | Spent, severity: str, sentence: str, now: dt.datetime) -> None:
    """Open an alert, or say it in the one that is open: channels are told once of each reason."""
    vps_id, rule = move.vps_id, f"{HEALING}{move.rule.name}{'.spent' if isinstance(move, Spent) else ''}"
    changed = await session.execute(
        update(Alert)
        .where(_is_open(), Alert.vps_id == vps_id, Alert.rule == rule)
        .values(sentence=sentence)
        .returning(Alert.id)
    )
    if changed.first() is None:
        tenant_id = (await session.execute(select(VpsServer.tenant_id).where(VpsServer.id == vps_id))).scalar_one()
        session.add(
            Alert(
                id=uuid7(),
                tenant_id=tenant_id,
                vps_id=vps_id,
                rule=rule,
                severity=severity,
                state=AlertState.OPEN.value,
                sentence=sentence,
                since=now,
                opened_at=now,
            )
        )
        await session.flush()


async def _end_alerts(session: AsyncSession, now: dt.datetime) -> None:
    """End the alerts whose reason is over and of which nothing stands any more."""
    standing = exists().where(
        HealingActRow.vps_id == Alert.vps_id,
        Alert.rule == HEALING + HealingActRow.rule,
        HealingActRow.ended_at.is_(None),
    )
    holds = exists().where(
        HealingCondition.vps_id == Alert.vps_id,
        Alert.rule.in_([HEALING + HealingCondition.rule, HEALING + HealingCondition.rule + ".spent"]),
    )
    over = update(Alert).where(_is_open(), ~standing, ~holds)
    await session.execute(over.values(state=AlertState.RESOLVED.value, resolved_at=now))
