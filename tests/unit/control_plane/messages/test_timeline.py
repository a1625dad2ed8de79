import datetime as dt
import uuid

from control_plane.messages.timeline import timeline
from db.models import Message, MessageEvent

START = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def at(milliseconds: int) -> dt.datetime:
    return START + dt.timedelta(milliseconds=milliseconds)


def event(kind: str, milliseconds: int, *, applied: bool = True) -> MessageEvent:
    return MessageEvent(event_id=uuid.uuid4(), kind=kind, at=at(milliseconds), applied=applied, detail={})


def test_moments_are_told_in_the_order_of_time() -> None:
    message = Message(accepted_at=START, queued_at=at(5))
    events = (event("delivered", 30), event("relayed", 10), event("deferred", 20))
    assert [moment.kind for moment in timeline(message, events)] == [
        "accepted", "queued", "relayed", "deferred", "delivered",
    ]  # fmt: skip


def test_a_send_that_waits_has_only_been_accepted() -> None:
    assert [moment.kind for moment in timeline(Message(accepted_at=START, queued_at=None), ())] == ["accepted"]


def test_of_the_same_millisecond_the_queue_comes_before_the_server() -> None:
    message = Message(accepted_at=START, queued_at=at(10))
    assert [moment.kind for moment in timeline(message, (event("relayed", 10),))][1:] == ["queued", "relayed"]


def test_a_server_whose_clock_is_behind_does_not_come_before_the_acceptance() -> None:
    moments = timeline(Message(accepted_at=START, queued_at=at(5)), (event("relayed", -1000),))
    assert moments[0].kind == "accepted"


def test_what_came_too_late_is_told_and_marked() -> None:
    moments = timeline(Message(accepted_at=START, queued_at=at(5)), (event("bounced", 9, applied=False),))
    assert [(moment.kind, moment.applied) for moment in moments][-1] == ("bounced", False)
