import asyncio
import time
import uuid
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import grpc.aio
import psycopg
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from agent.uplink.deflating import deflated
from control_plane.embedded.postgres import OWNER
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.enrolment.authority import Authority
from control_plane.enrolment.certificates import revoke_certificates
from control_plane.enrolment.identity import AgentIdentity
from control_plane.fleet.desired import raise_desired_version
from control_plane.fleet.links import clear_links
from control_plane.fleet.servers import server_health
from control_plane.queuer.streams import connect
from control_plane.sealing import Sealer
from protos.agent.v1.configuration_pb2 import ConfigurationResult
from protos.agent.v1.delivery_pb2 import DeliveryEvent, DeliveryEvents
from protos.agent.v1.link_pb2 import AgentMessage, Hello, QueueAccessRequest, RenewRequest
from protos.agent.v1.link_pb2_grpc import LinkStub
from protos.agent.v1.telemetry_pb2 import HealthReport, ServedCertificate
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server, states_of
from tests.integration.running_hub import Credentials, RunningHub, csr, key_pem, make_key, running_hub


@pytest.fixture
async def hub(database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(database, redis_server.url, tmp_path) as running:
        yield running


@pytest.fixture
async def agent(hub: RunningHub, tenant: SomeTenant) -> Credentials:
    """Credentials of a ready server."""
    return await hub.credentials(tenant.id, await server(hub, tenant))


async def server(hub: RunningHub, tenant: SomeTenant) -> uuid.UUID:
    vps_id = await make_server(hub.database, tenant)
    sealed = hub.sealer.seal(b"probe password", f"vps_servers.probe_password:{vps_id}")
    await execute(
        hub, "UPDATE vps_servers SET probe_password_sealed = :sealed WHERE id = :id", sealed=sealed, id=vps_id
    )
    return vps_id


async def execute(hub: RunningHub, statement: str, **parameters: object) -> None:
    async with hub.database.system() as session:
        await session.execute(text(statement), parameters)


async def scalar(hub: RunningHub, statement: str) -> object:
    async with hub.database.system() as session:
        return await session.scalar(text(statement))


def event(send_id: uuid.UUID, lease_token: uuid.UUID, kind: DeliveryEvent.Kind.ValueType) -> DeliveryEvent:
    at_ms = int(datetime.now(UTC).timestamp() * 1000)
    return DeliveryEvent(
        event_id=uuid.uuid4().bytes, send_id=send_id.bytes, lease_token=lease_token.bytes, at_ms=at_ms, kind=kind
    )


async def refusal(hub: RunningHub, private_key_pem: bytes | None, certificate_pem: bytes | None) -> grpc.StatusCode:
    """Return how a call to the link port ends."""
    async with hub.link_channel(private_key_pem, certificate_pem) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await LinkStub(channel).Renew(RenewRequest(csr_der=csr(make_key())), timeout=20)
    return refused.value.code()


async def test_the_welcome_brings_access_to_the_servers_own_queue(
    hub: RunningHub, agent: Credentials, redis: Redis
) -> None:
    async with hub.linked(agent) as link:
        access = link.welcome.welcome.queue_access
        assert access.endpoint == hub.settings.redis_agent_endpoint
        assert access.key_prefix == f"pm:{{{agent.vps_id}}}"
        assert access.ca_pem == hub.authority.certificate_pem
        client = connect(
            f"unix://{access.username}:{access.password}@{redis.connection_pool.connection_kwargs['path']}"
        )
        assert await client.ping()

        await redis.acl_deluser(access.username)
        await link.send(AgentMessage(queue_access_request=QueueAccessRequest()))
        again = (await link.receive("queue_access")).queue_access
        assert again.username == access.username
        assert again.password != access.password
        await client.aclose()


async def test_queue_access_follows_when_redis_was_away_at_the_welcome(
    database: FreshDatabase, tenant: SomeTenant, tmp_path: Path
) -> None:
    redis_server = EmbeddedRedis(tmp_path / "r")
    async with running_hub(database, redis_server.url, tmp_path) as hub:
        agent = await hub.credentials(tenant.id, await server(hub, tenant))
        async with hub.linked(agent) as link:
            assert not link.welcome.welcome.HasField("queue_access")
            redis_server.start()
            try:
                assert (await link.receive("queue_access")).queue_access.password
            finally:
                redis_server.stop()


async def test_the_desired_state_is_sent_when_it_is_newer_and_its_result_is_recorded(
    hub: RunningHub, agent: Credentials
) -> None:
    async with hub.linked(agent) as link:
        first = (await link.receive("desired_state")).desired_state
        assert first.version == 1
        assert first.server.probe.password == "probe password"

        async with hub.database.system() as session:
            assert await raise_desired_version(session, agent.vps_id) == 2
        second = (await link.receive("desired_state")).desired_state
        assert second.version == 2

        async with hub.database.listening("configuration_applied") as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert isinstance(driver, psycopg.AsyncConnection)
            applied = ConfigurationResult(version=2, outcome=ConfigurationResult.OUTCOME_APPLIED, detail="it works")
            await link.send(AgentMessage(configuration_result=applied))
            heard = [notification.payload async for notification in driver.notifies(stop_after=1, timeout=20)]
            await connection.invalidate()
    assert heard == [str(agent.vps_id)]
    assert await scalar(hub, "SELECT mail_server_status || applied_version || applied_detail FROM vps_servers") == (
        "running2it works"
    )


async def test_a_server_whose_secrets_do_not_open_keeps_its_link_without_a_desired_state(
    hub: RunningHub, agent: Credentials
) -> None:
    await execute(hub, "UPDATE vps_servers SET probe_password_sealed = '\\x00'")
    async with hub.linked(agent) as link:
        await link.send(AgentMessage(delivery_events=DeliveryEvents()))
        await link.receive("events_confirmed")


async def test_a_result_that_was_lost_is_learnt_from_the_next_hello(hub: RunningHub, agent: Credentials) -> None:
    async with hub.linked(agent, applied_version=1) as link:
        assert await scalar(hub, "SELECT applied_version FROM vps_servers") == 1
        async with hub.database.system() as session:
            await raise_desired_version(session, agent.vps_id)
        # Version 1 was not sent again before it.
        assert (await link.read()).desired_state.version == 2


async def test_a_report_is_kept_and_the_server_is_reachable_while_it_is_linked(
    hub: RunningHub, agent: Credentials
) -> None:
    served = [ServedCertificate(port=25, not_after_ms=2_000_000_000_000), ServedCertificate(port=993, error="refused")]
    report = HealthReport(at_ms=1_795_000_000_000, agent_version="1.1", certificates=served)
    report.postfix_queue.active = 3
    async with hub.linked(agent) as link:
        await link.send(AgentMessage(health=report))
        await link.send(AgentMessage(delivery_events=DeliveryEvents()))
        await link.receive("events_confirmed")
        async with hub.database.system() as session:
            health = await server_health(session, agent.vps_id)
        assert health is not None
        assert health.reachable
        assert (health.agent_version, health.postfix_queue) == ("1.1", 3)
        assert health.report == report
        assert health.clock_offset_ms is None
        await link.send(AgentMessage(health=HealthReport(at_ms=time.time_ns() // 1_000_000 + 60_000)))
        await link.send(AgentMessage(delivery_events=DeliveryEvents()))
        await link.receive("events_confirmed")
        assert await scalar(hub, "SELECT clock_offset_ms BETWEEN 50000 AND 60000 FROM vps_servers")
        expires = await scalar(hub, "SELECT ssl_certificate_expires FROM vps_servers")
        assert expires == datetime.fromtimestamp(2_000_000_000, UTC)

        link.call.cancel()
        await closed(hub)
    async with hub.database.system() as session:
        health = await server_health(session, agent.vps_id)
    assert health is not None
    assert not health.reachable


async def closed(hub: RunningHub) -> None:
    while await scalar(hub, "SELECT link_session FROM vps_servers") is not None:
        pass


async def test_events_are_applied_and_confirmed(hub: RunningHub, agent: Credentials, tenant: SomeTenant) -> None:
    inbox = await make_inbox(hub.database, tenant, agent.vps_id)
    [send_id] = await make_sends(hub.database, inbox, 1)
    lease = uuid.uuid4()
    await lease_to(hub, lease)
    events = [event(send_id, lease, DeliveryEvent.KIND_RELAYED), event(send_id, lease, DeliveryEvent.KIND_DELIVERED)]

    async with hub.linked(agent) as link:
        await link.send(AgentMessage(delivery_events=DeliveryEvents(events=events)))
        confirmed = (await link.receive("events_confirmed")).events_confirmed.event_ids

    assert list(confirmed) == [each.event_id for each in events]
    assert await states_of(hub.database, [send_id]) == ["delivered"]


async def test_batches_may_come_deflated(hub: RunningHub, agent: Credentials, tenant: SomeTenant) -> None:
    inbox = await make_inbox(hub.database, tenant, agent.vps_id)
    sends = await make_sends(hub.database, inbox, 100)
    lease = uuid.uuid4()
    await lease_to(hub, lease)
    events = [event(send_id, lease, DeliveryEvent.KIND_RELAYED) for send_id in sends]
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    hour = [HealthReport(at_ms=now_ms - ago * 60_000, agent_version="1.1" * 30) for ago in range(59, 0, -1)]

    async with hub.linked(agent) as link:
        most = link.welcome.welcome.most_inflated_bytes
        told = deflated(AgentMessage(health=HealthReport(at_ms=now_ms, backlog=hour)), most)
        batch = deflated(AgentMessage(delivery_events=DeliveryEvents(events=events)), most)
        for message in (told, batch):
            assert message.deflated
            await link.send(message)
        confirmed = (await link.receive("events_confirmed")).events_confirmed.event_ids

    assert list(confirmed) == [each.event_id for each in events]
    assert set(await states_of(hub.database, sends)) == {"relayed"}
    assert await scalar(hub, "SELECT count(*) FROM health_reports") == 60


@pytest.mark.parametrize("octets", [b"no stream of zlib's", zlib.compress(b"\0" * 10_000_000)], ids=["noise", "bomb"])
async def test_what_cannot_be_inflated_ends_the_link_and_nothing_of_it_is_kept(
    hub: RunningHub, agent: Credentials, octets: bytes
) -> None:
    async with hub.linked(agent) as link:
        await link.send(AgentMessage(deflated=octets))
        assert await link.ended_with() is grpc.StatusCode.INVALID_ARGUMENT
    assert await scalar(hub, "SELECT count(*) FROM vps_reports") == 0


async def lease_to(hub: RunningHub, lease: uuid.UUID) -> None:
    await execute(
        hub,
        "UPDATE messages SET state = 'queued', lease_token = :lease, lease_deadline = now() + interval '5 min'",
        lease=lease,
    )


async def test_while_postgresql_is_away_the_link_stays_and_events_are_confirmed_later(
    hub: RunningHub, database: FreshDatabase, agent: Credentials, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(hub.database, tenant, agent.vps_id)
    [send_id] = await make_sends(hub.database, inbox, 1)
    lease = uuid.uuid4()
    await lease_to(hub, lease)
    relayed = event(send_id, lease, DeliveryEvent.KIND_RELAYED)

    async with hub.linked(agent) as link:
        with psycopg.connect(database.cluster.url(OWNER, "postgres"), autocommit=True) as owner:
            owner.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false".encode())
            owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database.name])
            await link.send(AgentMessage(delivery_events=DeliveryEvents(events=[relayed])))
            confirmation = asyncio.create_task(link.receive("events_confirmed"))
            assert not (await asyncio.wait((confirmation,), timeout=0.5))[0]
            owner.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true".encode())
        confirmed = (await confirmation).events_confirmed.event_ids
    assert list(confirmed) == [relayed.event_id]


async def test_a_second_link_of_a_server_ends_the_first(hub: RunningHub, agent: Credentials) -> None:
    async with hub.linked(agent) as first, hub.linked(agent) as second:
        assert await first.ended_with() is grpc.StatusCode.UNAVAILABLE
        await second.send(AgentMessage(delivery_events=DeliveryEvents()))
        await second.receive("events_confirmed")
        assert await scalar(hub, "SELECT link_session FROM vps_servers") is not None


@pytest.mark.parametrize(
    "first_message",
    [AgentMessage(), AgentMessage(health=HealthReport()), AgentMessage(delivery_events=DeliveryEvents())],
)
async def test_a_stream_that_does_not_begin_with_hello_is_refused(
    hub: RunningHub, agent: Credentials, first_message: AgentMessage
) -> None:
    async with hub.opened(agent) as link:
        await link.send(first_message)
        assert await link.ended_with() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "malformed",
    [
        AgentMessage(),
        AgentMessage(hello=Hello()),
        AgentMessage(configuration_result=ConfigurationResult(version=1)),
        AgentMessage(health=HealthReport(at_ms=2**62)),
        AgentMessage(health=HealthReport(agent_version="\0")),
    ],
)
async def test_a_malformed_message_ends_its_own_link_and_no_other(
    hub: RunningHub, agent: Credentials, tenant: SomeTenant, malformed: AgentMessage
) -> None:
    bystander = await hub.credentials(tenant.id, await server(hub, tenant))
    async with hub.linked(bystander) as other, hub.linked(agent) as link:
        await link.send(malformed)
        assert await link.ended_with() is grpc.StatusCode.INVALID_ARGUMENT
        await other.send(AgentMessage(delivery_events=DeliveryEvents()))
        await other.receive("events_confirmed")


async def test_a_caller_without_a_certificate_or_with_a_foreign_one_does_not_get_through_the_handshake(
    hub: RunningHub, agent: Credentials, database: FreshDatabase, tenant: SomeTenant
) -> None:
    async with hub.database.system() as session:
        await session.execute(text("DELETE FROM certificate_authorities"))
        await session.execute(text("DELETE FROM platform_data_keys"))
        foreign = await Authority.load_or_create(session, Sealer(b"k" * 32), "penguin.example")
    key = make_key()
    stranger = foreign.issue_agent(csr(key), AgentIdentity(tenant.id, agent.vps_id))

    assert await refusal(hub, None, None) is grpc.StatusCode.UNAVAILABLE
    assert await refusal(hub, key_pem(key), stranger.pem) is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_that_was_never_recorded_must_enrol_again(hub: RunningHub, tenant: SomeTenant) -> None:
    unrecorded = await hub.credentials(tenant.id, await server(hub, tenant), record=False)
    status = await refusal(hub, unrecorded.private_key_pem, unrecorded.certificate_pem)
    assert status is grpc.StatusCode.UNAUTHENTICATED


async def test_a_certificate_of_one_of_our_doors_is_not_an_agents(hub: RunningHub) -> None:
    door = hub.authority.issue_server(["hub.penguin.example"], [])
    status = await refusal(hub, door.private_key_pem, door.certificate_pem)
    assert status in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}


async def test_a_revoked_certificate_is_refused(hub: RunningHub, agent: Credentials) -> None:
    async with hub.database.system() as session:
        await revoke_certificates(session, agent.vps_id)
    status = await refusal(hub, agent.private_key_pem, agent.certificate_pem)
    assert status is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("is_notified", [True, False])
async def test_a_ban_cuts_the_open_link_when_it_is_notified_and_else_with_the_next_report(
    hub: RunningHub, agent: Credentials, is_notified: bool
) -> None:
    async with hub.linked(agent) as link:
        await link.receive("desired_state")
        if is_notified:
            await execute(hub, "UPDATE vps_servers SET banned_at = now()")
        else:
            await execute(hub, "UPDATE agent_certificates SET revoked_at = now()")
            await link.send(AgentMessage(health=HealthReport(at_ms=1)))
        assert await link.ended_with() is grpc.StatusCode.PERMISSION_DENIED


_LINK = text("SELECT link_session FROM vps_servers WHERE id = :id")


async def test_a_hub_that_starts_clears_the_links_that_its_dead_self_left_and_no_others(
    database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path, tenant: SomeTenant
) -> None:
    async with running_hub(database, redis_server.url, tmp_path) as hub:
        agent = await hub.credentials(tenant.id, await server(hub, tenant))
        elsewhere = await server(hub, tenant)
        await execute(hub, "UPDATE vps_servers SET link_session = gen_random_uuid() WHERE id = :id", id=elsewhere)
        async with hub.linked(agent), hub.database.system() as session:
            here = await session.scalar(_LINK, {"id": agent.vps_id})
            await clear_links(session, here)
            assert await session.scalar(_LINK, {"id": agent.vps_id}) is None
            assert await session.scalar(_LINK, {"id": elsewhere}) is not None
