"""The agent's link against a hub that behaves, over real TLS on loopback."""

import asyncio
import contextlib
import datetime as dt
import json
import logging
import uuid
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from agent.identity.store import IdentityStore
from agent.settings import Settings, read_join
from agent.supervisor import StopForGood
from agent.uplink.link import Uplink
from agent.uplink.reasons import EXIT_BANNED, EXIT_NOT_ENROLLED
from protos.agent.v1.configuration_pb2 import ConfigurationResult, DesiredState
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from protos.agent.v1.link_pb2 import AgentMessage, HubMessage, QueueAccess
from protos.agent.v1.telemetry_pb2 import HealthReport
from tests.fakes.hub import FakeAuthority, FakeHub

APPLIED_VERSION = 3


class MemorySpool:
    """The journal's event spool in memory."""

    def __init__(self) -> None:
        self.events_added = asyncio.Event()
        self.events: dict[bytes, DeliveryEvent] = {}

    def add(self, count: int) -> None:
        for _ in range(count):
            event = DeliveryEvent(event_id=uuid.uuid4().bytes, kind=DeliveryEvent.KIND_RELAYED)
            self.events[event.event_id] = event
        self.events_added.set()

    async def unconfirmed(self, limit: int) -> list[DeliveryEvent]:
        return list(self.events.values())[:limit]

    async def confirm(self, event_ids: Iterable[bytes], closed_send_ids: Iterable[bytes]) -> None:
        for event_id in event_ids:
            self.events.pop(event_id, None)


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    fake = FakeHub(FakeAuthority())
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def settings(hub: FakeHub, tmp_path: Path) -> Settings:
    config, state = tmp_path / "etc", tmp_path / "var"
    config.mkdir()
    (config / "ca.pem").write_bytes(hub.authority.pem)
    invite(config / "agent.json", hub, "join-once")
    return Settings(config_dir=config, state_dir=state)


def invite(join_file: Path, hub: FakeHub, token: str) -> None:
    join_file.write_text(json.dumps({"enrol_endpoint": hub.enrol_endpoint, "join_token": token}))


@pytest.fixture
def spool() -> MemorySpool:
    return MemorySpool()


def make_uplink(settings: Settings, spool: MemorySpool) -> Uplink:
    return Uplink(settings, spool, "1.2.3", draw=lambda: 0.1)


@contextlib.asynccontextmanager
async def running(uplink: Uplink) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(uplink.run(lambda: APPLIED_VERSION))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def uplink(settings: Settings, spool: MemorySpool) -> Uplink:
    return make_uplink(settings, spool)


async def test_a_join_token_becomes_a_link_and_is_forgotten(hub: FakeHub, uplink: Uplink, settings: Settings) -> None:
    access = asyncio.create_task(uplink.queue_access.changed())
    async with running(uplink):
        assert (await access).username == "vps-1"
        await hub.until(lambda: bool(hub.of_kind("hello")))
        assert uplink.connected
        assert uplink.first_tried.is_set()
    hello = hub.received[0].hello
    assert (hello.agent_version, hello.applied_version) == ("1.2.3", APPLIED_VERSION)
    assert hello.boot_id
    assert read_join(settings.join_file).join_token is None
    assert IdentityStore(settings.identity_dir).key_file.stat().st_mode & 0o777 == 0o600
    assert not uplink.connected


async def test_a_second_start_needs_no_token(hub: FakeHub, settings: Settings, spool: MemorySpool) -> None:
    for starts in (1, 2):
        async with running(make_uplink(settings, spool)):
            await hub.until(lambda starts=starts: len(hub.of_kind("hello")) == starts)  # type: ignore[misc]
    assert hub.enrolments == 1


async def test_what_the_hub_sends_reaches_those_who_wait(hub: FakeHub, uplink: Uplink) -> None:
    welcomed = asyncio.create_task(uplink.queue_access.changed())
    async with running(uplink):
        await welcomed
        state = asyncio.create_task(uplink.desired_state.changed())
        access = asyncio.create_task(uplink.queue_access.changed())
        await asyncio.sleep(0)
        hub.to_send.put_nowait(HubMessage(desired_state=DesiredState(version=7)))
        hub.to_send.put_nowait(HubMessage(queue_access=QueueAccess(username="fresh")))
        assert (await state).version == 7
        assert (await access).username == "fresh"


async def test_messages_reach_the_hub_and_only_the_newest_report_waits(hub: FakeHub, uplink: Uplink) -> None:
    for at_ms in (1, 2, 3):
        uplink.send(AgentMessage(health=HealthReport(at_ms=at_ms)))
    uplink.send(AgentMessage(configuration_result=ConfigurationResult(version=4)))
    async with running(uplink):
        await hub.until(lambda: bool(hub.of_kind("configuration_result")))
        uplink.request_queue_access()
        await hub.until(lambda: bool(hub.of_kind("queue_access_request")))
    assert [message.health.at_ms for message in hub.of_kind("health")] == [3]


async def test_events_are_confirmed_once_in_batches(hub: FakeHub, uplink: Uplink, spool: MemorySpool) -> None:
    spool.add(1200)
    async with running(uplink):
        await hub.until(lambda: len(hub.events) == 1200)
        spool.add(1)
        await hub.until(lambda: len(hub.events) == 1201)
    assert [len(message.delivery_events.events) for message in hub.of_kind("delivery_events")] == [500, 500, 200, 1]
    assert set(hub.events.values()) == {1}


