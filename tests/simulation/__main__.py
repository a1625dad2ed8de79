"""Run a fleet of agents: `python -m tests.simulation --count N [--seconds S] [--json]`; `./penguin simulate agents`.

Ends by itself, with what it started. Exit codes: 1 when agents did not come, 3 when the machine has no room.
"""

import argparse
import json
import sys

from control_plane.errors import PenguinError
from control_plane.processes.interruptible import run_interruptible
from tests.simulation.crowd import Fell
from tests.simulation.measure import simulate
from tests.simulation.room import NoRoom, make_room

LACKING = 3


def main() -> None:
    arguments = argparse.ArgumentParser(prog="penguin simulate agents")
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--json", action="store_true")
    wish = arguments.parse_args()
    try:
        make_room(wish.count)
        # Ctrl-C, or an end from outside, takes everything down before it ends us.
        sys.exit(run_interruptible(_run(wish.count, wish.seconds, as_json=wish.json)))
    except NoRoom as lack:
        print(f"penguin: {lack}", file=sys.stderr)
        sys.exit(LACKING)
    except (Fell, PenguinError) as error:
        sys.exit(f"penguin: {error}")


async def _run(count: int, seconds: float, *, as_json: bool) -> None:
    figures = (await simulate(count, seconds)).as_json()
    lines = [json.dumps(figures)] if as_json else [f"{name:28} {figure:>12g}" for name, figure in figures.items()]
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
