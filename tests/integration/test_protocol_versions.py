"""One version back and one forward: agents of other versions at this hub, and this agent at hubs of other versions."""

import asyncio
import contextlib
import time
import uuid
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from agent.commands.commands import Commands
from agent.settings import Settings
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.fleet.commands import CommandOrder, command_state, request_command
from protos.agent.v1.commands_pb2 import Command, FlushQueue
from protos.agent.v1.delivery_pb2 import EventsConfirmed
from protos.agent.v1.link_pb2 import AgentMessage, HubMessage
from tests.fakes.hub import FakeAuthority, FakeHub
from tests.fakes.other_version import MARK, OtherVersion, other_versions
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.running_hub import AgentLink, RunningHub, running_hub
from tests.integration.test_agent_link import MemorySpool, invite, make_uplink, running
from tests.integration.test_hub_link import scalar, server

NOW_MS = 1_795_000_000_000


@pytest.fixture(params=other_versions(), ids=lambda version: version.name)
def version(request: pytest.FixtureRequest) -> OtherVersion:
    chosen = request.param
    assert isinstance(chosen, OtherVersion)
    return chosen


@pytest.fixture
async def hub(database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(database, redis_server.url, tmp_path) as started:
        yield started


class OtherAgent:
    """An agent of another version, at this hub."""

    def __init__(self, link: AgentLink, version: OtherVersion) -> None:
        self._link = link
        self._version = version

    async def say(self, **body: object) -> None:
        await self._link.send(self._version.said(self._version.make("AgentMessage", **body), AgentMessage))

    async def hear(self, kind: str) -> Any:  # noqa: ANN401 - no type is known before the run
        """Return the next message of a kind, as this version reads it."""
        return getattr(self._version.read(await self._link.receive(kind)), kind)


async def until(hub: RunningHub, question: str, wanted: object) -> None:
    """Return when the database answers so."""
    deadline = time.monotonic() + 20
    while (answer := await scalar(hub, question)) != wanted:
        assert time.monotonic() < deadline, f"{question}: {answer}"
        await asyncio.sleep(0.02)


async def test_an_agent_of_another_version_speaks_to_this_hub(
    hub: RunningHub, tenant: SomeTenant, version: OtherVersion
) -> None:
    credentials = await hub.credentials(tenant.id, await server(hub, tenant))
    async with hub.opened(credentials) as link:
        agent = OtherAgent(link, version)
        make = version.make
        await agent.say(hello=make("Hello", agent_version="another", applied_version=0, boot_id="b"))
        assert (await agent.hear("welcome")).queue_access.password
        state = await agent.hear("desired_state")
        assert (state.version, state.server.probe.password) == (1, "probe password")

        if version.knows_more:
            await agent.say(news="of a kind that this hub does not know")
            await agent.say(configuration_result=make("ConfigurationResult", version=1, outcome=99, detail="new"))
            await until(hub, "SELECT mail_server_status || applied_detail FROM vps_servers", "refusednew")
        await agent.say(configuration_result=make("ConfigurationResult", version=1, outcome=1, detail="applied"))
        host = make("Host", load_1m=0.5, cpu_count=2)
        await agent.say(health=make("HealthReport", at_ms=NOW_MS, agent_version="another", host=host))
        await until(hub, "SELECT mail_server_status || applied_version FROM vps_servers", "running1")
        await until(hub, "SELECT report->'host'->>'load_1m' FROM vps_reports", "0.5")

        event = make("DeliveryEvent", event_id=uuid.uuid4().bytes, send_id=b"s" * 16, kind=1, at_ms=NOW_MS)
        await agent.say(delivery_events=make("DeliveryEvents", events=[event]))
        assert list((await agent.hear("events_confirmed")).event_ids) == [event.event_id]

        if version.knows_more:
            later = make("DeliveryEvent", event_id=uuid.uuid4().bytes, send_id=b"s" * 16, kind=1, at_ms=NOW_MS)
            batch = make("AgentMessage", delivery_events=make("DeliveryEvents", events=[later]))
            await agent.say(deflated=zlib.compress(batch.SerializeToString()))
            assert list((await agent.hear("events_confirmed")).event_ids) == [later.event_id]

        order = CommandOrder(tenant.id, credentials.vps_id, Command(flush_queue=FlushQueue()), "tester")
        async with hub.database.system() as session:
            command_id = await request_command(session, order)
        command = await agent.hear("command")
        assert command.WhichOneof("deed") == "flush_queue"
        await agent.say(command_result=make("CommandResult", id=command.id, outcome=1, detail="flushed"))
        await until(hub, "SELECT state FROM server_commands", "done")
        async with hub.database.system() as session:
            assert (await command_state(session, tenant.id, command_id)).detail == "flushed"


@pytest.fixture
async def other_hub(version: OtherVersion) -> AsyncIterator[FakeHub]:
    """A hub of the other version: what it says, it says by its own contract."""
    fake = FakeHub(FakeAuthority())
    fake.speaks = lambda message: version.said(_remade(version, message), HubMessage)
    await fake.start()
    yield fake
    await fake.stop()


def _remade(version: OtherVersion, message: HubMessage) -> Message:
    theirs = version.read(message)
    theirs.DiscardUnknownFields()
    remade = version.make("HubMessage", **{field.name: value for field, value in theirs.ListFields()})
    assert isinstance(remade, Message)
    assert not version.knows_more or getattr(remade, MARK)
    return remade


async def test_this_agent_speaks_to_a_hub_of_another_version(
    other_hub: FakeHub, version: OtherVersion, tmp_path: Path
) -> None:
    config, state = tmp_path / "etc", tmp_path / "var"
    config.mkdir()
    (config / "ca.pem").write_bytes(other_hub.authority.pem)
    invite(config / "agent.json", other_hub, "join-once")
    spool = MemorySpool()
    spool.add(300)
    uplink = make_uplink(Settings(config_dir=config, state_dir=state), spool)
    commands = Commands(uplink.commands, uplink.send, {})

    async with running(uplink), in_background(commands):
        await other_hub.until(lambda: len(other_hub.events) == 300)
        assert other_hub.deflated == version.knows_more
        hello = version.read(other_hub.received[0]).hello
        assert (hello.agent_version, hello.applied_version) == ("1.2.3", 3)

        if version.knows_more:
            other_hub.to_send.put_nowait(version.said(version.make("HubMessage", news="unheard of"), HubMessage))
            later = version.make("Command", id=b"c" * 16, news="a deed of later", seconds_left=10)
            other_hub.to_send.put_nowait(version.said(version.make("HubMessage", command=later), HubMessage))
            await other_hub.until(lambda: bool(other_hub.of_kind("command_result")))
            result = version.read(other_hub.of_kind("command_result")[0]).command_result
            assert (result.id, result.outcome) == (b"c" * 16, 3)
            assert "does not know that command" in result.detail
        wanted = version.make("DesiredState", version=7, server=version.make("MailServer", hostname="mx.example"))
        changed = asyncio.create_task(uplink.desired_state.changed())
        await asyncio.sleep(0)
        other_hub.to_send.put_nowait(version.said(version.make("HubMessage", desired_state=wanted), HubMessage))
        async with asyncio.timeout(20):
            desired = await changed
        assert (desired.version, desired.server.hostname) == (7, "mx.example")
        assert uplink.connected
        assert len(other_hub.serials) == 1


@contextlib.asynccontextmanager
async def in_background(commands: Commands) -> AsyncIterator[None]:
    task = asyncio.create_task(commands.run())
    yield
    task.cancel()
    await asyncio.wait([task])


def test_what_another_version_adds_stays_in_a_message_that_passes_through_ours() -> None:
    newer = other_versions()[-1]
    said = newer.make("HubMessage", events_confirmed=newer.make("EventsConfirmed", event_ids=[b"1"]))
    ours = newer.said(said, HubMessage)
    assert ours.events_confirmed.event_ids == EventsConfirmed(event_ids=[b"1"]).event_ids
    assert getattr(newer.read(ours).events_confirmed, MARK) == "more"
