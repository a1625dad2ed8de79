import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from control_plane.delivery.events import Event
from control_plane.delivery.progress import Progress, advance
from control_plane.delivery.states import FINAL, SETTLED, Kind, State

START = datetime(2026, 11, 21, tzinfo=UTC)
LEASE, OLD_LEASE = uuid.UUID(int=1), uuid.UUID(int=2)
LEASED = Progress(State.QUEUED, LEASE)


def event(kind: Kind, lease: uuid.UUID = LEASE, second: int = 0, reason: str | None = None) -> Event:
    at = START + timedelta(seconds=second)
    return Event(uuid.uuid4(), uuid.UUID(int=9), lease, at, kind, queue_id="4cYx1", reason=reason)


def after(progress: Progress, *events: Event) -> Progress:
    for each in events:
        progress = advance(progress, each) or progress
    return progress


events = st.builds(event, st.sampled_from(Kind), st.sampled_from([LEASE, OLD_LEASE]), st.integers(0, 1000))


@given(st.lists(events, max_size=12))
def test_in_any_order_a_send_ends_at_most_once_and_stays_ended(several: list[Event]) -> None:
    progress = LEASED
    for each in several:
        moved = advance(progress, each)
        if progress.state in SETTLED:
            assert moved is None
        progress = moved or progress
        assert (progress.final_at is not None) == (progress.state in FINAL)


@given(st.sampled_from(State), events)
def test_an_event_of_another_lease_has_no_effect(state: State, each: Event) -> None:
    assert advance(Progress(state, uuid.UUID(int=3)), each) is None
    assert advance(Progress(state, None), each) is None


@given(st.lists(events, max_size=8))
def test_repeating_a_batch_moves_nothing(several: list[Event]) -> None:
    once = after(LEASED, *several)
    again = after(once, *several)
    # What can still follow is what the last events said anyway: never a step back.
    assert not (once.state in SETTLED and again != once)
    assert not (once.state is State.RELAYED and again.state in {State.ACCEPTED, State.QUEUED})


@given(st.permutations([Kind.RELAYED, Kind.DEFERRED, Kind.DELIVERED]))
def test_a_delivery_is_final_in_whatever_order_its_events_come(kinds: list[Kind]) -> None:
    ended = after(LEASED, *(event(kind, second=place) for place, kind in enumerate(kinds)))
    assert ended.state is State.DELIVERED
    assert ended.final_at == START + timedelta(seconds=kinds.index(Kind.DELIVERED))
    assert ended.queue_id == "4cYx1"


def test_relayed_after_delivered_does_not_move_back() -> None:
    ended = after(LEASED, event(Kind.DELIVERED), event(Kind.RELAYED))
    assert (ended.state, ended.relayed_at) == (State.DELIVERED, None)


def test_a_lease_that_ran_out_unused_returns_the_send_at_once() -> None:
    assert after(LEASED, event(Kind.LEASE_EXPIRED)).state is State.ACCEPTED
    assert advance(Progress(State.RELAYED, LEASE), event(Kind.LEASE_EXPIRED)) is None


def test_news_of_a_lease_that_was_taken_back_counts_while_no_other_was_given() -> None:
    taken_back = Progress(State.ACCEPTED, LEASE)
    assert after(taken_back, event(Kind.RELAYED)).state is State.RELAYED


def test_the_reason_of_an_end_is_kept_but_for_a_delivery() -> None:
    assert after(LEASED, event(Kind.BOUNCED, reason="no such user")).reason == "no such user"
    assert after(LEASED, event(Kind.DELIVERED, reason="250 ok")).reason is None
