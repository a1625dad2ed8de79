"""The sweep: finds what stands still, ends what nobody will ever tell of, and says why the rest waits.

Leases that run out are taken back elsewhere (queuer.py), so every state that is not final has somebody who looks
(delivery/states.py has the table): what is accepted and due, and not leased, is named with its reason here and in
`penguin queue show`; what Postfix has had for too long, what a server has been silent about for too long, and what
belongs to servers and inboxes that are gone, ends here.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from control_plane.delivery.states import SILENCE, UNHEARD
from control_plane.queuer.depth import Standing, standing_still
from control_plane.queuer.statements import CLOCK_TOLERANCE_SECONDS, end_homeless, end_silent, end_unheard
from db.session import Database

EVERY_SECONDS = 60.0
#: A send that has been due for this long and is not leased is worth a line in the log.
STANDS_SECONDS = 300.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Sweep:
    """Looks at everything from time to time."""

    database: Database
    clock_tolerance_seconds: int = CLOCK_TOLERANCE_SECONDS
    _told: Counter[str] = field(default_factory=Counter)

    async def look_at_all(self) -> float:
        """End what must end, tell what stands, and return the seconds until the next look."""
        for what, count in (
            ("of removed inboxes and servers", await end_homeless(self.database)),
            ("that Postfix had for too long", await end_unheard(self.database, UNHEARD.total_seconds())),
            ("whose servers were silent for too long", await end_silent(self.database, SILENCE.total_seconds())),
        ):
            if count:
                _log.warning("ended %d sends %s", count, what)
        async with self.database.system() as session:
            self._tell(await standing_still(session, STANDS_SECONDS, self.clock_tolerance_seconds))
        return EVERY_SECONDS

    def _tell(self, standing: Sequence[Standing]) -> None:
        """Log how many inboxes wait for which reason, when that has changed."""
        reasons = Counter(each.why or "nothing is known to hold them" for each in standing)
        for why, inboxes in (reasons - self._told).items():
            _log.warning("%d more inboxes have had something due for minutes: %s", inboxes, why)
        self._told = reasons
