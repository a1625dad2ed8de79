import datetime as dt
import uuid

from control_plane.messages.sent import Sent
from control_plane.messages.timeline import Moment, timeline

START = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def at(milliseconds: int) -> dt.datetime:
    return START + dt.timedelta(milliseconds=milliseconds)


def event(kind: str, milliseconds: int, *, applied: bool = True) -> Moment:
    return Moment(kind, at(milliseconds), applied, {})


def sent(queued_at: dt.datetime | None) -> Sent:
    return Sent(
        id=uuid.uuid4(),
        inbox_id=None,
        vps_id=uuid.uuid4(),
        signing_domain="penguin.example",
        envelope_sender="anna@penguin.example",
        recipient="b@walrus.example",
        subject="Fish",
        priority=1,
        state="accepted",
        state_reason=None,
        queue_id=None,
        resend_of=None,
        send_at=START,
        accepted_at=START,
        queued_at=queued_at,
        relayed_at=None,
        final_at=None,
    )


def test_moments_are_told_in_the_order_of_time() -> None:
    message = sent(at(5))
    events = (event("delivered", 30), event("relayed", 10), event("deferred", 20))
    assert [moment.kind for moment in timeline(message, events)] == [
        "accepted", "queued", "relayed", "deferred", "delivered",
    ]  # fmt: skip


def test_a_send_that_waits_has_only_been_accepted() -> None:
    assert [moment.kind for moment in timeline(sent(None), ())] == ["accepted"]


def test_of_the_same_millisecond_the_queue_comes_before_the_server() -> None:
    message = sent(at(10))
    assert [moment.kind for moment in timeline(message, (event("relayed", 10),))][1:] == ["queued", "relayed"]


def test_a_server_whose_clock_is_behind_does_not_come_before_the_acceptance() -> None:
    moments = timeline(sent(at(5)), (event("relayed", -1000),))
    assert moments[0].kind == "accepted"


def test_what_came_too_late_is_told_and_marked() -> None:
    moments = timeline(sent(at(5)), (event("bounced", 9, applied=False),))
    assert [(moment.kind, moment.applied) for moment in moments][-1] == ("bounced", False)
