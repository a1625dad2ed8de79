"""Whether servers deliver worse than they did: pure, from counted attempts, and from what their own Postfix refused."""

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
_TOO_MUCH_REFUSED = 0.2


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


@dataclass(frozen=True, slots=True)
class HandOvers:
    """Sends that agents handed over to their own Postfix, and those that were refused there or before."""

    taken: float = 0
    refused: float = 0

    @property
    def all(self) -> float:
        """Both."""
        return self.taken + self.refused

    @property
    def share(self) -> float:
        """The share that was refused; 0 without any."""
        return self.refused / self.all if self.all else 0.0


#: Nothing was handed over.
NO_HAND_OVERS = HandOvers()


def together(outcomes: Iterable[Outcomes]) -> Outcomes:
    """Return the sum."""
    listed = list(outcomes)
    return Outcomes(
        sum(each.delivered for each in listed),
        sum(each.deferred for each in listed),
        sum(each.bounced for each in listed),
    )


def handed_over_together(hand_overs: Iterable[HandOvers]) -> HandOvers:
    """Return the sum."""
    listed = list(hand_overs)
    return HandOvers(sum(each.taken for each in listed), sum(each.refused for each in listed))


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


def refuses(past: HandOvers, lately: HandOvers) -> str:
    """Return one sentence if more is refused on the way into Postfix than before, else an empty one.

    How many attempts a plan asks for does not matter: what the server does itself is the same for each send.
    """
    if lately.all < _FEWEST:
        return ""
    limit = _limit(past.share, lately.all) if past.all >= _FEWEST else _TOO_MUCH_REFUSED
    if lately.share <= limit:
        return ""
    return (
        f"{lately.share:.1%} of {lately.all:.0f} sends were refused before Postfix had them, and {past.share:.1%} of"
        f" {past.all:.0f} before; {limit:.1%} would be allowed"
    )


def _limit(before: float, attempts: float) -> float:
    chance = _SIGMAS * math.sqrt(max(before, 0.01) * (1 - before) / attempts)
    return min(before * _TIMES + _BESIDES + chance, 1.0)
