"""See whether the server is fit to send mail before it counts as good: its address, its name, port 25, its clock.

| found | what follows |
| --- | --- |
| an agent that does not answer, a PTR that is not there yet, a clock that is off | looked at again |
| a PTR that does not come for `_PTR_PATIENCE` | the address is refused |
| a blocklist that has the address or its network | the address is refused |
| port 25 closed | a person is asked to write to the provider; tried again every 15 minutes |
| an IPv6 address without a PTR of its own, or on a blocklist | nothing is sent over IPv6; the server is used |

A refused address is given back and another tried, `PENGUIN_ADDRESS_ATTEMPTS` times at most and where the provider can;
after that a person is asked.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text

from control_plane.pipelines.step import AskPerson, Cause, Done, Failed, NothingToUndo, Outcome, Result, Wait
from control_plane.preflight.findings import Check, Consequence, Finding, Verdict, consequence_of, reasons
from control_plane.preflight.inspection import Subject
from control_plane.preflight.port_25_request import port_25_request
from control_plane.preflight.results import failed_for, refuse_address, refused_for
from control_plane.providers.base import Provider, ReplacesAddress
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.hosts import host_of_server
from control_plane.provisioning.ipv6 import switch_ipv6
from control_plane.provisioning.refusals import no_provider
from control_plane.provisioning.servers import Server, load_server, provider_of
from control_plane.provisioning.states import ServerStatus
from control_plane.provisioning.steps.publish_host_dns import PublishHostDns
from control_plane.provisioning.steps.replace_address import replace_address

_LOOK_SECONDS = 10.0
_PORT_SECONDS = 900.0
#: Resolvers may remember for long that there was no record.
_PTR_PATIENCE = timedelta(hours=1)

_IS_APPLIED = text(
    "SELECT applied_version >= desired_version AND mail_server_status = 'running' FROM vps_servers WHERE id = :id"
)


class Preflight(NothingToUndo):
    """What it refuses is remembered first and replaced after, so that a crash in between changes nothing."""

    name = "preflight"
    patience = timedelta(hours=3)

    async def run(self, context: StepContext) -> Outcome:
        """Look at everything and decide; or go on with replacing an address that was refused."""
        server = await load_server(context)
        provider = provider_of(context, server)
        if server.status is not ServerStatus.PROVISIONING:
            return Failed("the server's removal was asked for", Cause.GONE)
        if provider is None:
            return no_provider(server.provider)
        async with context.environment.database.system() as session:
            refused = await refused_for(session, server.id)
        if server.ipv4_address in refused:
            return await replace_address(context, server, provider)
        # Whoever put the address into its place may have got no further.
        if refused and not isinstance(published := await PublishHostDns(host_of_server).run(context), Done):
            return published
        return await _decide(context, server, provider, await inspect(context, server), refused)


class InspectServer(NothingToUndo):
    """Look at a server that is in use; what is found is shown, and decides whether mail goes out over IPv6."""

    name = "inspect"
    patience = timedelta(minutes=10)

    async def run(self, context: StepContext) -> Outcome:
        """Look at everything, once."""
        server = await load_server(context)
        return _done(server, await inspect(context, server))


async def inspect(context: StepContext, server: Server) -> list[Finding]:
    """Check the server and keep what is found."""
    subject = Subject(server.tenant_id, server.id, server.hostname, server.ipv4_address or "", server.ipv6_address)
    return await context.environment.inspector.inspect(context.environment.database, subject)


async def _decide(
    context: StepContext, server: Server, provider: Provider, findings: Sequence[Finding], refused: Sequence[str]
) -> Outcome:
    consequence = consequence_of(findings)
    reason = "; ".join(reasons(findings, consequence))
    match consequence:
        case Consequence.USE:
            return await _use(context, server, findings, replaced=bool(refused))
        case Consequence.OPEN_PORT:
            request = port_25_request(server.provider, server.hostname, server.ipv4_address or "")
            return AskPerson(f"mail cannot leave the server: {reason}", request, _PORT_SECONDS)
        case Consequence.WAIT:
            if not await _has_no_ptr_for_long(context, server):
                return Wait(reason, _LOOK_SECONDS)
    return await _refuse(context, server, provider, reason, refused)


async def _use(context: StepContext, server: Server, findings: Sequence[Finding], *, replaced: bool) -> Outcome:
    if replaced:
        async with context.environment.database.system() as session:
            applied = await session.scalar(_IS_APPLIED, {"id": context.subject_id})
        if not applied:
            return Wait("the server has not applied the configuration for its new address yet")
    return _done(server, findings)


def _done(server: Server, findings: Sequence[Finding]) -> Done:
    return Done(_summary(findings), lambda session: switch_ipv6(session, server.id, server.ipv6_address, findings))


async def _has_no_ptr_for_long(context: StepContext, server: Server) -> bool:
    async with context.environment.database.system() as session:
        failed = await failed_for(session, server.id, Check.REVERSE_DNS, server.ipv4_address or "")
    return failed > _PTR_PATIENCE


async def _refuse(
    context: StepContext, server: Server, provider: Provider, reason: str, refused: Sequence[str]
) -> Outcome:
    """Remember the address as refused, to be replaced at once; or ask a person, who may know better."""
    attempts = context.environment.settings.address_attempts
    if not isinstance(provider, ReplacesAddress) or len(refused) >= attempts:
        tried = f" after {len(refused)} others" if refused else ""
        return AskPerson(f"the server's address is no good{tried}: {reason}", _address_remedy(provider))
    await context.fence()
    async with context.environment.database.system() as session:
        await refuse_address(session, server.provider, server.ipv4_address or "", server.id, reason)
    return Wait(f"another address is got for the server: {reason}")


def _address_remedy(provider: Provider) -> str:
    how = "" if isinstance(provider, ReplacesAddress) else f"{provider.key} gives a server no other address. "
    return (
        f"{how}Have the address put right as the reason says, or have the server removed and ask for another; it is"
        " looked at again every hour, and at once after `penguin vps preflight`."
    )


def _summary(findings: Sequence[Finding]) -> Result:
    """Return how many checks passed, and the sentences of the others."""
    by_verdict = {
        str(verdict): [finding.detail for finding in findings if finding.verdict is verdict]
        for verdict in Verdict
        if verdict is not Verdict.PASSED
    }
    passed = sum(finding.verdict is Verdict.PASSED for finding in findings)
    return {"passed": passed, **{verdict: details for verdict, details in by_verdict.items() if details}}
