"""Create the server at its provider, once: it is looked for by its name before it is asked for."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import Cause, Done, Failed, Outcome, Result, Wait
from control_plane.providers.base import Capability, Provider, ProviderBusy, ProviderError, ProviderServer, ServerOrder
from control_plane.provisioning.cloud_init import JoinData, render_user_data
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.joining import make_join_data, read_release
from control_plane.provisioning.refusals import no_provider, outcome_of
from control_plane.provisioning.servers import VPS_LABEL, Server, load_server, provider_of
from control_plane.provisioning.states import ServerStatus
from control_plane.provisioning.steps.apply_configuration import request_configuration
from control_plane.provisioning.steps.delete_server import delete_at_provider
from control_plane.provisioning.steps.revoke_agent import end_identity

_RECORD = text(
    "UPDATE vps_servers SET provider_server_id = :provider_id, ip_address = CAST(:ipv4 AS inet),"
    " ipv6_address = CAST(:ipv6 AS inet),"
    " specs = jsonb_build_object('cores', CAST(:cores AS int), 'memory_bytes', CAST(:memory AS bigint),"
    "  'disk_bytes', CAST(:disk AS bigint)), monthly_cost = :cost"
    " WHERE id = :id"
)


class CreateServer:
    """Its address is recorded together with a raised version, so the agent finds its configuration waiting."""

    name = "create_server"
    patience = timedelta(minutes=15)

    async def run(self, context: StepContext) -> Outcome:
        """Find or create the server."""
        server = await load_server(context)
        provider = provider_of(context, server)
        if server.status is not ServerStatus.PROVISIONING:
            return Failed("the server's removal was asked for", Cause.GONE)
        if provider is None:
            return no_provider(server.provider)
        try:
            made = await provider.find(server.provider_name) or await _create(context, server, provider)
        except ProviderError as error:
            return outcome_of(error, "the provider refused to create the server")
        return _judge(server, made)

    async def undo(self, context: StepContext) -> Outcome:
        """Delete it; an agent that enrolled meanwhile is nobody any more."""
        gone = await delete_at_provider(context)
        return Done(apply=partial(end_identity, vps_id=context.subject_id)) if isinstance(gone, Done) else gone


def _judge(server: Server, made: ProviderServer) -> Outcome:
    if made.fault is not None:
        return Failed(f"the provider could not make the server: {made.fault}")
    if made.progress is not None:
        return Wait(f"the provider is making the server ({made.progress} %)", 2.0)
    return Done({"ipv4_address": made.ipv4_address}, lambda session: _record(session, server, made))


async def _create(context: StepContext, server: Server, provider: Provider) -> ProviderServer:
    # Where there is no user-data, the server is made to join when it is there, or by a person.
    takes_data = Capability.USER_DATA in provider.capabilities
    user_data = render_user_data(await join_data(context, server)) if takes_data else ""
    order = ServerOrder(
        name=server.provider_name,
        hostname=server.hostname,
        size=server.size,
        region=server.region,
        user_data=user_data,
        labels=(("penguin/tenant-id", str(server.tenant_id)), (VPS_LABEL, str(server.id))),
    )
    until = await context.fence()
    try:
        return await provider.create(replace(order, begin_before=until))
    except ProviderBusy:
        raise
    except ProviderError:
        # An earlier request whose answer was lost may have taken the name meanwhile.
        if (made := await provider.find(server.provider_name)) is None:
            raise
        return made


async def join_data(context: StepContext, server: Server) -> JoinData:
    """Return what the server joins with; its token is a new one."""
    environment = context.environment
    release = await read_release(environment.settings.wheelhouse_dir)
    async with environment.database.system() as session:
        return await make_join_data(
            session,
            environment.settings,
            environment.sealer,
            release,
            tenant_id=server.tenant_id,
            vps_id=server.id,
            hostname=server.hostname,
        )


async def _record(session: AsyncSession, server: Server, made: ProviderServer) -> Result:
    row = {
        "id": server.id,
        "provider_id": made.provider_id,
        "ipv4": made.ipv4_address,
        "ipv6": made.ipv6_address,
        "cores": made.cores,
        "memory": made.memory_bytes,
        "disk": made.disk_bytes,
        "cost": made.monthly_cost,
    }
    await session.execute(_RECORD, row)
    return await request_configuration(session, server.id)
