import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.acme import due
from agent.acme.order import Order
from agent.acme.states import State
from agent.acme.status import Status
from mailstack.certificates import self_signed
from tests.unit.agent.acme.pairs import issued

_HOST = "mx1.fleet.example"
_ORDER = Order(_HOST, "https://acme.example/dir", "ops@fleet.example", "")
_BEGINS = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
_NOW = _BEGINS.timestamp()
_LIFE = dt.timedelta(days=90)
_SERVED = issued(_HOST, _BEGINS, _LIFE)
_ISSUED = due.succeeded(due.asking(Status(), _ORDER, _NOW), _SERVED, _HOST)


def test_our_own_certificate_and_none_at_all_make_an_order_due_at_once() -> None:
    assert due.is_due(None, _ORDER, Status(), _NOW)
    assert due.is_due(self_signed.make(_HOST, _BEGINS), _ORDER, Status(order=_ORDER.mark), _NOW)


def test_an_issued_certificate_is_renewed_after_two_thirds_of_its_own_life() -> None:
    two_thirds = _NOW + _LIFE.total_seconds() * 2 / 3
    assert not due.is_due(_SERVED, _ORDER, _ISSUED, two_thirds - 1)
    assert due.is_due(_SERVED, _ORDER, _ISSUED, two_thirds)
    assert _ISSUED.next_attempt == two_thirds


@pytest.mark.parametrize(
    "changed",
    [
        dataclasses.replace(_ORDER, hostname="mx2.fleet.example"),
        dataclasses.replace(_ORDER, directory_url="https://other.example/dir"),
    ],
)
def test_another_name_or_authority_is_due_at_once_whatever_failed_before(changed: Order) -> None:
    held = due.failed(_ISSUED, State.REFUSED, "no", _NOW, retry_after=9000, draw=0.5)
    assert not due.is_due(_SERVED, _ORDER, held, _NOW + 60)
    assert due.is_due(_SERVED, changed, held, _NOW + 60)
    assert due.asking(held, changed, _NOW).failures == 0


@given(st.integers(0, 30), st.floats(0, 1, exclude_max=True), st.floats(0, 86400))
def test_each_failure_waits_its_pause_with_jitter_and_never_less_than_was_asked_for(
    failures: int, draw: float, retry_after: float
) -> None:
    before = Status(failures=failures, order=_ORDER.mark, names=_ORDER.names_mark)
    after = due.failed(before, State.LIMITED, "limited", _NOW, retry_after=retry_after, draw=draw)
    pause = due.PAUSES[min(failures, len(due.PAUSES) - 1)]
    waits = after.next_attempt - _NOW
    assert waits >= retry_after - 1e-3
    assert waits <= max(retry_after, pause * (1 + due.JITTER)) + 1e-3
    assert waits >= pause * (1 - due.JITTER) - 1e-3
    assert not due.is_due(None, _ORDER, after, after.next_attempt - 1)
    assert due.is_due(None, _ORDER, after, after.next_attempt)


def test_an_authority_that_never_issues_is_asked_ten_times_a_day_at_most() -> None:
    status, now, asked = Status(), _NOW, []
    for _ in range(50):
        if (spent := due.spent(status, now)) is None:
            asked.append(now)
            status = due.failed(due.asking(status, _ORDER, now), State.REFUSED, "no", now, retry_after=0, draw=0.0)
            # Somebody presses for it, again and again.
            now += 60
        else:
            assert spent.state is State.SPENT
            assert "next attempt" in spent.detail
            status, now = spent, spent.next_attempt
    assert len(asked) > due.MOST_ATTEMPTS
    for first, last in zip(asked, asked[due.MOST_ATTEMPTS :], strict=False):
        assert last - first >= due.DAY


def test_five_failures_in_an_hour_are_never_passed() -> None:
    status, now, asked = Status(), _NOW, []
    for _ in range(8):
        asked.append(now)
        status = due.failed(due.asking(status, _ORDER, now), State.REFUSED, "no", now, retry_after=0, draw=0.0)
        now = status.next_attempt
    assert all(later - at > 3600 for at, later in zip(asked, asked[5:], strict=False))


_TWO_NAMES = dataclasses.replace(_ORDER, further_names=("mta-sts.shop.example",))


def test_a_name_more_is_due_at_once_and_one_less_is_not() -> None:
    assert due.is_due(_SERVED, _TWO_NAMES, _ISSUED, _NOW)
    both = issued(_HOST, _BEGINS, _LIFE, ("mta-sts.shop.example",))
    status = due.succeeded(due.asking(Status(), _TWO_NAMES, _NOW), both, _HOST)
    assert not due.is_due(both, _TWO_NAMES, status, _NOW)
    assert not due.is_due(both, _ORDER, status, _NOW)


def test_another_name_does_not_wait_for_the_failures_of_those_before() -> None:
    held = due.failed(due.asking(_ISSUED, _TWO_NAMES, _NOW), State.REFUSED, "no", _NOW, retry_after=9000, draw=0.5)
    other = dataclasses.replace(_ORDER, further_names=("mta-sts.other.example",))
    assert not due.is_due(_SERVED, _TWO_NAMES, held, _NOW + 60)
    assert due.is_due(_SERVED, other, held, _NOW + 60)


def test_after_a_failure_the_hosts_own_name_is_asked_for_alone_while_it_is_due() -> None:
    failed = due.failed(due.asking(Status(), _TWO_NAMES, _NOW), State.REFUSED, "no", _NOW, retry_after=0, draw=0.5)
    assert due.part_to_ask_for(None, _TWO_NAMES, Status(), _NOW) == _TWO_NAMES
    assert due.part_to_ask_for(None, _TWO_NAMES, failed, _NOW).names == (_HOST,)
    # With a good certificate of the host's, mail does not depend on it.
    assert due.part_to_ask_for(_SERVED, _TWO_NAMES, failed, _NOW) == _TWO_NAMES
    renewal = _NOW + _LIFE.total_seconds() * 2 / 3
    assert due.part_to_ask_for(_SERVED, _TWO_NAMES, failed, renewal).names == (_HOST,)
