"""One send's trace, from real processes to a real receiver."""

import asyncio
import smtplib
import ssl
import time
import uuid
from email import policy
from email.message import EmailMessage
from itertools import pairwise

import httpx
import pytest
from sqlalchemy import text

from control_plane.delivery.apply import apply_events
from control_plane.telemetry.traces import tracer_for, tracing
from db.ids import uuid7
from protos.agent.v1.delivery_pb2 import DeliveryEvent, RemoteReply
from tests.integration.telemetry.conftest import Observed
from tests.openmetrics import families_of

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


async def test_sends_of_a_batch_begin_their_traces_too(observed: Observed) -> None:
    key = {"Authorization": f"Bearer {observed.tenant.api_key}"}
    message = {"to": "anna@example.net", "subject": "Hello", "text": "Hello Anna\n"}
    async with httpx.AsyncClient(base_url=observed.api, headers=key, timeout=20) as client:
        body = {"messages": [message, {**message, "to": "nobody"}, message]}
        answer = await client.post(f"/api/v1/inboxes/{observed.inbox.id}/messages:batch", json=body)
    accepted = [uuid.UUID(each["id"]) for each in answer.json()["results"] if "id" in each]
    assert len(accepted) == 2
    for send_id in accepted:
        told = await observed.receiver.of_trace(send_id.bytes, {"accept", "publish"})
        assert told["accept"][0] == "penguin-rest"
        assert told["lease"][1].parent_span_id == told["accept"][1].span_id


async def test_what_comes_by_smtp_begins_its_trace_and_is_counted(observed: Observed) -> None:
    async with observed.database.system() as session:
        sender = await session.scalar(
            text("SELECT email_address FROM inboxes WHERE id = :id"), {"id": observed.inbox.id}
        )
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = str(sender), "anna@example.net", "Hello"
    message.set_content("Hello Anna\n")

    def send() -> str:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP("127.0.0.1", observed.submission, timeout=20) as client:
            client.starttls(context=trusting)
            client.login(str(sender), observed.tenant.api_key)
            client.mail(str(sender))
            client.rcpt("anna@example.net")
            return client.data(message.as_bytes())[1].decode()

    send_id = uuid.UUID((await asyncio.to_thread(send)).split()[-1])
    told = await observed.receiver.of_trace(send_id.bytes, {"accept", "publish"})
    assert told["accept"][0] == "penguin-submission"
    families = families_of((await observed.scrape("submission")).text)
    counted = {each.labels["status"]: each.value for each in families["penguin_submission_messages"].samples}
    assert counted == {"2xx": 1}


async def test_which_sends_are_traced_follows_from_their_ids(observed: Observed) -> None:
    ids = [uuid7() for _ in range(4000)]
    assert not any(tracer_for(send_id) for send_id in ids)
    for share, expected in ((0.0, 0), (0.25, 1000), (1.0, 4000)):
        async with tracing(observed.receiver.url, share, "hub"):
            traced = [send_id for send_id in ids if tracer_for(send_id)]
            assert traced == [send_id for send_id in ids if tracer_for(send_id)]
        assert len(traced) == pytest.approx(expected, abs=200 if expected == 1000 else 0)
