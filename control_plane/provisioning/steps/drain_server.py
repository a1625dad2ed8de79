"""Wait until a server that is to be removed has nothing left: no send leased to it, nothing in its Postfix."""

from datetime import timedelta

from control_plane.pipelines.step import AskPerson, Done, NothingToUndo, Outcome, Wait
from control_plane.provisioning.draining import emptiness, hold_as_wanted
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.servers import load_server
from control_plane.provisioning.states import ServerStatus

_REMEDY = "Wait, for it is looked at again and again until it is empty; or remove it by force and lose what is left."
_ASKED_AGAIN_SECONDS = 60.0
#: At first it is looked at often, for an idle server is empty at once; then as often as reports come.
_SOON = timedelta(seconds=30)
_SOON_SECONDS = 0.3
_LATER_SECONDS = 10.0


class DrainServer(NothingToUndo):
    """Bounded by `drain_seconds`; after that a person decides, and it is still looked at.

    A server that was never ready carries no mail.
    """

    name = "drain"
    patience = timedelta(days=3650)

    async def run(self, context: StepContext) -> Outcome:
        """See that its sends are held back, and look what is left."""
        server = await load_server(context)
        if server.status is not ServerStatus.READY:
            return Done()
        async with context.environment.database.system() as session:
            await hold_as_wanted(session, context.subject_id)
            found = await emptiness(session, context.subject_id)
        if not found.left or found.is_forced:
            return Done({"left": list(found.left)})
        reason = f"the server still has {', and '.join(found.left)}"
        if found.waited > timedelta(seconds=context.environment.settings.drain_seconds):
            return AskPerson(reason, _REMEDY, _ASKED_AGAIN_SECONDS)
        return Wait(reason, _SOON_SECONDS if found.waited < _SOON else _LATER_SECONDS)
