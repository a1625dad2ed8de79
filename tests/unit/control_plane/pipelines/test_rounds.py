"""Rounds over many tenants' rows, some of which are slow or fail."""

import asyncio
import logging
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Row

from control_plane.pipelines.rounds import go_round, taking_turns


class FakeRow(NamedTuple):
    """A row, of which rounds know no more."""

    id: int
    tenant_id: str


def rows_of(*tenants: str) -> list[Row[Any]]:
    return cast("list[Row[Any]]", [FakeRow(number, tenant) for number, tenant in enumerate(tenants)])


async def test_a_row_that_fails_is_told_of_and_the_others_are_done(caplog: pytest.LogCaptureFixture) -> None:
    done = []

    async def do(row: Row[Any]) -> None:
        if row.id == 1:
            raise RuntimeError("something nobody thought of")
        done.append(row.id)

    with caplog.at_level(logging.ERROR):
        await go_round("inbox", rows_of("a", "a", "b"), do, at_once=1, seconds=5)

    assert sorted(done) == [0, 2]
    (told,) = caplog.records
    assert told.getMessage() == "inbox 1: left for the next round"
    assert "something nobody thought of" in caplog.text


async def test_a_row_that_hangs_has_its_time_and_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    done = []

    async def do(row: Row[Any]) -> None:
        if row.id == 0:
            await asyncio.Event().wait()
        done.append(row.id)

    await asyncio.wait_for(go_round("zone", rows_of("a", "b", "c"), do, at_once=1, seconds=0.05), 5)

    assert done == [1, 2]
    assert "zone 0: nothing came of it in time" in caplog.text


async def test_so_many_are_done_at_a_time_and_no_more() -> None:
    under_way, most = 0, 0
    three_at_once = asyncio.Event()

    async def do(_row: Row[Any]) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 3:
            three_at_once.set()
        await three_at_once.wait()
        under_way -= 1

    await asyncio.wait_for(go_round("server", rows_of(*"aabbccdd"), do, at_once=3, seconds=5), 5)

    assert most == 3


@given(st.lists(st.sampled_from("abcd")))
def test_no_tenant_has_a_second_turn_before_each_other_had_its_own(tenants: list[str]) -> None:
    rows = rows_of(*tenants)
    in_turn = taking_turns(rows)
    assert sorted(row.id for row in in_turn) == [row.id for row in rows]
    turns = [sum(other.tenant_id == row.tenant_id for other in in_turn[:place]) for place, row in enumerate(in_turn)]
    assert turns == sorted(turns)
