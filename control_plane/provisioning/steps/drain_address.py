"""Nobody sends by an address any more: its senders are bound elsewhere, and what was under way has gone out.

Postfix reads the table of senders whenever it takes a message up, so one that waits for its next attempt goes out by
the sender's new address. What an attempt that has begun may still take is bounded by `LONGEST_ATTEMPT`.
"""

import uuid
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.runs import start_run
from control_plane.pipelines.step import Done, NothingToUndo, Outcome, Result, Wait
from control_plane.pools.senders import BIND_RUN, bind, bound_to, inboxes_at, sender_row, start_bindings
from control_plane.pools.states import AddressState, move_address
from control_plane.provisioning.addresses import load_address
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.steps.apply_configuration import request_configuration

#: smtp_data_done_timeout, the longest that Postfix waits for one answer (600 s), and what leads up to it.
LONGEST_ATTEMPT = timedelta(minutes=15)

_QUEUE = text(
    "SELECT coalesce((r.report #>> '{postfix_queue,active}')::int, 0)"
    "  + coalesce((r.report #>> '{postfix_queue,incoming}')::int, 0) AS under_way,"
    " coalesce(r.received_at > s.finished_at AND r.report -> 'postfix_queue' IS NOT NULL, false) AS known,"
    " now() - s.finished_at > :longest AS over"
    " FROM pipeline_steps s LEFT JOIN vps_reports r ON r.vps_id = :vps"
    " WHERE s.run_id = :run AND s.name = 'apply_configuration'"
)


class UnbindSenders(NothingToUndo):
    """Let who is bound to the address send from the server's own, until a run finds it another of its pool."""

    name = "unbind_senders"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write it together with the step."""
        address = await load_address(context)

        async def unbind(session: AsyncSession) -> Result:
            inboxes = await bound_to(session, context.tenant_id, context.subject_id)
            for inbox_id in inboxes:
                await bind(session, context.tenant_id, inbox_id, None)
            await start_bindings(session, context.tenant_id, inboxes)
            return await request_configuration(session, address.vps_id)

        return Done(apply=unbind)


class AwaitDrained(NothingToUndo):
    """Wait until the server's Postfix has nothing under way, or could have nothing any more by this address."""

    name = "drain"
    patience = timedelta(hours=1)

    async def run(self, context: StepContext) -> Outcome:
        """Look at the last report that came after nobody was bound any more."""
        address = await load_address(context)
        key = {"vps": address.vps_id, "run": context.run.id, "longest": LONGEST_ATTEMPT}
        async with context.environment.database.system() as session:
            queue = (await session.execute(_QUEUE, key)).one()
        if queue.over or (queue.known and queue.under_way == 0):
            return Done({"under_way": queue.under_way})
        return Wait("mail may still be on its way out by the address", 1.0)


class LetAddressGo(NothingToUndo):
    """Have the server drop the address."""

    name = "let_go"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write it together with the step."""
        address = await load_address(context)

        async def let_go(session: AsyncSession) -> Result:
            await move_address(session, context.subject_id, AddressState.RELEASING)
            return await request_configuration(session, address.vps_id)

        return Done(apply=let_go)


class AddressReleased(NothingToUndo):
    """Say that it is gone, and have the SPF records of those who could send by it no longer list it."""

    name = "released"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write all of it together with the end of the run."""

        async def mark(session: AsyncSession) -> None:
            inboxes = await inboxes_at(session, context.tenant_id, context.subject_id)
            await move_address(session, context.subject_id, AddressState.RELEASED)
            for inbox_id in inboxes:
                await _renew_records(session, context.tenant_id, inbox_id)

        return Done(apply=mark)


async def _renew_records(session: AsyncSession, tenant_id: uuid.UUID, inbox_id: uuid.UUID) -> None:
    await start_run(session, tenant_id, BIND_RUN, await sender_row(session, tenant_id, inbox_id))
