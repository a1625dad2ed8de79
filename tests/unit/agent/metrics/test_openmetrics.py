import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.destinations import PROVIDERS
from agent.metrics.exposition import MetricsDoor
from agent.metrics.openmetrics import render
from agent.metrics.queue_tally import AGE_BANDS
from protos.agent.v1.telemetry_pb2 import (
    Destination,
    Disk,
    HealthReport,
    Host,
    Logins,
    Network,
    PackageUpdates,
    PostfixQueue,
    QueuedProviders,
    Relay,
    ServedCertificate,
    SigningTest,
    Unit,
)
from tests.openmetrics import families_of

_COUNTS = st.integers(0, 2**32 - 1)
_BYTES = st.integers(0, 2**63)
_WORDS = st.text(max_size=12).filter(lambda text: "\r" not in text)
_RELAYS = st.builds(
    Relay,
    in_hand=_COUNTS,
    spooled_events=_COUNTS,
    malformed_envelopes=_BYTES,
    handed_over=_BYTES,
    refused=_BYTES,
    redis_connected=st.booleans(),
    journal_fault=_WORDS,
)
_REPORTS = st.builds(
    HealthReport,
    at_ms=st.integers(0, 2**53),
    host=st.builds(
        Host,
        load_1m=st.floats(),
        memory_total_bytes=_BYTES,
        swap_total_bytes=_BYTES,
        swap_free_bytes=_BYTES,
        cpu_percent=st.none() | st.integers(0, 100),
    ),
    disks=st.lists(
        st.builds(
            Disk,
            mount=_WORDS,
            total_bytes=_BYTES,
            seconds_to_full=st.none() | _COUNTS,
            seconds_to_no_inodes=st.none() | _COUNTS,
        ),
        unique_by=lambda disk: disk.mount,
        max_size=3,
    ),
    postfix_queue=st.none()
    | st.builds(
        PostfixQueue,
        deferred=_COUNTS,
        oldest_seconds=st.floats(),
        corrupt=st.none() | _COUNTS,
        deferred_ages=st.just([]) | st.lists(_COUNTS, min_size=len(AGE_BANDS), max_size=len(AGE_BANDS)),
        hold_providers=st.none() | st.builds(QueuedProviders, google=_COUNTS, other=_COUNTS),
    ),
    logins=st.none() | st.builds(Logins, succeeded=_BYTES, failed=_BYTES),
    package_updates=st.none() | st.builds(PackageUpdates, waiting=_COUNTS, security=_COUNTS),
    signing_test=st.none() | st.builds(SigningTest, good=_COUNTS, failed=_COUNTS),
    network=st.none() | st.builds(Network, received_bytes=_BYTES),
    units=st.lists(
        st.builds(Unit, name=_WORDS, active_state=st.sampled_from(["active", "failed"]), restarts=_COUNTS),
        unique_by=lambda unit: unit.name,
        max_size=3,
    ),
    certificates=st.lists(
        st.builds(
            ServedCertificate,
            port=_COUNTS,
            not_after_ms=st.integers(0, 2**53),
            error=_WORDS,
            chain_length=st.integers(0, 3),
            chain_fault=_WORDS,
        ),
        unique_by=lambda served: served.port,
        max_size=4,
    ),
    relay=st.none() | _RELAYS,
    destinations=st.lists(
        st.builds(Destination, provider=_WORDS, delivered=_BYTES), unique_by=lambda each: each.provider, max_size=5
    ),
)


