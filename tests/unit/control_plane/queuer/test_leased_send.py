import uuid
from datetime import UTC, datetime

from control_plane.queuer.leased_send import LeasedSend
from protos.queue.v1.envelope_pb2 import Envelope

SEND = LeasedSend(
    id=uuid.UUID(int=1),
    vps_id=uuid.UUID(int=2),
    priority=1,
    lease_token=uuid.UUID(int=3),
    lease_deadline=datetime(2026, 11, 21, 12, 0, 0, 123_000, UTC),
    envelope_sender="a@penguin.example",
    recipient="b@walrus.example",
    signing_domain="penguin.example",
    payload=b"Subject: Fish\r\n\r\nHerring.\r\n",
    lease_number=4,
)


def test_the_envelope_carries_the_send_and_its_lease() -> None:
    assert Envelope.FromString(SEND.envelope()) == Envelope(
        send_id=uuid.UUID(int=1).bytes,
        lease_token=uuid.UUID(int=3).bytes,
        lease_deadline_ms=1_795_262_400_123,
        envelope_sender="a@penguin.example",
        recipient="b@walrus.example",
        message=b"Subject: Fish\r\n\r\nHerring.\r\n",
        signing_domain="penguin.example",
        lease_number=4,
    )


def test_the_message_is_not_in_the_repr() -> None:
    assert "Herring" not in repr(SEND)
