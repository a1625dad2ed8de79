import pytest

from control_plane.rest.rate_limiter import RateLimiter
from control_plane.rest.rates import RATES, RouteClass, route_class

INBOX = "/api/v1/inboxes/01934d3a-7f10-7a2b-8c3d-4e5f60718293"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", INBOX, RouteClass.READ),
        ("PATCH", INBOX, RouteClass.WRITE),
        ("GET", f"{INBOX}/messages", RouteClass.READ),
        ("POST", f"{INBOX}/messages", RouteClass.SEND),
        ("POST", f"{INBOX}/messages:batch", RouteClass.SEND),
        ("POST", "/api/v1/messages/1/resend", RouteClass.SEND),
        ("POST", f"{INBOX}/dns-records/verify", RouteClass.HEAVY),
        ("GET", f"{INBOX}/dns-records/plan", RouteClass.HEAVY),
        ("POST", "/api/v1/nowhere", RouteClass.WRITE),
    ],
)
def test_a_request_is_of_the_class_of_its_work(method: str, path: str, expected: RouteClass) -> None:
    assert route_class(method, path) is expected


def test_nobody_takes_all_that_is_there_for_their_tenant() -> None:
    assert all(rates.key.amount < rates.tenant.amount for rates in RATES.values())


def test_a_limit_is_reached_after_as_many_requests_and_free_again_in_the_next_minute() -> None:
    now = 1_000_020.0
    limiter = RateLimiter(now=lambda: now)
    heavy = RATES[RouteClass.HEAVY]
    limits = [(heavy.address, "heavy/address/192.0.2.1"), (heavy.key, "heavy/key/k")]
    standings = [limiter.take(limits) for _ in range(heavy.key.amount + 1)]
    assert [each.exceeded for each in standings] == [False] * heavy.key.amount + [True]
    assert (standings[0].place, standings[0].remaining) == (1, heavy.key.amount - 1)
    assert (standings[-1].place, standings[-1].remaining, standings[-1].reset_seconds) == (1, 0, 60)
    now += standings[-1].reset_seconds
    assert not limiter.take(limits).exceeded


def test_a_request_that_is_refused_counts_against_nothing() -> None:
    limiter = RateLimiter(now=lambda: 0.0)
    heavy = RATES[RouteClass.HEAVY]
    for _ in range(2 * heavy.key.amount):
        limiter.take([(heavy.address, "heavy/address/a"), (heavy.key, "heavy/key/k")])
    assert limiter.take([(heavy.address, "heavy/address/a")]).remaining == heavy.address.amount - heavy.key.amount - 1
