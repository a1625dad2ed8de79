"""One send's trace, from real processes to a real receiver."""

import time
import uuid
from itertools import pairwise

import httpx
import pytest
from sqlalchemy import text

from control_plane.delivery.apply import apply_events
from control_plane.telemetry.traces import tracer_for, tracing
from db.ids import uuid7
from protos.agent.v1.delivery_pb2 import DeliveryEvent, RemoteReply
from tests.integration.telemetry.conftest import Observed

_LINE = ("accept", "lease", "publish", "delivered", "apply")


async def test_a_send_is_one_trace_across_processes_and_its_server(observed: Observed) -> None:
    key = {"Authorization": f"Bearer {observed.tenant.api_key}"}
    body = {"to": "anna@example.net", "subject": "Hello", "text": "Hello Anna\n"}
    async with httpx.AsyncClient(base_url=observed.api, headers=key, timeout=20) as client:
        answer = await client.post(f"/api/v1/inboxes/{observed.inbox.id}/messages", json=body)
    send_id = uuid.UUID(answer.json()["id"])
    await observed.receiver.of_trace(send_id.bytes, {"accept", "publish"})
    async with observed.database.system() as session:
        token = await session.scalar(text("SELECT lease_token FROM messages WHERE id = :id"), {"id": send_id})
    event = DeliveryEvent(
        event_id=uuid.uuid4().bytes,
        send_id=send_id.bytes,
        lease_token=token.bytes if token else b"",
        at_ms=time.time_ns() // 1_000_000,
        kind=DeliveryEvent.KIND_DELIVERED,
        reply=RemoteReply(delay_seconds=0.5, recipient="anna@example.net", text="250 ok <anna@example.net>"),
    )
    async with tracing(observed.receiver.url, 1.0, "hub"):
        await apply_events(observed.database, observed.inbox.vps_id, [event])
    told = await observed.receiver.of_trace(send_id.bytes, set(_LINE))
    assert told.keys() == set(_LINE)
    assert [told[name][0] for name in _LINE] == [
        "penguin-rest",
        "penguin-queuer",
        "penguin-queuer",
        "penguin-agent",
        "penguin-hub",
    ]
    spans = [told[name][1] for name in _LINE]
    assert not spans[0].parent_span_id
    assert all(after.parent_span_id == before.span_id for before, after in pairwise(spans))
    assert spans[3].end_time_unix_nano - spans[3].start_time_unix_nano == 500_000_000
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    assert "anna" not in str(spans)


async def test_which_sends_are_traced_follows_from_their_ids(observed: Observed) -> None:
    ids = [uuid7() for _ in range(4000)]
    assert not any(tracer_for(send_id) for send_id in ids)
    for share, expected in ((0.0, 0), (0.25, 1000), (1.0, 4000)):
        async with tracing(observed.receiver.url, share, "hub"):
            traced = [send_id for send_id in ids if tracer_for(send_id)]
            assert traced == [send_id for send_id in ids if tracer_for(send_id)]
        assert len(traced) == pytest.approx(expected, abs=200 if expected == 1000 else 0)
