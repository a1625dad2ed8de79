"""Take leave of the server that inboxes were on: pass their mail on until nobody brings it any there, then forget them.

From here on there is no way back that loses nothing, so what cannot be done waits for a person.
"""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.generate import generate_records
from control_plane.dns.judge import Verdict
from control_plane.dns.verify import verify_inbox
from control_plane.pipelines.step import Done, NothingToUndo, Outcome, Result, Wait
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.moves import LONGEST_FOR_EACH, ask_for_each, ask_server, load_move
from control_plane.provisioning.steps.apply_configuration import request_configuration
from control_plane.provisioning.steps.move_inbox import change_source
from protos.agent.v1.commands_pb2 import Command, DeleteMailbox, FlushQueue

# As in hand_over.py: only what is surely unsent.
_HAND_OVER = text("""
WITH moved AS (
    UPDATE messages SET vps_id = :target
    WHERE tenant_id = :tenant AND inbox_id = ANY(:inboxes) AND vps_id = :source
      AND state = 'accepted' AND silent_since IS NULL
    RETURNING tenant_id, id, isolated
), told AS (
    INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
    SELECT tenant_id, id, isolated, gen_random_uuid(), 'requeued', now(), true,
           jsonb_build_object('detail', 'its inbox has moved to another server')
    FROM moved
)
SELECT count(*), pg_notify('sends_ready', '') FROM moved
""")
_LEFT = text(
    "SELECT count(*) FROM messages WHERE tenant_id = :tenant AND inbox_id = ANY(:inboxes) AND vps_id = :source"
    " AND state IN ('accepted', 'queued')"
)
_FORWARD_UNTIL = text(
    "UPDATE inbox_moves SET forward_until = coalesce(forward_until, now() + :life) WHERE id = ANY(:ids)"
)
_PASS_ON = text("UPDATE inbox_moves SET state = 'forwarding' WHERE id = ANY(:ids) AND state = 'arriving'")
_CLOSE = text("UPDATE inbox_moves SET state = 'closing' WHERE id = ANY(:ids) AND state = 'forwarding'")
_FINISH = text("UPDATE inbox_moves SET state = 'done', finished_at = now() WHERE id = ANY(:ids) AND state = 'closing'")
_PAUSE = 2.0
_SOON = 0.3


class TakeOver(NothingToUndo):
    """Have the target deliver what comes for the inboxes, before anything is passed on to it.

    Until it does it passes mail back: with the source passing it on already, a message would go round.
    """

    name = "take_over"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Raise its version with the step."""
        move = await load_move(context)
        return Done(apply=lambda session: request_configuration(session, move.target_id))


class Forward(NothingToUndo):
    """Have the source pass on what comes there for the inboxes."""

    name = "forward"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write it with the step."""
        return await change_source(context, _PASS_ON)


class ReleaseWaiting(NothingToUndo):
    """Have the source pass on at once what it kept waiting during the switch."""

    name = "release_waiting"
    patience = timedelta(hours=1)

    async def run(self, context: StepContext) -> Outcome:
        """Ask the source; by itself it would try within minutes."""
        move = await load_move(context)
        return await ask_server(context, move.source_id, Command(flush_queue=FlushQueue()))


class HandSendsOver(NothingToUndo):
    """The inbox's sends that wait go to the target; what was leased to the source it sends itself."""

    name = "hand_over"
    patience = timedelta(minutes=30)

    async def run(self, context: StepContext) -> Outcome:
        """In the transaction that records the step."""
        move = await load_move(context)
        key = {"tenant": context.tenant_id, "inboxes": move.inbox_ids}

        async def write(session: AsyncSession) -> Result:
            row = {**key, "source": move.source_id, "target": move.target_id}
            moved, _ = (await session.execute(_HAND_OVER, row)).one()
            return {"handed_over": int(moved)}

        return Done(apply=write)


class AwaitMx(NothingToUndo):
    """Wait until the zone names the target alone; from then on those count the time who remember the source."""

    name = "dns.await_mx"
    patience = timedelta(days=7)

    async def run(self, context: StepContext) -> Outcome:
        """Ask the zone's servers."""
        environment = context.environment
        move = await load_move(context)
        found = await verify_inbox(
            environment.database, context.subject_id, context.tenant_id, environment.settings.nameservers
        )
        mx = [each for each in found if each.record.type == "MX"]
        if not mx or any(each.judgement.verdict is not Verdict.VERIFIED for each in mx):
            return Wait("the domain's MX record does not name the new server alone yet", _PAUSE)
        life = timedelta(seconds=environment.settings.move_forward_seconds)

        async def write(session: AsyncSession) -> None:
            await session.execute(_FORWARD_UNTIL, {"ids": move.ids, "life": life})

        return Done(apply=write)


class AwaitQuiet(NothingToUndo):
    """Wait until nobody can know the source from DNS any more, and it has no send of the inbox left to make."""

    name = "await_quiet"
    patience = timedelta(days=30)

    async def run(self, context: StepContext) -> Outcome:
        """Look at the time and the sends; sends that came in during the switch are handed over, too."""
        move = await load_move(context)
        if not move.forwarded_long_enough:
            return Wait("mail may still come to the old server, which passes it on", _SOON)
        row = {"tenant": context.tenant_id, "inboxes": move.inbox_ids, "source": move.source_id}
        await context.fence()
        async with context.environment.database.system() as session:
            await session.execute(_HAND_OVER, {**row, "target": move.target_id})
            left = await session.scalar(_LEFT, row)
        return Wait(f"the old server has {left} sends of the inbox", _PAUSE) if left else Done()


class CloseSource(NothingToUndo):
    """Have the source refuse mail for the inbox."""

    name = "close_source"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write it with the step."""
        return await change_source(context, _CLOSE)


class DeleteSourceMail(NothingToUndo):
    """Everything is at the target: delete it at the source."""

    name = "delete_source_mail"
    patience = timedelta(days=2)
    ceiling = LONGEST_FOR_EACH

    async def run(self, context: StepContext) -> Outcome:
        """Ask the source, which refuses as long as it has a mailbox of that name."""
        move = await load_move(context)
        return await ask_for_each(
            context,
            move,
            move.source_id,
            lambda address: Command(delete_mailbox=DeleteMailbox(address=address, has_moved=True)),
        )


class FinishMove(NothingToUndo):
    """The move is over, and the source leaves the domain's SPF record."""

    name = "finish"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write it with the step; publishing follows."""
        move = await load_move(context)

        async def write(session: AsyncSession) -> None:
            await session.execute(_FINISH, {"ids": move.ids})
            await generate_records(session, context.tenant_id, move.domain_id)

        return Done(apply=write)
