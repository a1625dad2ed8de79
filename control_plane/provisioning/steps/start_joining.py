"""Make a server join whose provider takes no user-data but lets us run a program there; any other joins by itself."""

from datetime import timedelta

from sqlalchemy import text

from control_plane.pipelines.step import Done, Failed, NothingToUndo, Outcome
from control_plane.providers.base import JoinsServers, ProviderError
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.join_program import render_join_program
from control_plane.provisioning.refusals import outcome_of
from control_plane.provisioning.servers import load_server, provider_of
from control_plane.provisioning.steps.create_server import join_data

_ENROLLED = text("SELECT EXISTS (SELECT FROM agent_certificates WHERE vps_id = :id AND revoked_at IS NULL)")


class StartJoining(NothingToUndo):
    """The program goes to the server with a token of its own; what the agent may do is taken back by `AwaitAgent`."""

    name = "start_joining"
    patience = timedelta(minutes=15)

    async def run(self, context: StepContext) -> Outcome:
        """Look whether it has joined, and have the program run when it has not."""
        server = await load_server(context)
        provider = provider_of(context, server)
        if not isinstance(provider, JoinsServers) or await _has_enrolled(context):
            return Done()
        if server.ipv4_address is None:
            return Failed("the server has no address")
        program = render_join_program(await join_data(context, server))
        await context.fence()
        try:
            await provider.start_joining(server.provider_name, server.ipv4_address, program)
        except ProviderError as error:
            return outcome_of(error, "the server could not be made to join")
        return Done()


async def _has_enrolled(context: StepContext) -> bool:
    async with context.environment.database.system() as session:
        return bool(await session.scalar(_ENROLLED, {"id": context.subject_id}))
