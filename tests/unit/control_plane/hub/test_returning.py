from control_plane.hub.returning import LINKS_PER_SECOND, LONGEST_SECONDS, spread_seconds


def test_a_small_fleet_comes_back_at_once_and_a_large_one_as_fast_as_links_can_be_opened() -> None:
    assert spread_seconds(0) == 0
    assert spread_seconds(20) < 0.1
    assert 6_000 / spread_seconds(6_000) == LINKS_PER_SECOND
    assert spread_seconds(10**6) == LONGEST_SECONDS
