"""What an attempt means for its delivery and its endpoint: pure."""

from dataclasses import dataclass
from datetime import timedelta

from control_plane.webhooks.attempt import Answer

#: How long a delivery is tried, and an endpoint may fail before it is disabled.
TRIED_FOR = timedelta(days=3)
FAILING_FOR = timedelta(days=5)
_FIRST_DELAY = timedelta(seconds=5)
_LONGEST_DELAY = timedelta(hours=6)
_GROWTH = 3.0
#: The share of a delay that the dice decide, so that many do not come back at once.
_JITTER = 0.5
_GONE = 410


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the delivery: delivered, tried again `after` a while, or dead when that is None.

    `disable` says why the endpoint is told of nothing any more.
    """

    delivered: bool = False
    after: timedelta | None = None
    disable: str | None = None

    @property
    def outcome(self) -> str:
        """What it is, in a word."""
        if self.delivered:
            return "delivered"
        return "again" if self.after is not None else "given_up"


def back_off(attempts: int, dice: float) -> timedelta:
    """Return how long to wait after so many attempts, `dice` being from 0 to 1."""
    # Beyond twenty the longest delay has long been reached.
    delay = min(_FIRST_DELAY * _GROWTH ** min(max(attempts, 1) - 1, 20), _LONGEST_DELAY)
    return delay * (1 - _JITTER / 2 + _JITTER * dice)


def judge(answer: Answer, attempts: int, waited: timedelta, failing: timedelta, dice: float) -> Verdict:
    """Judge an answer to the delivery's attempt of this number.

    `waited` is since the delivery has been tried, `failing` since the endpoint's first failure after its last success.
    """
    if answer.delivered:
        return Verdict(delivered=True)
    if answer.status == _GONE:
        return Verdict(disable="It answered 410: gone.")
    if failing >= FAILING_FOR:
        return Verdict(disable=f"It has failed for {FAILING_FOR.days} days without a success.")
    left = TRIED_FOR - waited
    if left <= timedelta(0):
        return Verdict()
    delay = max(back_off(attempts, dice), answer.retry_after or timedelta(0))
    # The last attempt is when the time is up.
    return Verdict(after=min(delay, max(left, timedelta(seconds=1))))
