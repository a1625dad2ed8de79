"""Cancel sends that nobody has taken yet.

Surely unsent is a send that was never leased, and one whose server told that it submitted nothing under its last lease.
Another that is waiting again may have been submitted by a server that then fell silent: its news can come late, and to
call it cancelled meanwhile would be a lie.
"""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.tenancy.scope import TenantScope

# The update takes the row's lock and looks at the state under it, as the claim does: one of the two comes first, and
# the other then finds the send not waiting any more.
_CANCEL_ONE = text("""
WITH cancelled AS (
    UPDATE messages SET state = 'cancelled', state_reason = :reason, final_at = now()
    WHERE tenant_id = :tenant_id AND id = :id AND state = 'accepted' AND silent_since IS NULL
    RETURNING id, isolated
)
INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
SELECT :tenant_id, id, isolated, gen_random_uuid(), 'cancelled', now(), true,
    jsonb_build_object('detail', CAST(:reason AS text))
FROM cancelled
RETURNING message_id
""")

_STATE = text("SELECT state FROM messages WHERE tenant_id = :tenant_id AND id = :id")

# Of an inbox, or to a recipient. Locked in the order in which events lock them, so that nobody waits in a circle.
_END = """
WITH chosen AS (
    SELECT m.id FROM messages m WHERE m.tenant_id = :tenant_id AND {chosen} AND m.state = 'accepted'
    ORDER BY m.id
    FOR NO KEY UPDATE
), ended AS (
    UPDATE messages m
    SET state = CASE WHEN silent_since IS NULL THEN 'cancelled' ELSE 'uncertain' END,
        state_reason = :reason
                       || CASE WHEN silent_since IS NULL THEN '' ELSE ' Its server had been silent about it.' END,
        final_at = now()
    FROM chosen WHERE m.tenant_id = :tenant_id AND m.id = chosen.id
    RETURNING m.id, m.isolated, m.state, m.state_reason
), recorded AS (
    INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
    SELECT :tenant_id, id, isolated, gen_random_uuid(), state, now(), true, jsonb_build_object('detail', state_reason)
    FROM ended
)
SELECT count(*) FROM ended
"""
_END_OF_INBOX = text(_END.format(chosen="m.inbox_id = :inbox_id"))
_END_TO_RECIPIENT = text(_END.format(chosen="m.recipient_folded = :address"))


async def cancel_send(session: AsyncSession, scope: TenantScope, message_id: uuid.UUID) -> None:
    """Cancel one send; raise `NotFound`, or `Conflict` when Postfix may have it or it has come to its end."""
    key = {"tenant_id": scope.tenant_id, "id": message_id}
    if (await session.execute(_CANCEL_ONE, {**key, "reason": "Cancelled on request."})).one_or_none() is not None:
        return
    state: str | None = await session.scalar(_STATE, key)
    if state is None:
        raise NotFound("There is no such message.")
    raise Conflict(f"The message cannot be cancelled: {_WHY.get(state, f'it is {state}, which is final.')}")


_WHY = {
    "accepted": "it is accepted and waits again after its server had taken it, so it may have been sent.",
    "queued": "it is queued, and its server may be handing it to Postfix now.",
    "relayed": "it is relayed: Postfix has it.",
    "dead": "it is dead: its server took it and never told what became of it.",
}


async def cancel_waiting_sends(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, reason: str) -> int:
    """End the inbox's sends that are not leased, with a sentence for the reason; return how many there were.

    Those that are surely unsent are cancelled. Nobody will lease the others again to find out: they are uncertain.
    """
    ended = await session.scalar(_END_OF_INBOX, {"tenant_id": scope.tenant_id, "inbox_id": inbox_id, "reason": reason})
    return int(ended or 0)


async def cancel_sends_to(session: AsyncSession, scope: TenantScope, address: str, reason: str) -> None:
    """End the sends to an address, in lower case, that are not leased, as `cancel_waiting_sends` does an inbox's."""
    key = {"tenant_id": scope.tenant_id, "address": address, "reason": reason}
    await session.execute(_END_TO_RECIPIENT, key)
