"""What operators do about alerts, each act recorded with it: REST and the command line both come through here."""

import datetime as dt
import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.alerts import silences
from control_plane.alerts.channels import channels
from control_plane.alerts.channels.channels import NewChannel
from control_plane.alerts.silences import Silenced
from control_plane.monitoring import alerts
from control_plane.operators.acts import Act, Actor, record
from control_plane.operators.rule_files import RuleFiles
from control_plane.sealing import Sealer
from db.models import Alert, AlertChannel, AlertSilence


async def acknowledge(session: AsyncSession, actor: Actor, alert_id: uuid.UUID, now: dt.datetime) -> Alert:
    """Note that somebody looks at an alert; raise `NotFound` for one that is not open."""
    alert = await alerts.acknowledge(session, alert_id, actor.name, now)
    await record(session, actor, Act.ACKNOWLEDGE, {"alert_id": alert_id, "vps_id": alert.vps_id, "rule": alert.rule})
    return alert


async def silence(
    session: AsyncSession,
    actor: Actor,
    rules: RuleFiles,
    what: Silenced,
    until: dt.datetime,
    *,
    reason: str,
    now: dt.datetime,
) -> AlertSilence:
    """Have nobody told for a while. Raises `InvalidInput` and `NotFound`."""
    names = rules.names_of_alerts()
    row = await silences.silence(session, what, until, rules=names, reason=reason, by=actor.name, now=now)
    subject = {"silence_id": row.id, "tenant_id": what.tenant_id, "vps_id": what.vps_id, "rule": what.rule}
    await record(session, actor, Act.SILENCE, {**subject, "until": until.isoformat()}, reason)
    return row


async def end_silence(session: AsyncSession, actor: Actor, silence_id: uuid.UUID) -> None:
    """Take a silence back; raise `NotFound`."""
    await silences.end_silence(session, silence_id)
    await record(session, actor, Act.END_SILENCE, {"silence_id": silence_id})


async def add_channel(
    session: AsyncSession, actor: Actor, master: Sealer, new: NewChannel
) -> tuple[AlertChannel, str | None]:
    """Add a channel; return it, and once the secret of a webhook. Raises `InvalidInput` and `Conflict`."""
    channel, secret = await channels.add_channel(session, master, new)
    await record(session, actor, Act.ADD_CHANNEL, {"channel_id": channel.id, "name": new.name, "kind": new.kind})
    return channel, secret


async def remove_channel(session: AsyncSession, actor: Actor, name: str) -> None:
    """Remove a channel; raise `NotFound`."""
    channel_id = await channels.remove_channel(session, name)
    await record(session, actor, Act.REMOVE_CHANNEL, {"channel_id": channel_id, "name": name})


async def test_channel(session: AsyncSession, actor: Actor, name: str) -> uuid.UUID:
    """Try a channel; return the notice's id; raise `NotFound`."""
    notice_id = await channels.test_channel(session, name)
    await record(session, actor, Act.TEST_CHANNEL, {"notice_id": notice_id, "name": name})
    return notice_id
