"""Wait until the inbox's server is ready."""

from datetime import timedelta

from control_plane.pipelines.step import Done, Failed, Outcome, Wait
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.inboxes import load_inbox
from control_plane.provisioning.states import InboxStatus, ServerStatus


class AwaitServer:
    """An inbox may be asked for while its server is still being made."""

    name = "await_server"
    patience = timedelta(hours=2)

    async def run(self, context: StepContext) -> Outcome:
        """Look at the server's status."""
        inbox = await load_inbox(context)
        if inbox.status is InboxStatus.DELETING:
            return Failed("the inbox's removal was asked for")
        match inbox.server_status:
            case ServerStatus.READY:
                return Done()
            case ServerStatus.PROVISIONING:
                return Wait("the inbox's server is not ready yet")
            case ServerStatus.FAILED:
                return Failed(f"the inbox's server failed: {inbox.server_status_reason}")
            case _:
                return Failed("the inbox's server is gone")
