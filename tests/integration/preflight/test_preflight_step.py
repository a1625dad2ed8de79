"""The step `preflight`: real PostgreSQL, a real hub and its agent played, a provider and DNS in memory."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import text

from control_plane.dns.plan import PlannedChange, ZonePlan
from control_plane.dns.records import DnsRecord
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.fleet.desired import load_desired_state
from control_plane.pipelines.step import AskPerson, Cause, Done, Failed, Outcome, Run, Wait
from control_plane.preflight.blocklists import LISTED_EXAMPLE, LISTED_EXAMPLE_V6, Blocklist, Severity
from control_plane.preflight.inspection import Inspector
from control_plane.preflight.resolvers import Resolvers
from control_plane.preflight.results import PreflightReport, load_report
from control_plane.providers.base import Capability, ProviderBusy, ProviderError, ProviderServer, ServerOrder
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.hosts import host_of_server
from control_plane.provisioning.ipv6_looks import look_at_ipv6
from control_plane.provisioning.later_looks import look_again
from control_plane.provisioning.requests import probe_password_place
from control_plane.provisioning.steps.preflight import InspectServer, Preflight
from control_plane.provisioning.steps.publish_host_dns import PublishHostDns, WithdrawHostDns
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from protos.agent.v1.commands_pb2 import CommandResult
from protos.agent.v1.link_pb2 import AgentMessage
from tests.fakes.name_server import FakeNameServer, running_name_server
from tests.fakes.provider import FakeProvider
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.running_hub import AgentLink, RunningHub, running_hub

ZONE, PROBE, SIX = "list.example", "mx.example:25", "2001:db8::1"
LIST = Blocklist(
    name="The List",
    zone=ZONE,
    severity=Severity.REFUSE,
    listed={"127.0.0.2": "spam"},
    neighbours=0,
    ipv6=True,
    rules="Ask nicely.",
    removal="https://list.example/off",
)


class PublishedZone:
    """A DNS host: what it has, the name server answers."""

    def __init__(self, names: FakeNameServer) -> None:
        self.records: set[DnsRecord] = set()
        self._names = names

    def plan(self, zone: str, wanted: Collection[DnsRecord], written: Collection[DnsRecord], *_: object) -> ZonePlan:
        after = (self.records - set(written)) | set(wanted)
        changes = (PlannedChange("A", "@", frozenset(), frozenset()),) if after != self.records else ()
        return ZonePlan(zone, changes, (), frozenset(wanted), after)

    def apply(self, plan: ZonePlan) -> None:
        after = cast("set[DnsRecord]", plan.instructions)
        for record in self.records | after:
            key = (record.fqdn, record.type)
            self._names.records[key] = [each.value for each in after if (each.fqdn, each.type) == key]
        self.records = after


class OneAddressProvider(FakeProvider):
    """A cloud that points its addresses for all to see, and gives a server one for good."""

    def __init__(self, names: FakeNameServer) -> None:
        super().__init__()
        self.names = names
        self.points = True

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        await super().set_reverse_dns(name, ipv4_address, hostname)
        if self.points:
            self.names.point(ipv4_address, *([hostname] if hostname else []))


class SixProvider(OneAddressProvider):
    """A cloud whose servers have an IPv6 address, too; `refuses_ipv6` is why it points it to nobody."""

    capabilities = FakeProvider.capabilities | {Capability.REVERSE_DNS_V6}

    def __init__(self, names: FakeNameServer) -> None:
        super().__init__(names)
        self.ipv6_address = SIX
        self.refuses_ipv6: ProviderError | None = None

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        if ipv4_address == SIX and self.refuses_ipv6 is not None:
            raise self.refuses_ipv6
        await super().set_reverse_dns(name, ipv4_address, hostname)


class ManyAddressesProvider(OneAddressProvider):
    """A cloud that gives another address when asked."""

    capabilities = FakeProvider.capabilities | {Capability.REPLACE_ADDRESS}

    def __init__(self, names: FakeNameServer) -> None:
        super().__init__(names)
        self.refused: list[set[str]] = []

    async def replace_address(self, name: str, refused: Collection[str]) -> ProviderServer:
        self._answer()
        self.refused.append(set(refused))
        free = (f"192.0.2.{last}" for last in range(1, 255))
        server = replace(self.servers[name], ipv4_address=next(each for each in free if each not in refused))
        self.servers[name] = server
        return server


@dataclass
class Stage:
    """One server that is being made, and everything around it."""

    hub: RunningHub
    tenant: SomeTenant
    names: FakeNameServer
    provider: OneAddressProvider
    zone: PublishedZone
    environment: Environment
    vps_id: uuid.UUID

    @property
    def context(self) -> StepContext:
        return StepContext(self.environment, Run(uuid.uuid4(), self.tenant.id, "vps.provision", self.vps_id, {}))

    async def run(self) -> Outcome:
        return await Preflight().run(self.context)

    async def execute(self, statement: str, **values: object) -> None:
        async with self.hub.database.system() as session:
            names = {"id": self.vps_id} if ":id" in statement else {}
            await session.execute(text(statement), {**names, **values})

    async def address(self) -> str:
        async with self.hub.database.system() as session:
            query = text("SELECT host(ip_address) FROM vps_servers WHERE id = :id")
            return str(await session.scalar(query, {"id": self.vps_id}))

    async def record(self, outcome: Outcome) -> Mapping[str, object]:
        """Have what a step wants written written, and return its whole result."""
        assert isinstance(outcome, Done)
        assert outcome.apply is not None
        async with self.hub.database.system() as session:
            return {**outcome.result, **(await outcome.apply(session) or {})}

    async def sends_over_ipv6(self) -> bool:
        """What the server's agent is told."""
        async with self.hub.database.system() as session:
            state = await load_desired_state(session, self.vps_id, self.environment.sealer, ["192.0.2.53"])
        assert state.server.ipv6_address == SIX
        return state.server.sends_over_ipv6

    async def preflights(self) -> int:
        async with self.hub.database.system() as session:
            query = text("SELECT count(*) FROM pipeline_runs WHERE subject_id = :id AND kind = 'vps.preflight'")
            return int(await session.scalar(query, {"id": self.vps_id}) or 0)

    async def report(self) -> PreflightReport:
        async with self.hub.database.tenant(self.tenant.id) as session:
            report = await load_report(session, self.tenant.id, self.vps_id)
        assert report is not None
        return report

    def list_addresses(self, *addresses: str) -> None:
        for address in addresses:
            self.names.list_address(ZONE, address, "127.0.0.2")

    @asynccontextmanager
    async def agent(self, outcome: CommandResult.Outcome.ValueType, detail: str = "") -> AsyncIterator[None]:
        """An agent that answers each command so."""

        async def answer(link: AgentLink) -> None:
            while True:
                command = (await link.receive("command")).command
                result = CommandResult(id=command.id, outcome=outcome, detail=detail)
                await link.send(AgentMessage(command_result=result))

        async with self.hub.linked(await self.hub.credentials(self.tenant.id, self.vps_id)) as link:
            task = asyncio.create_task(answer(link))
            yield
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def hub(database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(database, redis_server.url, tmp_path) as running:
        yield running


def _inspector(names: FakeNameServer, probes: tuple[str, ...] = ()) -> Inspector:
    return Inspector(Resolvers(["127.0.0.1"], names.port), (LIST,), probes, 10, asks_about_all=True)


@asynccontextmanager
async def staged(
    hub: RunningHub, tenant: SomeTenant, kind: type[OneAddressProvider], probes: tuple[str, ...] = ()
) -> AsyncIterator[Stage]:
    """A server whose agent has connected and whose records are published."""
    async with running_name_server() as names:
        for example in (LISTED_EXAMPLE, LISTED_EXAMPLE_V6):
            names.list_address(ZONE, example, "127.0.0.2")
        provider, zone = kind(names), PublishedZone(names)
        settings = Settings.model_validate({"state_dir": "/nowhere", "address_attempts": 2})
        environment = Environment(hub.database, {"local": provider}, zone, settings, Sealer(bytes(32)))
        object.__setattr__(environment, "inspector", _inspector(names, probes))
        vps_id = await make_server(hub.database, tenant, status="provisioning")
        made = await provider.create(ServerOrder(f"pm-{vps_id.hex[:12]}", "", "", "", "", ()))
        stage = Stage(hub, tenant, names, provider, zone, environment, vps_id)
        await stage.execute(
            "UPDATE vps_servers SET ip_address = CAST(:ip AS inet), ipv6_address = CAST(:ipv6 AS inet),"
            " probe_password_sealed = :sealed WHERE id = :id",
            ip=made.ipv4_address,
            ipv6=made.ipv6_address,
            sealed=environment.sealer.seal(b"sixteen-or-more-characters", probe_password_place(vps_id)),
        )
        assert isinstance(await PublishHostDns(host_of_server).run(stage.context), Done)
        yield stage


@pytest.fixture
async def stage(hub: RunningHub, tenant: SomeTenant) -> AsyncIterator[Stage]:
    async with staged(hub, tenant, ManyAddressesProvider) as made:
        yield made


@pytest.fixture
async def simple(hub: RunningHub, tenant: SomeTenant) -> AsyncIterator[Stage]:
    async with staged(hub, tenant, OneAddressProvider) as made:
        yield made


@pytest.fixture
async def six(hub: RunningHub, tenant: SomeTenant) -> AsyncIterator[Stage]:
    async with staged(hub, tenant, SixProvider) as made:
        yield made


@pytest.fixture
async def probed(hub: RunningHub, tenant: SomeTenant) -> AsyncIterator[Stage]:
    async with staged(hub, tenant, OneAddressProvider, (PROBE,)) as made:
        yield made


async def test_a_server_that_is_fit_goes_on_and_what_was_found_is_kept(stage: Stage) -> None:
    outcome = await stage.run()
    assert isinstance(outcome, Done)
    assert outcome.result["passed"] == 2
    assert outcome.result["unknown"] == [
        "no host to try is named (PENGUIN_PORT25_PROBE), so whether mail can leave the server is not known",
        "the server's clock was not measured yet",
    ]
    report = await stage.report()
    assert (report.verdict, report.address) == ("unknown", "192.0.2.1")
    assert [(check.kind, check.verdict) for check in report.checks] == [
        ("clock", "unknown"),
        ("port_25", "unknown"),
        ("blocklist", "passed"),
        ("reverse_dns", "passed"),
    ]


async def test_an_agent_that_reads_a_greeting_proves_the_port_open(probed: Stage) -> None:
    async with probed.agent(CommandResult.OUTCOME_DONE):
        assert isinstance(await probed.run(), Done)


async def test_a_closed_port_asks_a_person_with_the_words_to_send(probed: Stage) -> None:
    async with probed.agent(CommandResult.OUTCOME_FAILED, "mx.example did not answer within 10 s"):
        outcome = await probed.run()
    assert isinstance(outcome, AskPerson)
    assert outcome.reason == (
        "mail cannot leave the server: mx.example:25 was not reached from the server:"
        " mx.example did not answer within 10 s"
    )
    assert "Please open outgoing port 25" in outcome.remedy
    assert "192.0.2.1" in outcome.remedy
    assert outcome.seconds == 900.0
    assert (await probed.report()).verdict == "failed"


async def test_an_agent_too_old_to_try_is_not_held_against_its_server(probed: Stage) -> None:
    async with probed.agent(CommandResult.OUTCOME_REFUSED, "not known"):
        assert isinstance(await probed.run(), Done)


async def test_an_agent_that_does_not_answer_is_waited_for(probed: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.preflight.port_25._PATIENCE_SECONDS", 0.0)
    outcome = await probed.run()
    assert isinstance(outcome, Wait)
    assert "has not answered yet" in outcome.reason


async def test_a_clock_that_is_off_is_waited_for(stage: Stage) -> None:
    await stage.execute("UPDATE vps_servers SET clock_offset_ms = -60000 WHERE id = :id")
    outcome = await stage.run()
    assert isinstance(outcome, Wait)
    assert outcome.reason == "the server's clock is 60.0 s behind ours, more than 10 s"


async def test_a_listed_address_is_given_back_for_the_next(stage: Stage) -> None:
    stage.list_addresses("192.0.2.1")
    assert isinstance(await stage.run(), Wait)
    assert isinstance(await stage.run(), Wait)
    assert await stage.address() == "192.0.2.2"
    waiting = await stage.run()
    assert isinstance(waiting, Wait)
    assert waiting.reason == "the server has not applied the configuration for its new address yet"
    (host,) = {record.fqdn for record in stage.zone.records if record.type == "A"}
    assert {record.value for record in stage.zone.records if record.type == "A"} == {"192.0.2.2"}
    assert stage.provider.reverse_dns["192.0.2.2"] == host
    await stage.execute(
        "UPDATE vps_servers SET applied_version = desired_version, mail_server_status = 'running' WHERE id = :id"
    )
    assert isinstance(await stage.run(), Done)


async def test_a_provider_that_is_busy_while_it_replaces_is_waited_for(stage: Stage) -> None:
    stage.list_addresses("192.0.2.1")
    await stage.run()
    stage.provider.busy_for = 1
    assert await stage.run() == Wait("the provider: too many requests", ProviderBusy("").seconds)
    assert await stage.address() == "192.0.2.1"
    await stage.run()
    assert await stage.address() == "192.0.2.2"


async def test_after_so_many_addresses_a_person_is_asked(stage: Stage) -> None:
    stage.list_addresses(*(f"192.0.2.{last}" for last in range(1, 10)))
    for _ in range(4):
        assert isinstance(await stage.run(), Wait)
    outcome = await stage.run()
    assert isinstance(outcome, AskPerson)
    assert outcome.reason.startswith("the server's address is no good after 2 others: listed by The List: spam.")
    assert await stage.address() == "192.0.2.3"


async def test_an_address_that_was_refused_for_another_server_is_not_taken_again(stage: Stage) -> None:
    stage.list_addresses("192.0.2.1")
    await stage.execute(
        "INSERT INTO refused_addresses (provider, address, vps_id, reason, refused_at) VALUES"
        " ('local', '192.0.2.2', gen_random_uuid(), 'x', now()), ('other', '192.0.2.3', gen_random_uuid(), 'x', now()),"
        " ('local', '192.0.2.4', gen_random_uuid(), 'x', now() - interval '31 days')"
    )
    await stage.run()
    await stage.run()
    assert await stage.address() == "192.0.2.3"
    assert isinstance(stage.provider, ManyAddressesProvider)
    assert stage.provider.refused == [{"192.0.2.1", "192.0.2.2"}]


async def test_a_provider_with_one_address_asks_a_person_and_the_list_may_relent(simple: Stage) -> None:
    simple.list_addresses("192.0.2.1")
    outcome = await simple.run()
    assert isinstance(outcome, AskPerson)
    assert "https://list.example/off" in outcome.reason
    assert outcome.remedy.startswith("fake gives a server no other address.")
    simple.names.records.pop(next(key for key in simple.names.records if key[0] == f"1.2.0.192.{ZONE}"))
    object.__setattr__(
        simple.environment.inspector, "resolvers", Resolvers(["127.0.0.1"], simple.names.port)
    )  # Its answer has run out.
    assert isinstance(await simple.run(), Done)


async def test_a_missing_ptr_is_waited_for_before_the_address_is_blamed(stage: Stage) -> None:
    stage.names.point("192.0.2.1")
    stage.provider.points = False
    outcome = await stage.run()
    assert isinstance(outcome, Wait)
    assert "192.0.2.1 has no PTR record" in outcome.reason
    await stage.execute("UPDATE preflight_results SET since = now() - interval '2 hours' WHERE vps_id = :id")
    outcome = await stage.run()
    assert isinstance(outcome, Wait)
    assert outcome.reason.startswith("another address is got for the server: 192.0.2.1 has no PTR record")
    stage.provider.points = True
    await stage.run()
    assert await stage.address() == "192.0.2.2"


async def test_the_time_since_when_something_fails_is_kept_while_it_does(stage: Stage) -> None:
    stage.names.point("192.0.2.1")
    for _ in range(2):
        await stage.run()
    first = (await stage.report()).checks[0]
    assert (first.verdict, first.since < first.checked_at) == ("failed", True)
    await stage.execute("UPDATE vps_servers SET ip_address = '192.0.2.77' WHERE id = :id")
    await stage.run()
    (moved,) = [check for check in (await stage.report()).checks if check.kind == "reverse_dns"]
    assert (moved.about, moved.since) == ("192.0.2.77", moved.checked_at)


async def test_a_server_that_is_to_go_is_looked_at_no_more(stage: Stage) -> None:
    await stage.execute("UPDATE vps_servers SET status = 'deleting' WHERE id = :id")
    assert await stage.run() == Failed("the server's removal was asked for", Cause.GONE)


async def test_a_server_in_use_is_looked_at_and_left_as_it_is(stage: Stage) -> None:
    await stage.execute("UPDATE vps_servers SET status = 'ready' WHERE id = :id")
    stage.list_addresses("192.0.2.1")
    outcome = await InspectServer().run(stage.context)
    assert isinstance(outcome, Done)
    assert outcome.result["failed"][0].startswith("listed by The List")
    assert await stage.address() == "192.0.2.1"
    assert (await stage.report()).verdict == "failed"


# ------------------------------------------------------------------ IPv6


def _six_provider(stage: Stage) -> SixProvider:
    assert isinstance(stage.provider, SixProvider)
    return stage.provider


async def test_mail_goes_out_over_ipv6_once_its_address_is_named_both_ways(six: Stage) -> None:
    assert not await six.sends_over_ipv6()
    assert {record.value for record in six.zone.records if record.type == "AAAA"} == {SIX}
    result = await six.record(await six.run())
    assert result["sends_over_ipv6"] is True
    assert await six.sends_over_ipv6()
    kinds = {check.kind: check.verdict for check in (await six.report()).checks if check.kind.endswith("_v6")}
    assert kinds == {"reverse_dns_v6": "passed", "blocklist_v6": "passed"}


async def test_a_server_is_used_without_ipv6_when_its_address_is_not_named(six: Stage) -> None:
    six.names.point(SIX)
    result = await six.record(await six.run())
    assert result["warned"] == [
        f"{SIX} has no PTR record; it should name {await _hostname(six)}; nothing is sent over IPv6"
    ]
    assert "sends_over_ipv6" not in result
    assert not await six.sends_over_ipv6()


async def test_a_server_is_used_without_ipv6_when_a_list_has_its_address(six: Stage) -> None:
    six.list_addresses(SIX)
    result = await six.record(await six.run())
    (warning,) = cast("list[str]", result["warned"])
    assert warning.endswith("nothing is sent over IPv6")
    assert not await six.sends_over_ipv6()
    assert (await six.address()) == "192.0.2.1"


async def test_a_look_at_a_server_in_use_stops_mail_over_ipv6_and_lets_it_begin_again(six: Stage) -> None:
    await six.execute("UPDATE vps_servers SET status = 'ready' WHERE id = :id")
    await six.record(await InspectServer().run(six.context))
    assert await six.sends_over_ipv6()
    six.names.point(SIX, "elsewhere.example")
    assert (await six.record(await InspectServer().run(six.context)))["sends_over_ipv6"] is False
    assert not await six.sends_over_ipv6()
    six.names.point(SIX, await _hostname(six))
    await six.record(await InspectServer().run(six.context))
    assert await six.sends_over_ipv6()


async def test_name_servers_that_do_not_answer_leave_ipv6_as_it_was(six: Stage) -> None:
    await six.execute("UPDATE vps_servers SET status = 'ready' WHERE id = :id")
    await six.record(await InspectServer().run(six.context))
    six.names.broken.add("ip6.arpa")
    await six.record(await InspectServer().run(six.context))
    assert await six.sends_over_ipv6()
    await look_at_ipv6(six.environment)
    assert await six.preflights() == 0


async def test_an_address_that_took_the_place_of_the_one_looked_at_is_not_sent_from(six: Stage) -> None:
    outcome = await six.run()
    await six.execute("UPDATE vps_servers SET ipv6_address = '2001:db8::2' WHERE id = :id")
    await six.record(outcome)
    await six.execute("UPDATE vps_servers SET ipv6_address = CAST(:six AS inet) WHERE id = :id", six=SIX)
    assert not await six.sends_over_ipv6()


async def test_every_hour_a_name_that_came_or_went_is_noticed(six: Stage) -> None:
    await six.execute("UPDATE vps_servers SET status = 'ready' WHERE id = :id")
    six.names.point(SIX)
    await look_at_ipv6(six.environment)
    assert await six.preflights() == 0
    six.names.point(SIX, await _hostname(six))
    await look_at_ipv6(six.environment)
    assert await six.preflights() == 1
    await six.execute("UPDATE pipeline_runs SET state = 'done', finished_at = now() WHERE subject_id = :id")
    await six.record(await InspectServer().run(six.context))
    await look_at_ipv6(six.environment)
    assert await six.preflights() == 1
    six.names.point(SIX)
    await look_at_ipv6(six.environment)
    assert await six.preflights() == 2


async def _blocklist(stage: Stage) -> str | None:
    return {check.kind: check.verdict for check in (await stage.report()).checks}.get("blocklist")


async def _pass_since_the_last_look(stage: Stage, interval: str) -> None:
    """Answers of lists have run out meanwhile."""
    object.__setattr__(stage.environment, "inspector", _inspector(stage.names))
    await stage.execute(
        "UPDATE preflight_results SET checked_at = checked_at - CAST(:interval AS interval)", interval=interval
    )


_IS_USED = (
    "UPDATE vps_servers SET status = 'ready', monitoring_enabled = true, link_session = gen_random_uuid(),"
    " last_seen_at = now() WHERE id = :id"
)


async def test_a_server_in_use_is_looked_at_again_and_sooner_when_it_is_not_well(simple: Stage) -> None:
    await simple.execute(_IS_USED)
    await look_again(simple.environment)
    assert await _blocklist(simple) == "passed"
    simple.list_addresses(await simple.address())
    await _pass_since_the_last_look(simple, "5 hours 59 minutes")
    await look_again(simple.environment)
    assert await _blocklist(simple) == "passed"
    await _pass_since_the_last_look(simple, "1 minute")
    await look_again(simple.environment)
    assert await _blocklist(simple) == "failed"
    simple.names.list_address(ZONE, await simple.address())
    await _pass_since_the_last_look(simple, "15 minutes")
    await look_again(simple.environment)
    assert await _blocklist(simple) == "passed"


async def test_what_is_silent_or_not_monitored_is_not_looked_at(simple: Stage) -> None:
    for unfit in (
        "last_seen_at = now() - interval '1 minute'",
        "monitoring_enabled = false",
        "status = 'deleting'",
    ):
        await simple.execute(_IS_USED)
        await simple.execute(f"UPDATE vps_servers SET {unfit} WHERE id = :id")  # noqa: S608 - words of this test
        await look_again(simple.environment)
        assert await _blocklist(simple) is None, unfit


async def test_a_look_at_a_server_in_use_by_the_clock_stops_mail_over_ipv6_too(six: Stage) -> None:
    await six.execute(_IS_USED)
    await look_again(six.environment)
    assert await six.sends_over_ipv6()
    six.names.point(SIX, "elsewhere.example")
    await _pass_since_the_last_look(six, "6 hours")
    await look_again(six.environment)
    assert not await six.sends_over_ipv6()


async def test_a_provider_that_refuses_the_ipv6_name_keeps_no_server(six: Stage) -> None:
    _six_provider(six).refuses_ipv6 = ProviderError("not for you")
    assert isinstance(await PublishHostDns(host_of_server).run(six.context), Done)
    _six_provider(six).refuses_ipv6 = ProviderBusy("later", 7.0)
    assert await PublishHostDns(host_of_server).run(six.context) == Wait("the provider: later", 7.0)


async def test_nothing_of_both_addresses_is_left_in_the_zone(six: Stage) -> None:
    assert {record.type for record in six.zone.records} == {"A", "AAAA", "TXT"}
    assert isinstance(await WithdrawHostDns(host_of_server).run(six.context), Done)
    assert six.zone.records == set()


async def _hostname(stage: Stage) -> str:
    async with stage.hub.database.system() as session:
        return str(await session.scalar(text("SELECT hostname FROM vps_servers WHERE id = :id"), {"id": stage.vps_id}))
