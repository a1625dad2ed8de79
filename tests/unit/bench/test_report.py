import pytest

from tests.bench.report import Goal, Rounds, table


def rounds() -> Rounds:
    result = Rounds()
    for ours, theirs in ((30.0, 10.0), (20.0, 10.0), (80.0, 20.0)):
        result.add("ours", ours)
        result.add("theirs", theirs)
    return result


def test_a_ratio_compares_what_was_measured_side_by_side() -> None:
    result = rounds()
    result.compare("ours ÷ theirs", "ours", "theirs", Goal(3.0))
    assert result.ratios["ours ÷ theirs"] == {
        "median": 3.0,
        "min": 2.0,
        "max": 4.0,
        "goal": 3.0,
        "better": "more",
        "met": True,
    }


@pytest.mark.parametrize(
    ("goal", "met"),
    [(Goal(3.1), False), (Goal(3.0, at_most=True), True), (Goal(2.9, at_most=True), False), (None, None)],
)
def test_the_median_meets_the_goal_or_does_not(goal: Goal | None, met: bool | None) -> None:
    result = rounds()
    result.compare("ratio", "ours", "theirs", goal)
    assert result.ratios["ratio"]["met"] is met


def test_a_time_is_held_to_its_goal_as_it_is() -> None:
    result = rounds()
    result.hold("time", "ours", Goal(25.0, at_most=True))
    assert (result.ratios["time"]["median"], result.ratios["time"]["met"]) == (30.0, False)


def test_a_round_that_one_side_lacks_is_an_error() -> None:
    result = rounds()
    result.add("ours", 1.0)
    with pytest.raises(ValueError, match="shorter"):
        result.compare("ratio", "ours", "theirs")


def test_the_table_names_each_ratio_with_its_goal_and_whether_it_was_missed() -> None:
    result = rounds()
    result.compare("fast enough", "ours", "theirs", Goal(5.0))
    head = {"bench": "some", "rounds": 3, "seconds": 1.0, "machine": {"cores": "2"}}
    text = table(head | result.as_json())
    line = next(line for line in text.splitlines() if "fast enough" in line)
    assert ">= 5" in line
    assert "MISSED" in line
