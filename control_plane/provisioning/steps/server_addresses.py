"""A further address of a server: got at the provider, named in DNS both ways, configured; and all of it taken back."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.plan import ZonePlan
from control_plane.dns.publish import publish
from control_plane.dns.records import DnsRecord, records_for_server
from control_plane.pipelines.step import Cause, Done, Failed, NothingToUndo, Outcome, Result
from control_plane.pools.senders import inboxes_at, start_bindings
from control_plane.pools.states import AddressState, move_address
from control_plane.providers.base import AddsAddresses, Capability, ProviderError
from control_plane.provisioning.addresses import Address, load_address
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.refusals import WORLD_ERRORS, no_provider, outcome_of
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


class PublishAddressDns:
    """A and SPF of the name that the address says in HELO, and its PTR (Google 4.7.23 / 5.7.25)."""

    name = "publish_dns"
    patience = timedelta(minutes=30)

    async def run(self, context: StepContext) -> Outcome:
        """Publish both directions."""
        address = await load_address(context)
        provider = context.environment.providers.get(address.provider)
        if provider is None:
            return no_provider(address.provider)
        if address.address is None:
            return Failed("the provider gave no address")
        try:
            await context.fence()
            await provider.set_reverse_dns(address.server_name, address.address, address.hostname)
            plan = await _publish_zone(context, address, wanted=_records(address))
        except WORLD_ERRORS as error:
            return outcome_of(error, "DNS was not published")
        if plan.conflicts:
            return Failed(f"DNS was not published: {plan.conflicts[0]}")
        return Done({"changes": [str(change) for change in plan.changes]})

    async def undo(self, context: StepContext) -> Outcome:
        """Withdraw what is ours in the platform's zone; the PTR goes with the address."""
        return await _withdraw(context)


class WithdrawAddressDns(NothingToUndo):
    """Take away what `PublishAddressDns` wrote in the platform's zone; the PTR went with the address."""

    name = "withdraw_dns"
    patience = timedelta(hours=2)

    async def run(self, context: StepContext) -> Outcome:
        """Withdraw it."""
        return await _withdraw(context)


async def _withdraw(context: StepContext) -> Outcome:
    address = await load_address(context)
    try:
        plan = await _publish_zone(context, address, wanted=())
    except WORLD_ERRORS as error:
        return outcome_of(error, "DNS was not withdrawn")
    return Done({"changes": [str(change) for change in plan.changes]})


async def _publish_zone(context: StepContext, address: Address, wanted: tuple[DnsRecord, ...]) -> ZonePlan:
    async def fence(_: ZonePlan) -> None:
        # There is nothing to remember: the row, its name and address, says what is ours.
        await context.fence()

    zone = address.hostname.partition(".")[2]
    return await publish(context.environment.publisher, zone, wanted, written=_records(address), before_apply=fence)


def _records(address: Address) -> tuple[DnsRecord, ...]:
    if address.address is None:
        return ()
    zone = address.hostname.partition(".")[2]
    return tuple(record for record in records_for_server(address.hostname, address.address) if record.zone == zone)


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
