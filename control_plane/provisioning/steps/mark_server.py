"""The last step of a server's pipelines: say what it is now."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import Done, NothingToUndo, Outcome
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.states import ServerStatus, move_server


@dataclass(frozen=True, slots=True)
class MarkServer(NothingToUndo):
    """Give the server the status that the steps before have earned it."""

    status: ServerStatus
    patience: timedelta = timedelta(minutes=5)

    @property
    def name(self) -> str:
        """The status itself."""
        return str(self.status)

    async def run(self, context: StepContext) -> Outcome:
        """Write it together with the end of the run."""

        async def mark(session: AsyncSession) -> None:
            await move_server(session, context.subject_id, self.status)

        return Done(apply=mark)