async def test_a_batch_goes_deflated_to_a_hub_that_takes_it_and_what_is_small_does_not(
    hub: FakeHub, uplink: Uplink, spool: MemorySpool
) -> None:
    spool.add(300)
    async with running(uplink):
        await hub.until(lambda: len(hub.events) == 300)
        assert hub.deflated == 1
        uplink.send(AgentMessage(health=HealthReport(at_ms=1)))
        await hub.until(lambda: bool(hub.of_kind("health")))
        assert hub.deflated == 1

        # An older one has taken its place.
        hub.most_inflated = 0
        hub.drop()
        await hub.until(lambda: len(hub.serials) == 2)
        spool.add(300)
        await hub.until(lambda: len(hub.events) == 600)
    assert hub.deflated == 1


async def test_unconfirmed_events_come_again_after_a_reconnection(
    hub: FakeHub, uplink: Uplink, spool: MemorySpool
) -> None:
    spool.add(5)
    hub.confirms = False
    async with running(uplink):
        await hub.until(lambda: len(hub.events) == 5)
        assert len(spool.events) == 5
        hub.confirms = True
        hub.drop()
        await hub.until(lambda: set(hub.events.values()) == {2})
        spool.add(1)
        await hub.until(lambda: len(hub.events) == 6)
    assert len(spool.events) <= 1


async def test_a_restarted_hub_is_found_again(hub: FakeHub, uplink: Uplink, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with running(uplink):
        await hub.until(lambda: len(hub.of_kind("hello")) == 1)
        await hub.stop()
        await hub.start()
        await hub.until(lambda: len(hub.of_kind("hello")) == 2)
    assert any("pause_seconds=" in record.message for record in caplog.records)


async def test_a_hub_that_is_away_stops_nobody(hub: FakeHub, uplink: Uplink) -> None:
    await hub.stop()
    async with running(uplink) as task:
        async with asyncio.timeout(20):
            await uplink.first_tried.wait()
        assert not task.done()
        await hub.start()
        await hub.until(lambda: bool(hub.received))


async def test_a_certificate_past_half_its_life_is_renewed_and_used_without_a_restart(
    hub: FakeHub, uplink: Uplink
) -> None:
    hub.certificate_age = dt.timedelta(hours=13)
    async with running(uplink):
        await hub.until(lambda: len(hub.of_kind("hello")) == 2)
    assert hub.renewals == 1
    assert hub.enrolments == 1
    assert len(set(hub.serials)) == 2


async def test_a_renewal_that_fails_leaves_the_stream_alone(
    hub: FakeHub, uplink: Uplink, caplog: pytest.LogCaptureFixture
) -> None:
    hub.certificate_age = dt.timedelta(hours=13)
    hub.refuse_renewal = grpc.StatusCode.UNAVAILABLE
    async with running(uplink):
        await hub.until(lambda: bool(hub.received))
        uplink.send(AgentMessage(health=HealthReport(at_ms=1)))
        await hub.until(lambda: bool(hub.of_kind("health")))
        hub.refuse_renewal = None
        await hub.until(lambda: hub.renewals == 1)
    assert len(hub.of_kind("hello")) >= 1


@pytest.mark.parametrize("door", ["link", "renewal"])
async def test_a_banned_server_stops_for_good(hub: FakeHub, uplink: Uplink, door: str) -> None:
    hub.certificate_age = dt.timedelta(hours=13)
    setattr(hub, f"refuse_{door}", grpc.StatusCode.PERMISSION_DENIED)
    async with running(uplink) as task:
        with pytest.raises(StopForGood) as stop:
            await task
    assert stop.value.exit_status == EXIT_BANNED


async def test_a_used_token_stops_for_good_with_the_reason(hub: FakeHub, uplink: Uplink) -> None:
    hub.tokens.clear()
    async with running(uplink) as task:
        with pytest.raises(StopForGood, match="unknown, used or expired join token") as stop:
            await task
    assert stop.value.exit_status == EXIT_NOT_ENROLLED


async def test_a_certificate_that_names_no_server_leads_to_a_new_enrolment(
    hub: FakeHub, uplink: Uplink, settings: Settings
) -> None:
    async with running(uplink):
        await hub.until(lambda: bool(hub.received))
        hub.tokens.add("join-again")
        invite(settings.join_file, hub, "join-again")
        hub.refuse_link = grpc.StatusCode.UNAUTHENTICATED
        hub.drop()
        await hub.until(lambda: len(hub.serials) == 2)
        hub.refuse_link = None
        await hub.until(lambda: len(hub.of_kind("hello")) == 2)
    assert hub.enrolments == 2


async def test_a_certificate_that_names_no_server_stops_without_a_token(hub: FakeHub, uplink: Uplink) -> None:
    hub.refuse_link = grpc.StatusCode.UNAUTHENTICATED
    async with running(uplink) as task:
        with pytest.raises(StopForGood, match="new join token") as stop:
            await task
    assert stop.value.exit_status == EXIT_NOT_ENROLLED


async def test_a_stranger_at_the_door_never_sees_the_token(hub: FakeHub, uplink: Uplink, settings: Settings) -> None:
    settings.pinned_ca_file.write_bytes(FakeAuthority().pem)
    async with running(uplink) as task:
        async with asyncio.timeout(20):
            await uplink.first_tried.wait()
        assert not task.done()
    assert hub.enrolments == 0
    assert hub.tokens == {"join-once"}
    assert read_join(settings.join_file).join_token == "join-once"


async def test_nothing_secret_is_logged(hub: FakeHub, uplink: Uplink, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    welcomed = asyncio.create_task(uplink.queue_access.changed())
    async with running(uplink):
        await welcomed
    assert "link up" in caplog.text
    assert "join-once" not in caplog.text
    assert "secret" not in caplog.text
