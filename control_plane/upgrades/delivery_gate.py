"""Whether servers deliver worse than they did: pure, from counted attempts."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

#: A share of attempts may grow to so many times what it was, and by this much besides.
_TIMES = 1.5
_BESIDES = 0.02
#: Standard errors that chance is allowed.
_SIGMAS = 3.0
#: Attempts that say something, however few are asked for: a receiver that greylists defers the first of each sender.
_FEWEST = 20
#: Where there is no past to compare with: the share that is too much.
_TOO_MUCH = {"deferred": 0.5, "bounced": 0.2}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Attempts to deliver, by what became of them."""

    delivered: float = 0
    deferred: float = 0
    bounced: float = 0

    @property
    def attempts(self) -> float:
        """All of them."""
        return self.delivered + self.deferred + self.bounced

    def share(self, outcome: str) -> float:
        """Return the share of attempts that ended so; 0 without any."""
        return float(getattr(self, outcome)) / self.attempts if self.attempts else 0.0


#: No attempt at all.
NONE = Outcomes()


def together(outcomes: Iterable[Outcomes]) -> Outcomes:
    """Return the sum."""
    listed = list(outcomes)
    return Outcomes(
        sum(each.delivered for each in listed),
        sum(each.deferred for each in listed),
        sum(each.bounced for each in listed),
    )


def worse(past: Outcomes, lately: Outcomes, minimum: int) -> str:
    """Return one sentence if `lately` is worse than the same servers' past, else an empty one.

    Fewer than `minimum` attempts say nothing; with fewer than that in the past, only the coarsest is caught.
    """
    enough = max(minimum, _FEWEST)
    if lately.attempts < enough:
        return ""
    for outcome, too_much in _TOO_MUCH.items():
        now, before = lately.share(outcome), past.share(outcome)
        limit = _limit(before, lately.attempts) if past.attempts >= enough else too_much
        if now > limit:
            return (
                f"{now:.1%} of {lately.attempts:.0f} attempts were {outcome}, and {before:.1%} of"
                f" {past.attempts:.0f} before; {limit:.1%} would be allowed"
            )
    return ""


def _limit(before: float, attempts: float) -> float:
    chance = _SIGMAS * math.sqrt(max(before, 0.01) * (1 - before) / attempts)
    return min(before * _TIMES + _BESIDES + chance, 1.0)
