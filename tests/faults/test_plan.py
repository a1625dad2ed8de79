"""Plans are drawn from their seed alone."""

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.plan import SINK_DOMAIN, Fault, Temper, draw, temper_of

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.integers(0, 50))
def test_a_seed_gives_the_same_plan_again(seed: int, messages: int) -> None:
    assert draw(seed, messages) == draw(seed, messages)


@given(SEEDS, st.integers(0, 50))
def test_every_fault_strikes_while_messages_are_sent(seed: int, messages: int) -> None:
    plan = draw(seed, messages)
    assert len(plan.orders) == messages
    assert len({blow.fault for blow in plan.blows}) == len(plan.blows) >= 2
    assert all(0 <= blow.at <= messages for blow in plan.blows)
    assert list(plan.blows) == sorted(plan.blows, key=lambda blow: blow.at)


@given(SEEDS)
def test_recipients_are_different_and_say_how_they_are_treated(seed: int) -> None:
    orders = draw(seed, 50).orders
    assert len({order.recipient for order in orders}) == 50
    assert all(order.recipient.endswith(f"@{order.temper}.{SINK_DOMAIN}") for order in orders)


def test_all_faults_and_tempers_come_up() -> None:
    plans = [draw(seed, 50) for seed in range(100)]
    assert {blow.fault for plan in plans for blow in plan.blows} == set(Fault)
    assert {temper_of(order.recipient) for plan in plans for order in plan.orders} == set(Temper)
