"""Drop an inbox from its server's configuration and delete its row, and with the last one a domain that is not kept."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.desired import raise_desired_version
from control_plane.pipelines.runs import supersede_runs
from control_plane.pipelines.step import Done, NothingToUndo, Outcome
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.inboxes import load_inbox

_DELETE_INBOX = text("DELETE FROM inboxes WHERE id = :inbox AND status = 'deleting'")
# Its DKIM keys go with it. Two inboxes that go at once share their domain's lock, so the second sees the first gone.
_DELETE_EMPTY_DOMAIN = text(
    "DELETE FROM domains d WHERE id = :domain AND NOT kept"
    " AND NOT EXISTS (SELECT FROM inboxes i WHERE i.domain_id = d.id)"
)


class ForgetInbox(NothingToUndo):
    """The server need not have applied it: it does so when it can."""

    name = "forget_inbox"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write all of it together with the step."""
        inbox = await load_inbox(context)

        async def forget(session: AsyncSession) -> None:
            await supersede_runs(session, context.run)
            await session.execute(_DELETE_INBOX, {"inbox": context.subject_id})
            await session.execute(_DELETE_EMPTY_DOMAIN, {"domain": inbox.domain_id})
            await raise_desired_version(session, inbox.vps_id)

        return Done(apply=forget)
