"""Hold back the sends of a server that is being drained, or let them go again."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import Done, NothingToUndo, Outcome, Result
from control_plane.provisioning.draining import hold_as_wanted
from control_plane.provisioning.environment import StepContext


class HoldBack(NothingToUndo):
    """Whichever way the server was switched last: of two runs the order does not matter."""

    name = "hold_back"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write the pause together with the step."""

        async def hold(session: AsyncSession) -> Result:
            return {"held": await hold_as_wanted(session, context.subject_id)}

        return Done(apply=hold)
