"""Make the server's name and address stand for each other: A and SPF in the platform's zone, PTR at the provider."""

from datetime import timedelta

from control_plane.dns.plan import ZonePlan
from control_plane.dns.publish import publish
from control_plane.dns.records import DnsRecord, records_for_server
from control_plane.pipelines.step import Done, Failed, NothingToUndo, Outcome
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.refusals import WORLD_ERRORS, no_provider, outcome_of
from control_plane.provisioning.servers import Server, load_server, provider_of


class PublishServerDns:
    """The platform's zone is ours, so whatever stands at the server's own name was written by us."""

    name = "publish_dns"
    patience = timedelta(minutes=30)

    async def run(self, context: StepContext) -> Outcome:
        """Publish both directions."""
        server = await load_server(context)
        provider = provider_of(context, server)
        if provider is None:
            return no_provider(server.provider)
        if server.ipv4_address is None:
            return Failed("the server has no address")
        try:
            plan = await _publish_zone(context, server, wanted=_platform_records(server))
            if not plan.conflicts:
                # Some let nobody set a PTR to a name that does not stand for the address.
                await context.fence()
                await provider.set_reverse_dns(server.provider_name, server.ipv4_address, server.hostname)
        except WORLD_ERRORS as error:
            return outcome_of(error, "DNS was not published")
        if plan.conflicts:
            return Failed(f"DNS was not published: {plan.conflicts[0]}")
        return Done({"changes": [str(change) for change in plan.changes]})

    async def undo(self, context: StepContext) -> Outcome:
        """Withdraw what is ours in the platform's zone; the PTR goes with the server."""
        return await _withdraw(context)


class WithdrawServerDns(NothingToUndo):
    """Take away what `PublishServerDns` wrote in the platform's zone; the PTR went with the server."""

    name = "withdraw_dns"
    patience = timedelta(hours=2)

    async def run(self, context: StepContext) -> Outcome:
        """Withdraw the server's records from the platform's zone."""
        return await _withdraw(context)


async def _withdraw(context: StepContext) -> Outcome:
    server = await load_server(context)
    if server.ipv4_address is None:
        return Done()
    try:
        plan = await _publish_zone(context, server, wanted=())
    except WORLD_ERRORS as error:
        return outcome_of(error, "DNS was not withdrawn")
    return Done({"changes": [str(change) for change in plan.changes]})


async def _publish_zone(context: StepContext, server: Server, wanted: tuple[DnsRecord, ...]) -> ZonePlan:
    async def fence(_: ZonePlan) -> None:
        # There is nothing to remember: the server's own row, its name and address, says what is ours.
        await context.fence()

    return await publish(
        context.environment.publisher,
        _platform_zone(server),
        wanted,
        written=_platform_records(server),
        before_apply=fence,
    )


def _platform_zone(server: Server) -> str:
    return server.hostname.partition(".")[2]


def _platform_records(server: Server) -> tuple[DnsRecord, ...]:
    records = records_for_server(server.hostname, server.ipv4_address) if server.ipv4_address else ()
    return tuple(record for record in records if record.zone == _platform_zone(server))
