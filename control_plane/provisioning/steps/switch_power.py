"""Switch a server's power at its provider."""

from dataclasses import dataclass
from datetime import timedelta

from control_plane.pipelines.step import Done, Failed, NothingToUndo, Outcome
from control_plane.providers.base import PowerState, Provider, ProviderError, ResetsServers
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.power import PowerAction
from control_plane.provisioning.refusals import no_provider, outcome_of
from control_plane.provisioning.servers import load_server, provider_of


@dataclass(frozen=True, slots=True)
class SwitchPower(NothingToUndo):
    """On and off are asked for only when the server is not so already.

    A reboot whose record was lost with its worker is asked for once more: to start again twice does no more harm.
    """

    action: PowerAction
    patience: timedelta = timedelta(minutes=10)

    @property
    def name(self) -> str:
        """The action, as it reads in a list of steps."""
        return f"power_{self.action}"

    async def run(self, context: StepContext) -> Outcome:
        """Look how it is, and ask the provider."""
        server = await load_server(context)
        provider = provider_of(context, server)
        if provider is None:
            return no_provider(server.provider)
        if self.action.capability not in provider.capabilities:
            return Failed(f"the provider {server.provider} has no {self.action}")
        try:
            return await self._switch(context, provider, server.provider_name)
        except ProviderError as error:
            return outcome_of(error, f"the provider refused: {self.action}")

    async def _switch(self, context: StepContext, provider: Provider, name: str) -> Outcome:
        found = await provider.find(name)
        if found is None:
            return Failed("the provider does not know the server")
        if found.power is _WANTED.get(self.action):
            return Done({"power": found.power.value, "changed": False})
        await context.fence()
        match self.action:
            case PowerAction.ON:
                await provider.power_on(name)
            case PowerAction.OFF:
                await provider.power_off(name)
            case PowerAction.REBOOT:
                await provider.reboot(name)
            case PowerAction.RESET if isinstance(provider, ResetsServers):
                await provider.reset(name)
        return Done({"changed": True})


_WANTED = {PowerAction.ON: PowerState.RUNNING, PowerAction.OFF: PowerState.OFF}
