import json
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.delivery.events import read_event
from control_plane.delivery.states import Kind
from control_plane.errors import InvalidInput
from protos.agent.v1.delivery_pb2 import DeliveryEvent, RemoteReply


def message(**changes: object) -> DeliveryEvent:
    fields: dict[str, object] = {
        "event_id": uuid.UUID(int=1).bytes,
        "send_id": uuid.UUID(int=2).bytes,
        "lease_token": uuid.UUID(int=3).bytes,
        "at_ms": 1_795_262_400_123,
        "kind": DeliveryEvent.KIND_DELIVERED,
    }
    return DeliveryEvent(**{**fields, **changes})  # type: ignore[arg-type]  # the changes of a test


def test_an_event_is_read_with_what_it_has() -> None:
    reply = RemoteReply(relay="mx[10.77.0.9]:25", enhanced_status="2.0.0", text="250 ok", delay_seconds=0.5)

    event = read_event(message(queue_id="4cYx1", reply=reply))

    assert (event.id, event.send_id, event.lease_token) == tuple(uuid.UUID(int=number) for number in (1, 2, 3))
    assert event.at == datetime(2026, 11, 21, 12, 0, 0, 123_000, UTC)
    assert (event.kind, event.queue_id, event.reason) == (Kind.DELIVERED, "4cYx1", "250 ok")
    assert json.loads(event.detail) == {
        "queue_id": "4cYx1",
        "relay": "mx[10.77.0.9]:25",
        "enhanced_status": "2.0.0",
        "text": "250 ok",
        "delay_seconds": 0.5,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": b"short"},
        {"send_id": b""},
        {"lease_token": b"x" * 17},
        {"at_ms": 2**62},
        {"at_ms": -(2**62)},
        {"kind": DeliveryEvent.KIND_UNSPECIFIED},
        {"kind": 99},
    ],
)
def test_a_malformed_event_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        read_event(message(**changes))


@given(st.text(), st.text(), st.floats())
def test_whatever_a_reply_says_can_be_kept(text: str, queue_id: str, delay: float) -> None:
    text, queue_id = (each.encode(errors="ignore").decode() for each in (text, queue_id))
    event = read_event(message(queue_id=queue_id, reply=RemoteReply(text=text, delay_seconds=delay), detail=text))
    assert "\\u0000" not in event.detail.replace("\\\\", "")
    assert len(event.queue_id or "") <= 64
    assert "NaN" not in json.dumps(json.loads(event.detail).get("delay_seconds", 0))


def test_every_kind_of_the_protocol_is_known() -> None:
    for kind in DeliveryEvent.Kind.values():
        if kind != DeliveryEvent.KIND_UNSPECIFIED:
            assert (
                read_event(message(kind=kind)).kind.value == DeliveryEvent.Kind.Name(kind).removeprefix("KIND_").lower()
            )
