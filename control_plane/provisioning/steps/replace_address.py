"""Give a server another address in place of one that was refused: out of DNS, another at the provider, onto the row.

Each part looks first, and the row is changed last: until then its address is the refused one, and a worker that comes
after a crash begins again. The records for the new address are published by whoever finds it on the row.
"""

from sqlalchemy import text

from control_plane.pipelines.step import Done, Outcome, Wait
from control_plane.preflight.results import refused_addresses
from control_plane.providers.base import Provider, ProviderError, ReplacesAddress
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.hosts import host_of_server
from control_plane.provisioning.refusals import no_provider, outcome_of
from control_plane.provisioning.servers import Server
from control_plane.provisioning.steps.apply_configuration import request_configuration
from control_plane.provisioning.steps.publish_host_dns import WithdrawHostDns

_READDRESS = text(
    "UPDATE vps_servers SET ip_address = CAST(:new AS inet) WHERE id = :id AND ip_address = CAST(:old AS inet)"
    " RETURNING id"
)


async def replace_address(context: StepContext, server: Server, provider: Provider) -> Outcome:
    """Get as far as can be got now; never done, for the new address has yet to be looked at."""
    if not isinstance(provider, ReplacesAddress):
        return no_provider(server.provider)
    withdrawn = await WithdrawHostDns(host_of_server).run(context)
    if not isinstance(withdrawn, Done):
        return withdrawn
    async with context.environment.database.system() as session:
        refused = await refused_addresses(session, server.provider)
    await context.fence()
    try:
        made = await provider.replace_address(server.provider_name, {*refused, server.ipv4_address or ""})
    except ProviderError as error:
        return outcome_of(error, "the provider gives the server no other address")
    await context.fence()
    async with context.environment.database.system() as session:
        row = {"id": server.id, "old": server.ipv4_address, "new": made.ipv4_address}
        if (await session.execute(_READDRESS, row)).one_or_none() is not None:
            await request_configuration(session, server.id)
    return Wait(f"the server has the address {made.ipv4_address} now", 0.1)
