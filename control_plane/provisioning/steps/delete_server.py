"""Delete the server at its provider."""

from datetime import timedelta

from control_plane.pipelines.step import Done, Failed, Outcome, Wait
from control_plane.providers.base import Provider, ProviderBusy, ProviderError
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.servers import Server, load_server, provider_of


class DeleteServer:
    """Done only when the provider does not know it any more, for servers cost money."""

    name = "delete_server"
    patience = timedelta(hours=2)

    async def run(self, context: StepContext) -> Outcome:
        """Look for it, delete it, look again."""
        server = await load_server(context)
        provider = provider_of(context, server)
        if provider is None:
            return Failed(f"there is no provider {server.provider} here")
        try:
            return await _delete(server, provider)
        except ProviderBusy as error:
            return Wait(f"the provider: {error}", error.seconds)
        except ProviderError as error:
            return Failed(f"the provider refused to delete the server: {error}")


async def _delete(server: Server, provider: Provider) -> Outcome:
    found = await provider.find(server.provider_name)
    if found is None:
        # What was made for it alone, such as its addresses, may have outlived it.
        await provider.delete(server.provider_name)
        return Done()
    await provider.set_reverse_dns(found.name, found.ipv4_address, None)
    await provider.delete(found.name)
    return Wait("the provider still has the server")
