"""Erase what tenants have on data subjects, in the worker: all that personal_data.py lists, so many rows at a time.

Only sends in a final state are erased; those that a server has are waited for, and dead letters are ended. Each
transaction leaves what it erased erased, so a run that is cut short is gone on with by the next. The last one replaces
the address on the suppression list by its hash, and forgets it here too.
"""

import os
import uuid
from dataclasses import dataclass

from procrastinate import App
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.delivery.states import FINAL
from control_plane.messages.cancel import cancel_sends_to
from control_plane.messages.erased import ERASED
from control_plane.pipelines.jobs import UPKEEP_QUEUE
from control_plane.privacy.requests import WHY, alone_with
from control_plane.queuer.dead_letters import drop
from control_plane.tenancy.scope import TenantScope
from db.session import Database

#: Sends erased in one transaction, and transactions of one erasure in a run.
PAGE = 500
MOST_PAGES = 100

_KEY_BLOCK = 64
_OPEN = text("SELECT id, tenant_id, address FROM data_subject_erasures WHERE finished_at IS NULL ORDER BY requested_at")
_DEAD = text(
    "SELECT id FROM messages WHERE tenant_id = :tenant_id AND recipient_folded = :address AND state = 'dead' LIMIT 1000"
)
# What is counted stays: states, times, and codes of answers.
_ERASE = text("""
WITH page AS (
    SELECT m.tenant_id, m.id FROM messages m
    WHERE m.tenant_id = :tenant_id AND m.recipient_folded = :address AND m.state = ANY (:final)
    ORDER BY m.id LIMIT :page
    FOR NO KEY UPDATE
), told AS (
    UPDATE message_events e
    SET detail = jsonb_strip_nulls(jsonb_build_object(
        'queue_id', e.detail->'queue_id', 'enhanced_status', e.detail->'enhanced_status',
        'delay_seconds', e.detail->'delay_seconds'))
    FROM page WHERE e.tenant_id = page.tenant_id AND e.message_id = page.id
    RETURNING 1
), erased AS (
    UPDATE messages m
    SET recipient = CAST(:erased AS text), subject = CAST(:erased AS text), payload = '',
        state_reason = CASE WHEN m.state_reason IS NULL THEN NULL ELSE CAST(:erased AS text) END
    FROM page WHERE m.tenant_id = page.tenant_id AND m.id = page.id
    RETURNING 1
), counted AS (
    UPDATE data_subject_erasures
    SET messages = messages + (SELECT count(*) FROM erased), events = events + (SELECT count(*) FROM told)
    WHERE tenant_id = :tenant_id AND id = :id
)
SELECT count(*) FROM erased
""")
_LEFT = text("SELECT EXISTS (SELECT FROM messages WHERE tenant_id = :tenant_id AND recipient_folded = :address)")
_ERASE_TOLD = text("""
UPDATE tenant_events
SET data = data || jsonb_build_object('recipient', CAST(:erased AS text), 'detail', '{}'::jsonb)
WHERE tenant_id = :tenant_id AND lower(data->>'recipient') = :address
""")
_ERASE_LINES = text("""
UPDATE server_commands SET output = NULL
WHERE tenant_id = :tenant_id AND position(CAST(:address AS text) IN lower(output)) > 0
""")
_MAKE_KEY = text("""
INSERT INTO suppression_keys (tenant_id, inner_block, outer_block) VALUES (:tenant_id, :inner, :outer)
ON CONFLICT DO NOTHING
""")
_HASH = text("""
INSERT INTO suppressions AS s (tenant_id, address, reason, source)
SELECT k.tenant_id, erased_address(k.inner_block, k.outer_block, :address), 'erasure', 'erasure'
FROM suppression_keys k WHERE k.tenant_id = :tenant_id
ON CONFLICT (tenant_id, address) DO UPDATE SET removed_at = NULL
""")
_FORGET = text("DELETE FROM suppressions WHERE tenant_id = :tenant_id AND address = :address")
_FINISH = text(
    "UPDATE data_subject_erasures SET address = NULL, finished_at = now()"
    " WHERE tenant_id = :tenant_id AND id = :id AND finished_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class _Erasure:
    id: uuid.UUID
    tenant_id: uuid.UUID
    address: str

    @property
    def of(self) -> dict[str, object]:
        return {"id": self.id, "tenant_id": self.tenant_id, "address": self.address}


async def erase_data_subjects(database: Database) -> int:
    """Go on with all erasures that were asked for; return how many came to their end."""
    async with database.system() as session:
        erasures = [_Erasure(row.id, row.tenant_id, row.address) for row in await session.execute(_OPEN)]
    return sum([await _go_on(database, erasure) for erasure in erasures])


def hash_blocks(key: bytes) -> tuple[bytes, bytes]:
    """Return the blocks that HMAC-SHA256 hashes before and after with a key of at most 64 bytes (RFC 2104)."""
    whole = key.ljust(_KEY_BLOCK, b"\0")
    return bytes(octet ^ 0x36 for octet in whole), bytes(octet ^ 0x5C for octet in whole)


async def _go_on(database: Database, erasure: _Erasure) -> bool:
    async with database.system() as session:
        await cancel_sends_to(session, TenantScope(erasure.tenant_id, frozenset()), erasure.address, WHY)
        await drop(session, (await session.scalars(_DEAD, erasure.of)).all())
    final = {"final": [state.value for state in FINAL], "erased": ERASED, "page": PAGE}
    for _ in range(MOST_PAGES):
        async with database.system() as session:
            if await session.scalar(_ERASE, erasure.of | final) < PAGE:
                break
    async with database.system() as session:
        await alone_with(session, erasure.tenant_id, erasure.address)
        if await session.scalar(_LEFT, erasure.of):
            return False
        await _finish(session, erasure)
    return True


async def _finish(session: AsyncSession, erasure: _Erasure) -> None:
    inner, outer = hash_blocks(os.urandom(32))
    await session.execute(_ERASE_TOLD, erasure.of | {"erased": ERASED})
    await session.execute(_ERASE_LINES, erasure.of)
    await session.execute(_MAKE_KEY, {"tenant_id": erasure.tenant_id, "inner": inner, "outer": outer})
    for statement in (_HASH, _FORGET, _FINISH):
        await session.execute(statement, erasure.of)


def add_privacy_jobs(app: App, database: Database) -> None:
    """Add `privacy.erase`, every minute."""

    @app.periodic(cron="* * * * *")
    @app.task(name="privacy.erase", queue=UPKEEP_QUEUE, queueing_lock="privacy.erase")
    async def data_subjects_erased(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await erase_data_subjects(database)
