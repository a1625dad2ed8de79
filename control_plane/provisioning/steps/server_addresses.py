"""A further address of a server: got at the provider and configured; and all of it taken back."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import Cause, Done, Failed, NothingToUndo, Outcome, Result
from control_plane.pools.senders import inboxes_at, start_bindings
from control_plane.pools.states import AddressState, move_address
from control_plane.providers.base import AddsAddresses, Capability, ProviderError
from control_plane.provisioning.addresses import load_address
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.refusals import no_provider, outcome_of
from control_plane.provisioning.steps.apply_configuration import request_configuration

_KEEP = text("UPDATE server_addresses SET address = CAST(:address AS inet) WHERE id = :id")


class AddAddress:
    """Get the address at the provider, under its label; asking again gives the same one."""

    name = "add_address"
    patience = timedelta(minutes=30)

    async def run(self, context: StepContext) -> Outcome:
        """Look whether the provider can, and ask."""
        address = await load_address(context)
        if address.server_status != "ready":
            return Failed("the address's server is not there any more", Cause.GONE)
        provider = context.environment.providers.get(address.provider)
        if provider is None:
            return no_provider(address.provider)
        if Capability.EXTRA_ADDRESSES not in provider.capabilities or not isinstance(provider, AddsAddresses):
            return Failed(f"the provider {address.provider} gives a server no further addresses")
        try:
            await context.fence()
            got = await provider.add_address(address.server_name, address.label)
        except ProviderError as error:
            return outcome_of(error, "the provider refused the address")

        async def keep(session: AsyncSession) -> None:
            await session.execute(_KEEP, {"id": context.subject_id, "address": got.address})

        return Done({"address": got.address}, keep)

    async def undo(self, context: StepContext) -> Outcome:
        """Give it back."""
        return await _give_back(context)


class GiveAddressBack(NothingToUndo):
    """Remove the PTR, and let the provider have the address."""

    name = "give_back"
    patience = timedelta(hours=2)

    async def run(self, context: StepContext) -> Outcome:
        """Both; each does nothing when it is done already."""
        return await _give_back(context)


async def _give_back(context: StepContext) -> Outcome:
    address = await load_address(context)
    provider = context.environment.providers.get(address.provider)
    if provider is None:
        return no_provider(address.provider)
    if not isinstance(provider, AddsAddresses):
        return Done()
    try:
        await context.fence()
        # With the address its provider forgets its PTR.
        await provider.remove_address(address.server_name, address.label)
    except ProviderError as error:
        return outcome_of(error, "the provider refused to take the address back")
    return Done()


class ConfigureAddress:
    """Have the server take the address up; nobody sends by it yet."""

    name = "configure_address"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Raise the server's version with the step."""
        address = await load_address(context)
        return Done(apply=lambda session: request_configuration(session, address.vps_id))

    async def undo(self, context: StepContext) -> Outcome:
        """Have the server let go of it: an address that failed is not in its desired state."""
        address = await load_address(context)

        async def let_go(session: AsyncSession) -> Result:
            await move_address(session, context.subject_id, AddressState.FAILED)
            return await request_configuration(session, address.vps_id)

        return Done(apply=let_go)


class AddressReady(NothingToUndo):
    """Say that it can be sent by, and let the inboxes of its pools do so."""

    name = "ready"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write all of it together with the end of the run."""

        async def mark(session: AsyncSession) -> None:
            await move_address(session, context.subject_id, AddressState.READY)
            inboxes = await inboxes_at(session, context.tenant_id, context.subject_id)
            await start_bindings(session, context.tenant_id, inboxes)

        return Done(apply=mark)
