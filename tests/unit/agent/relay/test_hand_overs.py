"""What counts as taken and as refused."""

from hypothesis import given
from hypothesis import strategies as st

from agent.relay.hand import Send
from agent.relay.hand_overs import PATIENCE, HandOvers
from protos.queue.v1.envelope_pb2 import Envelope


def send() -> Send:
    return Send(Envelope(send_id=b"1"), 1)


def test_a_no_for_now_counts_once_it_lasts_and_once_for_each_send() -> None:
    counted, slow, other = HandOvers(), send(), send()
    counted.put_off(slow, 100.0)
    counted.put_off(slow, 99.9 + PATIENCE)
    assert counted.refused == 0
    counted.put_off(slow, 100.0 + PATIENCE)
    counted.put_off(slow, 1_000.0)
    assert counted.refused == 1
    counted.put_off(other, 1_000.0)
    assert counted.refused == 1


def test_what_postfix_takes_in_between_ends_a_failure() -> None:
    counted = HandOvers()
    counted.fail(100.0)
    counted.took()
    counted.fail(101.0 + PATIENCE)
    assert (counted.taken, counted.refused) == (1, 0)


def test_a_postfix_that_stays_away_is_seen_by_few_sends() -> None:
    counted = HandOvers()
    for second in range(0, 60, 5):
        counted.fail(float(second))
    assert counted.refused == 6


@given(st.lists(st.floats(0, PATIENCE - 1), max_size=50))
def test_a_restart_is_no_refusal(moments: list[float]) -> None:
    counted, waiting = HandOvers(), send()
    for moment in sorted(moments):
        counted.fail(moment)
        counted.put_off(waiting, moment)
    assert counted.refused == 0
