"""End what is still being done to a server, and take its agent the right to speak, before the server goes."""

import uuid
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.certificates import revoke_certificates
from control_plane.enrolment.tokens import forget_join_tokens
from control_plane.fleet.desired import raise_desired_version
from control_plane.pipelines.runs import supersede_runs
from control_plane.pipelines.step import Done, NothingToUndo, Outcome
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.rebuilding import forget_rebuilds


class RevokeAgent(NothingToUndo):
    """Certificates and unused join tokens alike."""

    name = "revoke_agent"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write the revocation together with the step."""

        async def revoke(session: AsyncSession) -> None:
            await supersede_runs(session, context.run)
            await end_identity(session, context.subject_id)
            await forget_rebuilds(session, context.subject_id)

        return Done(apply=revoke)


async def end_identity(session: AsyncSession, vps_id: uuid.UUID) -> None:
    """Revoke a server's certificates, forget its join tokens, and have its link cut."""
    await revoke_certificates(session, vps_id)
    await forget_join_tokens(session, vps_id)
    # The hub that holds the link is told to look, and cuts it.
    await raise_desired_version(session, vps_id)
