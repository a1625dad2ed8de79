"""Wait until the inbox's server is ready."""

from datetime import timedelta

from control_plane.pipelines.step import Cause, Done, Failed, NothingToUndo, Outcome, Wait
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.inboxes import load_inbox
from control_plane.provisioning.states import ServerStatus


class AwaitServer(NothingToUndo):
    """An inbox may be asked for while its server is still being made."""

    name = "await_server"
    patience = timedelta(hours=2)

    async def run(self, context: StepContext) -> Outcome:
        """Look at the server's status."""
        inbox = await load_inbox(context)
        if inbox.obstacle:
            return Failed(inbox.obstacle, Cause.GONE)
        return Done() if inbox.server_status is ServerStatus.READY else Wait("the inbox's server is not ready yet")
