"""When servers back their mailboxes up: each once a day, at a time of day of its own, which its id gives.

The control plane asks, and the server's report says what came of it. What failed, or was not heard of, is asked for
again an hour later.
"""

import datetime as dt
import hashlib
import uuid

from procrastinate import App
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.backups.results import BACKUPS_QUEUE
from control_plane.clock import Clock
from control_plane.fleet.commands import CommandOrder, request_command
from db.session import Database
from protos.agent.v1.commands_pb2 import BackUpMail, Command

_DAY = dt.timedelta(days=1)
_AGAIN = dt.timedelta(hours=1)
#: Servers that are asked in one minute: whoever sets a place for a thousand servers has them begin within the hour.
MOST_AT_ONCE = 20

_SERVERS = text(
    "SELECT v.id, v.tenant_id, c.created_at AS asked_at,"
    " to_timestamp((r.report -> 'mail_backup' ->> 'good_ms')::bigint / 1000.0) AS good_at"
    " FROM mail_backup_targets t JOIN vps_servers v ON v.tenant_id = t.tenant_id"
    " LEFT JOIN vps_reports r ON r.vps_id = v.id"
    " LEFT JOIN LATERAL (SELECT created_at FROM server_commands WHERE vps_id = v.id AND kind = 'back_up_mail'"
    "  AND created_at >= t.set_at ORDER BY created_at DESC LIMIT 1) c ON true"
    " WHERE t.removed_at IS NULL AND v.status = 'ready' AND v.link_session IS NOT NULL"
    " ORDER BY c.created_at NULLS FIRST, v.id"
)


def slot(vps_id: uuid.UUID, now: dt.datetime) -> dt.datetime:
    """Return the last time that was a server's time of day. Pure."""
    drawn = int.from_bytes(hashlib.sha256(vps_id.bytes).digest()[:4])
    today = now.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY * (drawn / 2**32)
    return today if today <= now else today - _DAY


def is_due(vps_id: uuid.UUID, good_at: dt.datetime | None, asked_at: dt.datetime | None, now: dt.datetime) -> bool:
    """Say whether a server is to be asked. Pure."""
    last = slot(vps_id, now)
    if good_at is not None and good_at >= last:
        return False
    return asked_at is None or now - asked_at >= _AGAIN


async def ask_servers(session: AsyncSession, now: dt.datetime) -> list[uuid.UUID]:
    """Ask those that are due, and return them; system role."""
    rows = (await session.execute(_SERVERS)).all()
    due = [row for row in rows if is_due(row.id, row.good_at, row.asked_at, now)][:MOST_AT_ONCE]
    for row in due:
        command = Command(back_up_mail=BackUpMail())
        await request_command(session, CommandOrder(row.tenant_id, row.id, command, "backups"))
    return [row.id for row in due]


def add_mailbox_jobs(app: App, database: Database, clock: Clock) -> None:
    """Add `backups.mailboxes`, every minute."""

    @app.periodic(cron="* * * * *")
    @app.task(name="backups.mailboxes", queue=BACKUPS_QUEUE, queueing_lock="backups.mailboxes")
    async def mailboxes_asked_for(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        async with database.system() as session:
            await ask_servers(session, clock())
