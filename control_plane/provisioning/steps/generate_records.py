"""Write down which DNS records an inbox needs, as soon as its server has an address."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.generate import generate_records
from control_plane.pipelines.step import Cause, Done, Failed, NothingToUndo, Outcome, Wait
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.inboxes import load_inbox


class GenerateRecords(NothingToUndo):
    """For all inboxes of the domain, since one server more changes the SPF record of all."""

    name = "dns.generate"
    patience = timedelta(hours=2)

    async def run(self, context: StepContext) -> Outcome:
        """Wait for the address; the rows are written with the step."""
        inbox = await load_inbox(context)
        if inbox.obstacle:
            return Failed(inbox.obstacle, Cause.GONE)
        if inbox.server_address is None:
            return Wait("the inbox's server has no address yet")

        async def generate(session: AsyncSession) -> None:
            await generate_records(session, context.tenant_id, inbox.domain_id)

        return Done(apply=generate)