@given(_REPORTS, st.booleans())
def test_every_report_is_openmetrics_and_says_what_the_report_says(report: HealthReport, connected: bool) -> None:
    families = families_of(render(report, connected=connected))
    assert families["penguin_agent_link_up"].samples[0].value == connected
    told = {sample.labels["unit"]: sample.value == 1.0 for sample in families["penguin_agent_unit_active"].samples}
    assert told == {unit.name: unit.active_state == "active" for unit in report.units}
    disks = {
        (sample.labels["mount"], sample.labels["state"]): sample.value
        for sample in families["penguin_agent_disk_bytes"].samples
    }
    assert {mount: disks[mount, "total"] for mount, _ in disks} == {
        disk.mount: float(disk.total_bytes) for disk in report.disks
    }
    assert ("penguin_agent_spooled_events" in families) == report.HasField("relay")
    assert ("penguin_agent_package_updates" in families) == report.HasField("package_updates")
    assert ("penguin_agent_logins" in families) == report.HasField("logins")
    if report.HasField("logins"):
        logins = {each.labels["outcome"]: each.value for each in families["penguin_agent_logins"].samples}
        assert logins == {"succeeded": float(report.logins.succeeded), "failed": float(report.logins.failed)}
    if report.HasField("signing_test"):
        tried = {each.labels["signed"]: each.value for each in families["penguin_agent_tried_domains"].samples}
        assert tried == {"yes": float(report.signing_test.good), "no": float(report.signing_test.failed)}
    if report.HasField("postfix_queue"):
        queues = {each.labels["queue"]: each.value for each in families["penguin_agent_postfix_queue_messages"].samples}
        told_corrupt = report.postfix_queue.corrupt if report.postfix_queue.HasField("corrupt") else None
        assert queues.get("corrupt") == told_corrupt
    chains = {each.labels["port"]: each.value for each in families["penguin_agent_certificate_chain_whole"].samples}
    assert chains == {str(each.port): float(not each.chain_fault) for each in report.certificates if each.chain_length}
    if report.HasField("relay"):
        handed = families["penguin_agent_hand_overs"].samples
        assert [sample.value for sample in handed] == [float(report.relay.handed_over), float(report.relay.refused)]
    counted = families["penguin_agent_delivery_attempts"].samples
    assert len(counted) == 3 * len(report.destinations)


@given(_REPORTS)
def test_swap_and_how_long_each_disk_lasts_are_told(report: HealthReport) -> None:
    families = families_of(render(report, connected=True))
    lasting = {
        (sample.labels["mount"], sample.labels["of"]): sample.value
        for sample in families["penguin_agent_disk_lasts_seconds"].samples
    }
    space = [disk for disk in report.disks if disk.HasField("seconds_to_full")]
    inodes = [disk for disk in report.disks if disk.HasField("seconds_to_no_inodes")]
    assert lasting == {
        **{(disk.mount, "space"): float(disk.seconds_to_full) for disk in space},
        **{(disk.mount, "inodes"): float(disk.seconds_to_no_inodes) for disk in inodes},
    }
    swap = {sample.labels["state"]: sample.value for sample in families["penguin_agent_swap_bytes"].samples}
    assert swap == {"total": float(report.host.swap_total_bytes), "free": float(report.host.swap_free_bytes)}


@given(_REPORTS)
def test_the_queue_is_told_by_age_and_by_destination(report: HealthReport) -> None:
    families, queue = families_of(render(report, connected=True)), report.postfix_queue
    if not report.HasField("postfix_queue"):
        assert not [name for name in families if "postfix_queue" in name]
        return
    aged = {
        (each.labels["queue"], each.labels["age"]): each.value
        for each in families["penguin_agent_postfix_queue_aged_messages"].samples
    }
    told_ages = zip(AGE_BANDS, queue.deferred_ages, strict=False)
    assert aged == {("deferred", band): float(count) for band, count in told_ages}
    waited = {
        (each.labels["destination"], each.labels["queue"]): each.value
        for each in families["penguin_agent_postfix_queue_destination_messages"].samples
    }
    assert waited == {
        (provider, "hold"): float(count) for provider in PROVIDERS if (count := getattr(queue.hold_providers, provider))
    }


async def _ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_the_door_answers_with_the_newest_report_and_nothing_else() -> None:
    door = MetricsDoor(("127.0.0.1", 0), lambda: True)
    running = asyncio.create_task(door.run())
    await door.opened.wait()
    ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert (await _ask(door.port, ask)).startswith(b"HTTP/1.1 503")
    door.show(HealthReport(at_ms=5000))
    assert b"penguin_agent_report_timestamp_seconds 5.0\n" in await _ask(door.port, ask)
    assert (await _ask(door.port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404")
    assert (await _ask(door.port, b"x" * 9000)) == b""
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_port_that_is_taken_stops_nothing() -> None:
    first = MetricsDoor(("127.0.0.1", 0), lambda: True)
    running = [asyncio.create_task(first.run())]
    await first.opened.wait()
    second = MetricsDoor(("127.0.0.1", first.port), lambda: True)
    running.append(asyncio.create_task(second.run()))
    await second.opened.wait()
    assert not running[1].done()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
