"""The checker sees each kind of wrong, and nothing wrong where nothing is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.checker import FINAL, Copy, Facts, Row, Verdict, check, queued_at
from tests.faults.plan import SINK_DOMAIN, Order, Temper

#: As Postfix 3.7 made it at that moment, in seconds since the epoch.
QUEUE_ID, QUEUED_AT = "4jX6rZ0k8nzn9pg", 1795301486
KINDS = ("lost", "repeated", "ghost", "lied", "stuck", "uncertain", "ambiguous")


def order(number: int, temper: Temper = Temper.TAKES) -> Order:
    return Order(number, f"r{number}@{temper}.{SINK_DOMAIN}", "normal")


def row(number: int, state: str = "delivered", temper: Temper = Temper.TAKES) -> Row:
    return Row(f"id{number}", order(number, temper).recipient, f"<id{number}@x>", state, f"body{number}")


def copy(number: int, *, heard: bool = True, queue_id: str = "Q") -> Copy:
    return Copy(f"<id{number}@x>", f"{queue_id}{number}", order(number).recipient, f"body{number}", heard)


def facts(*states: str) -> Facts:
    """As many sends as states, all of them at the sink."""
    numbers = range(len(states))
    return Facts(
        {f"id{number}": order(number) for number in numbers},
        [row(number, state) for number, state in enumerate(states)],
        [copy(number) for number in numbers],
    )


def kinds(verdict: Verdict) -> set[str]:
    return {kind for kind in KINDS if getattr(verdict, kind)}


@given(st.integers(0, 20))
def test_what_is_delivered_once_is_right(count: int) -> None:
    verdict = check(facts(*["delivered"] * count))
    assert (verdict.accepted, verdict.delivered, kinds(verdict)) == (count, count, set())


@given(st.integers(1, 20), st.data())
def test_what_is_missing_at_the_sink_is_lost_and_was_lied_about(count: int, data: st.DataObject) -> None:
    whole = facts(*["delivered"] * count)
    gone = data.draw(st.integers(0, count - 1))
    verdict = check(replace(whole, copies=[each for number, each in enumerate(whole.copies) if number != gone]))
    assert verdict.lost == verdict.lied == (f"id{gone}",)
    assert kinds(verdict) == {"lost", "lied"}


def test_what_the_database_does_not_have_is_lost() -> None:
    verdict = check(replace(facts("delivered"), rows=[], copies=[]))
    assert kinds(verdict) == {"lost"}


@given(st.lists(st.booleans(), min_size=2, max_size=5))
def test_copies_after_one_that_was_heard_are_repetitions_and_others_are_ambiguous(heard: list[bool]) -> None:
    verdict = check(replace(facts("delivered"), copies=[copy(0, heard=each) for each in heard]))
    assert kinds(verdict) == ({"repeated"} if any(heard[:-1]) else {"ambiguous"})


def test_two_copies_under_two_queue_ids_are_repetitions_heard_or_not() -> None:
    copies = [copy(0, heard=False), copy(0, queue_id="R")]
    assert kinds(check(replace(facts("delivered"), copies=copies))) == {"repeated"}


@given(st.sampled_from(["row", "message id", "recipient", "body"]))
def test_what_nobody_asked_for_is_a_ghost(which: str) -> None:
    whole = facts("delivered")
    strange = {
        "message id": replace(copy(0), message_id="<other@x>"),
        "recipient": replace(copy(0), recipient="other@x"),
        "body": replace(copy(0), body_sha256="other"),
    }
    seen = (
        replace(whole, rows=[*whole.rows, row(7)])
        if which == "row"
        else replace(whole, copies=[*whole.copies, strange[which]])
    )
    assert kinds(check(seen)) == {"ghost"}


@pytest.mark.parametrize("state", ["bounced", "expired", "failed", "cancelled", "suppressed"])
def test_a_state_that_denies_a_delivery_is_a_lie(state: str) -> None:
    assert kinds(check(facts(state))) == {"lied"}


@pytest.mark.parametrize("state", ["bounced", "expired", "failed", "cancelled", "suppressed"])
def test_a_send_that_ends_without_a_reason_is_lost(state: str) -> None:
    assert kinds(check(replace(facts(state), copies=[]))) == {"lost"}


@given(st.sampled_from(["accepted", "queued", "relayed", "dead"]), st.booleans())
def test_what_is_not_final_is_stuck(state: str, arrived: bool) -> None:
    assert state not in FINAL
    assert kinds(check(replace(facts(state), copies=[copy(0)] if arrived else []))) == {"stuck"}


@given(st.booleans())
def test_uncertain_is_counted_and_no_loss(arrived: bool) -> None:
    verdict = check(replace(facts("uncertain"), copies=[copy(0)] if arrived else []))
    assert kinds(verdict) == {"uncertain"}
    assert verdict.holds


def test_a_refusal_and_a_withdrawal_are_as_they_should_be() -> None:
    refused = Facts({"id0": order(0, Temper.REFUSES)}, [row(0, "bounced", Temper.REFUSES)], [])
    assert kinds(check(refused)) == set()
    assert kinds(check(replace(facts("suppressed"), copies=[], withdrawn={"id0"}))) == set()


def test_what_postfix_began_after_the_lease_is_a_lie() -> None:
    whole = facts("uncertain")
    began = queued_at(QUEUE_ID)
    assert began is not None
    for deadline, wrong in ((began + 1, {"uncertain"}), (began - 1, {"uncertain", "lied"})):
        rows = [replace(whole.rows[0], lease_deadline=deadline)]
        copies = [replace(copy(0), queue_id=QUEUE_ID)]
        assert kinds(check(replace(whole, rows=rows, copies=copies))) == wrong


@pytest.mark.parametrize("queue_id", ["", "z", "Q7", "3F2504E0", "aaaaaaaaaaazn9pg"])
def test_what_is_no_long_queue_id_tells_no_time(queue_id: str) -> None:
    assert queued_at(queue_id) is None


def test_a_long_queue_id_tells_when_postfix_began() -> None:
    assert queued_at(QUEUE_ID) == pytest.approx(QUEUED_AT, abs=1)
