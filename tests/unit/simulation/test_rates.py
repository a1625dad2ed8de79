from collections.abc import Sequence

import pytest

from tests.simulation.rates import most_in_a_second


@pytest.mark.parametrize(
    ("moments", "most"),
    [([], 0), ([3.0], 1), ([0.9, 0.0, 1.0], 2), ([0.0, 0.6, 1.49, 1.5, 9.0], 3), ([5.0, 5.0, 5.0], 3)],
)
def test_the_most_in_a_second_counts_any_second(moments: Sequence[float], most: int) -> None:
    assert most_in_a_second(moments) == most
