"""The product's api process with a clock that runs faster: an access token's ten minutes are over in seconds.

All that the process judges by its clock keeps its proportions: how long tokens are good, how long a key is known before
it signs, how often keys are read. What waits does so in real time.
"""

import datetime as dt
import os
from dataclasses import dataclass
from typing import Self

from control_plane.clock import utc_now
from control_plane.processes.rest_server import serve
from control_plane.rest.app import make_app
from control_plane.settings import Settings

#: The variable that the clock stands in.
CLOCK = "BENCH_CLOCK"


@dataclass(frozen=True, slots=True)
class HurriedClock:
    """Was right when it began, and runs so many times as fast since; the same in each process that has its text."""

    began: dt.datetime
    speed: float

    def __call__(self) -> dt.datetime:
        return self.began + (utc_now() - self.began) * self.speed

    def __str__(self) -> str:
        return f"{self.began.isoformat()} {self.speed}"

    @classmethod
    def of(cls, text: str) -> Self:
        began, _, speed = text.partition(" ")
        return cls(dt.datetime.fromisoformat(began), float(speed))


def main() -> None:
    """Serve until told to end, as control_plane/processes/api.py does."""
    settings = Settings.model_validate({})
    serve(make_app(settings, HurriedClock.of(os.environ[CLOCK])), settings)


if __name__ == "__main__":
    main()
