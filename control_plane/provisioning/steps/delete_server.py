"""Delete the server at its provider."""

from datetime import timedelta

from control_plane.pipelines.step import Done, NothingToUndo, Outcome, Wait
from control_plane.providers.base import Capability, Provider, ProviderError
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.refusals import no_provider, outcome_of
from control_plane.provisioning.servers import Server, load_server, provider_of


class DeleteServer(NothingToUndo):
    """Done only when the provider does not know it any more, for servers cost money."""

    name = "delete_server"
    patience = timedelta(hours=2)

    async def run(self, context: StepContext) -> Outcome:
        """Look for it, delete it, look again."""
        return await delete_at_provider(context)


async def delete_at_provider(context: StepContext) -> Outcome:
    """Look for the server, delete it with what was made for it alone; done when it is seen to be gone."""
    server = await load_server(context)
    provider = provider_of(context, server)
    if provider is None:
        return no_provider(server.provider)
    try:
        return await _delete(context, server, provider)
    except ProviderError as error:
        return outcome_of(error, "the provider refused to delete the server")


async def _delete(context: StepContext, server: Server, provider: Provider) -> Outcome:
    found = await provider.find(server.provider_name)
    if found is None:
        # What was made for it alone, such as its addresses, may have outlived it.
        await context.fence()
        await provider.delete(server.provider_name)
        return Done()
    await context.fence()
    await provider.set_reverse_dns(found.name, found.ipv4_address, None)
    if found.ipv6_address and Capability.REVERSE_DNS_V6 in provider.capabilities:
        await provider.set_reverse_dns(found.name, found.ipv6_address, None)
    await provider.delete(found.name)
    return Wait("the provider still has the server")
