import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.journal import SendState
from agent.relay.envelopes import FIELD, NotAnEnvelope, read_entry, refuse, terminated
from protos.queue.v1.envelope_pb2 import Envelope


def make_envelope(**changes: object) -> Envelope:
    send_id = uuid.uuid4()
    fields: dict[str, object] = {
        "send_id": send_id.bytes,
        "lease_token": uuid.uuid4().bytes,
        "lease_deadline_ms": int(time.time() * 1000),
        "envelope_sender": "ann@example.test",
        "recipient": "bob@example.org",
        "message": f"Message-ID: <{send_id}@example.test>\r\n\r\nhi\r\n".encode(),
        "signing_domain": "example.test",
        "lease_number": 1,
    }
    return Envelope(**{**fields, **changes})  # type: ignore[arg-type]  # tests give what protobuf takes


def test_an_envelope_is_read_back() -> None:
    envelope = make_envelope()
    assert read_entry({FIELD: envelope.SerializeToString()}) == envelope
    assert refuse(envelope) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "other fields"),
        ({FIELD: b"", b"x": b""}, "other fields"),
        ({FIELD: b"\xff"}, "no envelope"),
        ({FIELD: b""}, "no UUID"),
        ({FIELD: make_envelope(send_id=b"x").SerializeToString()}, "no UUID"),
        ({FIELD: make_envelope(lease_token=b"").SerializeToString()}, "no UUID"),
        ({FIELD: make_envelope(lease_deadline_ms=0).SerializeToString()}, "no deadline"),
        ({FIELD: make_envelope(lease_number=0).SerializeToString()}, "which of its leases"),
    ],
)
def test_what_is_no_envelope_says_why(fields: dict[bytes, bytes], reason: str) -> None:
    with pytest.raises(NotAnEnvelope, match=reason):
        read_entry(fields)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_set_aside(content: bytes) -> None:
    try:
        envelope = read_entry({FIELD: content})
    except NotAnEnvelope:
        return
    refuse(envelope)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipient": ""}, "recipient"),
        ({"recipient": "nobody"}, "recipient"),
        ({"recipient": "a@b>\r\nDATA"}, "recipient"),
        ({"recipient": "a b@c"}, "recipient"),
        ({"recipient": "ä@example.org"}, "recipient"),
        ({"envelope_sender": ""}, "sender"),
        ({"envelope_sender": "a@b> SIZE=1"}, "sender"),
        ({"envelope_sender": "a" * 400 + "@b"}, "sender"),
        ({"signing_domain": ""}, "signing domain"),
        ({"message": b""}, "Message-ID"),
        ({"message": b"Message-ID: <x@example.test>\r\n\r\n"}, "Message-ID"),
    ],
)
def test_an_envelope_that_must_not_be_submitted_fails_with_a_sentence(changes: dict[str, object], reason: str) -> None:
    unfit = refuse(make_envelope(**changes))
    assert unfit is not None
    assert unfit.state is SendState.FAILED
    assert reason in unfit.detail


@pytest.mark.parametrize(
    ("added", "reason"),
    [(b"a\nb", "CRLF"), (b"a\rb", "CRLF"), (b"\r\r\n", "CRLF"), (b"\xc3\xa4", "7-bit"), (b"\0", "7-bit")],
)
def test_bytes_that_mail_cannot_carry_fail_the_send(added: bytes, reason: str) -> None:
    envelope = make_envelope()
    envelope.message += added
    unfit = refuse(envelope)
    assert unfit is not None
    assert reason in unfit.detail


def test_two_message_ids_fail_the_send() -> None:
    envelope = make_envelope()
    envelope.message = envelope.message.split(b"\r\n")[0] + b"\r\n" + envelope.message
    assert refuse(envelope) is not None


@given(st.text(max_size=40), st.text(max_size=40))
def test_an_address_that_passes_cannot_end_its_command(sender: str, recipient: str) -> None:
    if refuse(make_envelope(envelope_sender=sender, recipient=recipient)) is None:
        for address in (sender, recipient):
            assert address.isascii()
            assert not any(character in "<> \r\n\0" or ord(character) < 33 for character in address)


def test_a_message_ends_with_a_line_end() -> None:
    assert terminated(b"a") == b"a\r\n"
    assert terminated(b"a\r\n") == b"a\r\n"
