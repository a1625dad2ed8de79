"""Make a host's name and addresses stand for each other: A, AAAA and SPF in the platform's zone, PTR at the provider.

Receivers want a PTR that is confirmed by an A of its name, and SPF for what is said in HELO (Google 4.7.23 / 5.7.25).
A server needs no IPv6: where its PTR cannot be set, nothing is sent over it, and that is all.
"""

import logging
from datetime import timedelta

from control_plane.dns.plan import ZonePlan
from control_plane.dns.publish import publish
from control_plane.dns.records import DnsRecord
from control_plane.pipelines.step import Done, Failed, NothingToUndo, Outcome
from control_plane.providers.base import Capability, Provider, ProviderBusy, ProviderError
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.hosts import Host, LoadHost
from control_plane.provisioning.refusals import WORLD_ERRORS, no_provider, outcome_of

_log = logging.getLogger(__name__)


class PublishHostDns:
    """The platform's zone is ours, so whatever stands at the host's own name was written by us."""

    name = "publish_dns"
    patience = timedelta(minutes=30)

    def __init__(self, load: LoadHost) -> None:
        self._load = load

    async def run(self, context: StepContext) -> Outcome:
        """Publish both directions."""
        host = await self._load(context)
        provider = context.environment.providers.get(host.provider)
        if provider is None:
            return no_provider(host.provider)
        if host.address is None:
            return Failed("the provider gave no address")
        try:
            plan = await _publish_zone(context, host, wanted=host.records)
            if not plan.conflicts:
                # Some let nobody set a PTR to a name that does not stand for the address.
                await context.fence()
                await provider.set_reverse_dns(host.server_name, host.address, host.hostname)
                await _point_ipv6(context, provider, host)
        except WORLD_ERRORS as error:
            return outcome_of(error, "DNS was not published")
        if plan.conflicts:
            return Failed(f"DNS was not published: {plan.conflicts[0]}")
        return Done({"changes": [str(change) for change in plan.changes]})

    async def undo(self, context: StepContext) -> Outcome:
        """Withdraw what is ours in the platform's zone; the PTR goes with the address."""
        return await _withdraw(context, self._load)


class WithdrawHostDns(NothingToUndo):
    """Take away what `PublishHostDns` wrote in the platform's zone; the PTR went with the address."""

    name = "withdraw_dns"
    patience = timedelta(hours=2)

    def __init__(self, load: LoadHost) -> None:
        self._load = load

    async def run(self, context: StepContext) -> Outcome:
        """Withdraw the host's records from the platform's zone."""
        return await _withdraw(context, self._load)


async def _point_ipv6(context: StepContext, provider: Provider, host: Host) -> None:
    """Set the PTR of the IPv6 address, where there is one and the provider takes it. Raises `ProviderBusy`."""
    if host.ipv6_address is None or Capability.REVERSE_DNS_V6 not in provider.capabilities:
        return
    await context.fence()
    try:
        await provider.set_reverse_dns(host.server_name, host.ipv6_address, host.hostname)
    except ProviderBusy:
        raise
    except ProviderError as error:
        _log.warning("the PTR of %s, the IPv6 address of %s, was refused: %s", host.ipv6_address, host.hostname, error)


async def _withdraw(context: StepContext, load: LoadHost) -> Outcome:
    host = await load(context)
    if host.address is None:
        return Done()
    try:
        plan = await _publish_zone(context, host, wanted=())
    except WORLD_ERRORS as error:
        return outcome_of(error, "DNS was not withdrawn")
    return Done({"changes": [str(change) for change in plan.changes]})


async def _publish_zone(context: StepContext, host: Host, wanted: tuple[DnsRecord, ...]) -> ZonePlan:
    async def fence(_: ZonePlan) -> None:
        # There is nothing to remember: the host's own row, its name and address, says what is ours.
        await context.fence()

    return await publish(context.environment.publisher, host.zone, wanted, written=host.records, before_apply=fence)
