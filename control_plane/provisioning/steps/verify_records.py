"""The inbox is on its server; from here on only its DNS records may be missing."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.judge import Verdict
from control_plane.dns.verify import verify_inbox
from control_plane.pipelines.step import Done, NothingToUndo, Outcome
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.states import InboxStatus, move_inbox


class AwaitRecords(NothingToUndo):
    """Say that the inbox waits for its records alone, and for which of them the tenant has to decide."""

    name = "pending_dns"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write the status together with the step."""
        conflicts: list[str] = context.run.results["publish_dns"]["conflicts"]

        async def mark(session: AsyncSession) -> None:
            reason = f"left to you to decide: {'. '.join(conflicts)}" if conflicts else None
            await move_inbox(session, context.subject_id, InboxStatus.PENDING_DNS, reason)

        return Done(apply=mark)


class VerifyRecords(NothingToUndo):
    """Verify once; what is not there yet is found by the periodic `dns.verify`, which makes the inbox ready."""

    name = "dns.verify"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Ask the zones' servers."""
        environment = context.environment
        results = await verify_inbox(
            environment.database, context.subject_id, context.tenant_id, environment.settings.nameservers
        )
        return Done({"unverified": sum(r.judgement.verdict is not Verdict.VERIFIED for r in results)})
