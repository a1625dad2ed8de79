"""`python -m tests.soak`, started by `penguin test soak`: a fleet of local servers under mail, and what is said of it.

Prints one JSON object with `--json`. Exit status 1: something was missed. Needs root, for the local servers; ends by
itself, with all that it started.
"""

import argparse
import json
import sys

from control_plane.errors import PenguinError
from control_plane.processes.interruptible import run_interruptible
from tests.soak.run import Missed, Wish, soak


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(prog="penguin test soak", description=__doc__)
    arguments.add_argument("--servers", type=int, default=20, help="how many local servers (20)")
    arguments.add_argument("--minutes", type=float, default=60.0, help="how long they are watched (60)")
    arguments.add_argument("--rate", type=float, default=2.0, help="messages a second, of all together (2)")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    try:
        sys.exit(run_interruptible(_run(Wish(given.servers, given.minutes * 60, given.rate), as_json=given.json)))
    except (PenguinError, Missed) as error:
        sys.exit(f"penguin: {error}")


async def _run(wish: Wish, *, as_json: bool) -> None:
    result = await soak(wish, lambda line: print(f"penguin: {line}", file=sys.stderr, flush=True))
    figures = result.as_json()
    lines = [json.dumps(figures)] if as_json else [f"{name:24} {figure}" for name, figure in figures.items()]
    print("\n".join(lines), flush=True)
    if not result.holds:
        raise Missed("the soak did not hold")


if __name__ == "__main__":
    main()
