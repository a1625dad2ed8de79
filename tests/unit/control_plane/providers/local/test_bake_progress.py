import functools

from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.local.bake_progress import BakeProgress

ESSENTIAL = "0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded."
REST = "0 upgraded, 4 newly installed, 0 to remove and 0 not upgraded."


def of_packages(*names: str) -> list[str]:
    return [f"{step}{name}" for step in ("Get:", "Unpacking ", "Setting up ") for name in names]


def after(*lines: str) -> BakeProgress:
    return functools.reduce(BakeProgress.after, lines, BakeProgress())


def test_nothing_counts_before_apt_says_how_many_packages_there_are() -> None:
    assert after("I: running apt-get update...", "Get:1 a list").percent == 0


def test_the_essential_packages_are_a_quarter_and_the_rest_all_but_the_last_percent() -> None:
    essential = [ESSENTIAL, *of_packages("a", "b")]
    assert after(*essential).percent == 25
    assert after(*essential, REST).percent == 25
    assert after(*essential, REST, *of_packages("c", "d", "e", "f")).percent == 99


def test_it_says_what_is_done_at_the_moment() -> None:
    assert after(ESSENTIAL, "Get:1 a").doing == "downloading"
    assert after(ESSENTIAL, "Get:1 a", "Unpacking a").doing == "unpacking"
    assert after(ESSENTIAL, "Get:1 a", "Unpacking a", "Setting up a").doing == "setting up"


@given(st.lists(st.sampled_from([ESSENTIAL, REST, "noise", "", *of_packages("a")])))
def test_it_never_goes_back_and_never_claims_to_be_done(lines: list[str]) -> None:
    percents = [after(*lines[:count]).percent for count in range(len(lines) + 1)]
    assert percents == sorted(percents)
    assert percents[-1] <= 99
