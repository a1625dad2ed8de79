"""Whoever waits for another waits longer than the other does (control_plane/delivery/states.py)."""

import re
from datetime import timedelta
from importlib import resources

import pytest

from agent.journal.settling import REMEMBERED_MS
from control_plane.delivery import states
from control_plane.delivery.states import FINAL, SILENCE, UNHEARD, State

_DAY = timedelta(days=1)


def test_the_control_plane_waits_for_the_agent_and_the_agent_for_postfix() -> None:
    main_cf = resources.files("mailstack.postfix").joinpath("templates/main.cf.j2").read_text(encoding="utf-8")
    lives = [int(days) for days in re.findall(r"^\w+_queue_lifetime = (\d+)d$", main_cf, re.MULTILINE)]
    agent = timedelta(milliseconds=REMEMBERED_MS)
    assert len(lives) == 2
    assert max(lives) * _DAY + _DAY <= agent <= UNHEARD - _DAY


def test_nothing_is_leased_again_that_its_server_may_have_forgotten() -> None:
    assert timedelta(milliseconds=REMEMBERED_MS) >= SILENCE + _DAY


@pytest.mark.parametrize(
    ("name", "literal"),
    [
        ("claim.sql", "interval '6 days'"),
        ("dead_letters.py", "interval '6 days'"),
        ("reclaim.sql", "6 * 86400"),
    ],
)
def test_the_statements_hold_the_limit_that_the_table_names(name: str, literal: str) -> None:
    assert timedelta(days=6) == SILENCE
    assert literal in resources.files("control_plane.queuer").joinpath(name).read_text(encoding="utf-8")


def test_the_table_has_every_state_that_is_not_final() -> None:
    table = states.__doc__ or ""
    rows = {State(name) for name in re.findall(r"^([a-z]+)  ", table, re.MULTILINE) if name != "state"}
    assert rows == set(State) - FINAL
