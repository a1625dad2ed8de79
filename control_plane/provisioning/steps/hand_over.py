"""Hand the sends that wait for a server that goes away to the servers that their inboxes are on now."""

from datetime import timedelta

from sqlalchemy import text

from control_plane.pipelines.step import Done, NothingToUndo, Outcome, Wait
from control_plane.provisioning.environment import StepContext

# Only what is surely unsent: never leased, or told by its server under its last lease to be unsent
# (messages/cancel.py). What a server was silent about stays with it, and ends as the sweep says.
_WAITING = """
    FROM messages m
    JOIN inboxes i ON i.tenant_id = m.tenant_id AND i.id = m.inbox_id
    JOIN vps_servers v ON v.tenant_id = i.tenant_id AND v.id = i.vps_id
    WHERE m.vps_id = :vps AND m.state = 'accepted' AND m.silent_since IS NULL
      AND i.vps_id <> :vps AND i.status <> 'deleting' AND v.status = 'ready' AND v.draining_since IS NULL
"""
# The claim takes the same row locks and looks at the state under them.
_HAND_OVER = text(f"""
WITH waiting AS (
    SELECT m.tenant_id, m.id, i.vps_id
    {_WAITING}
    LIMIT :page
    FOR NO KEY UPDATE OF m SKIP LOCKED
), moved AS (
    UPDATE messages m SET vps_id = waiting.vps_id
    FROM waiting
    WHERE m.tenant_id = waiting.tenant_id AND m.id = waiting.id
    RETURNING m.tenant_id, m.id, m.isolated
), told AS (
    INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
    SELECT tenant_id, id, isolated, gen_random_uuid(), 'requeued', now(), true,
           jsonb_build_object('detail', 'its server goes away, and another has its inbox')
    FROM moved
)
SELECT count(*), pg_notify('sends_ready', '') FROM moved
""")  # noqa: S608 - of our own words only
# What others have locked is passed over, and would end with its server.
_LEFT = text(f"SELECT count(*) {_WAITING}")
_PAUSE_SECONDS = 0.3
_PAGE = 1000


class HandOver(NothingToUndo):
    """Page by page; what is done stays done, whoever goes on with the rest."""

    name = "hand_over"
    patience = timedelta(minutes=30)

    async def run(self, context: StepContext) -> Outcome:
        """Move until there is nothing more to move."""
        total = 0
        while moved := await self._page(context):
            total += moved
        async with context.environment.database.system() as session:
            left = await session.scalar(_LEFT, {"vps": context.subject_id})
        return (
            Wait(f"{left} sends are being changed by others", _PAUSE_SECONDS) if left else Done({"handed_over": total})
        )

    async def _page(self, context: StepContext) -> int:
        await context.fence()
        async with context.environment.database.system() as session:
            moved, _ = (await session.execute(_HAND_OVER, {"vps": context.subject_id, "page": _PAGE})).one()
        return int(moved)
