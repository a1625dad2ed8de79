"""Many rows in one statement: every row once, in few different lengths, and the same as one after the other."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.journal import Arrival, Journal, Taken
from agent.journal.many import pieces, row_marks
from tests.unit.agent.journal.envelopes import leased_again, make_envelope


@given(st.lists(st.integers(), max_size=200))
def test_pieces_hold_every_value_once_and_have_few_lengths(values: list[int]) -> None:
    cut = list(pieces(values))
    assert [value for piece in cut for value in piece] == values
    assert {len(piece) for piece in cut} <= {1, 2, 4, 8, 16, 32}


def test_marks_are_rows_of_place_holders() -> None:
    assert row_marks(2, 3) == "(?, ?, ?), (?, ?, ?)"
    assert row_marks(3, 1) == "(?, ?, ?)"


async def test_envelopes_taken_together_are_judged_one_after_the_other(tmp_path: Path) -> None:
    first, other = make_envelope(), make_envelope()
    again = leased_again(first)
    journal = Journal.open(tmp_path / "journal.sqlite3")
    try:
        arrivals = await journal.take([Taken(each, 1) for each in (first, other, again, first, other)])
        assert arrivals == [Arrival.TAKE, Arrival.TAKE, Arrival.REPLACE, Arrival.DROP, Arrival.DROP]
        found = {found.envelope.send_id: found.envelope for found in await journal.open_sends()}
        assert found == {first.send_id: again, other.send_id: other}
    finally:
        journal.close()
