"""Wait until the server's agent has enrolled and holds its link; then no join token is needed any more."""

from datetime import timedelta
from functools import partial

from sqlalchemy import text

from control_plane.enrolment.tokens import forget_join_tokens
from control_plane.pipelines.step import Cause, Done, Failed, Outcome, Wait
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.states import ServerStatus
from control_plane.provisioning.steps.revoke_agent import end_identity

_STANDING = text(
    "SELECT status, agent_version, link_session IS NOT NULL AS linked,"
    " EXISTS (SELECT FROM agent_certificates c WHERE c.vps_id = v.id AND c.revoked_at IS NULL) AS enrolled"
    " FROM vps_servers v WHERE id = :id"
)


class AwaitAgent:
    """A fresh image may have to fetch packages first, so it is given time."""

    name = "await_agent"
    patience = timedelta(minutes=20)

    async def run(self, context: StepContext) -> Outcome:
        """Look whether the agent is there."""
        async with context.environment.database.system() as session:
            agent = (await session.execute(_STANDING, {"id": context.subject_id})).one()
        if agent.status != ServerStatus.PROVISIONING:
            return Failed("the server's removal was asked for", Cause.GONE)
        if not agent.enrolled:
            return Wait("the server's agent has not enrolled yet")
        if not agent.linked:
            return Wait("the server's agent has not connected yet")
        return Done(
            {"agent_version": agent.agent_version}, lambda session: forget_join_tokens(session, context.subject_id)
        )

    async def undo(self, context: StepContext) -> Outcome:
        """Take the agent the right to speak, before the server goes."""
        return Done(apply=partial(end_identity, vps_id=context.subject_id))
