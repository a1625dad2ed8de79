"""`inject`: how fast the agent's SMTP sessions get messages accepted, beside smtp-source and aiosmtplib, all with ten
sessions into the same Postfix, which delivers meanwhile; each turn begins when the one before has been delivered.
"""

import asyncio
import subprocess
import sys
import time

from control_plane.processes.places import CHECKOUT
from tests.bench.ground import INJECTION_PORT, RECIPIENT, SENDER, SESSIONS, Deliveries, Ground, running_ground
from tests.bench.peers.environments import environment
from tests.bench.report import Goal, Rounds
from tests.bench.text import SIZE

_SENDS = 2000
_LOG = "var/log/mail.log"


async def measure(rounds: int) -> Rounds:
    result = Rounds()
    peer = str(environment("aiosmtplib"))
    order = [str(INJECTION_PORT), SENDER, RECIPIENT, str(_SENDS), str(SESSIONS), str(SIZE)]
    async with running_ground() as ground:
        namespace = ["nsenter", f"--net=/proc/{_leader(ground)}/ns/net", "--"]
        runs = {
            "agent's sessions": [*namespace, sys.executable, "-m", "tests.bench.inject_agent", *order],
            "smtp-source": ground.source(_SENDS, SIZE),
            "aiosmtplib": [*namespace, peer, "tests/bench/peers/aiosmtplib_client.py", *order],
        }
        for _ in range(rounds):
            for name, command in runs.items():
                result.add(f"{name}, accepted/s", _SENDS / await _inject(ground, command))
    result.compare(
        "agent's sessions ÷ smtp-source", "agent's sessions, accepted/s", "smtp-source, accepted/s", Goal(1.0)
    )
    result.compare("agent's sessions ÷ aiosmtplib", "agent's sessions, accepted/s", "aiosmtplib, accepted/s", Goal(1.4))
    result.notes.append(
        "without journal and signature, which `relay` has; of smtp-source alone the start is counted, some milliseconds"
    )
    return result


def _leader(ground: Ground) -> str:
    """Return the process id of the server's first process."""
    command = ground.inside()
    return command[command.index("--target") + 1]


async def _inject(ground: Ground, command: list[str]) -> float:
    """Return the seconds that an injector needs, by itself if it tells and by the clock if it does not."""
    deliveries = Deliveries(ground.root / _LOG)
    started = time.perf_counter()
    program = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, stdout=subprocess.PIPE)
    printed, _ = await program.communicate()
    seconds = time.perf_counter() - started
    if program.returncode != 0:
        raise RuntimeError(f"{command} failed: {printed!r}")
    await deliveries.until(_SENDS)
    return float(printed) if printed.strip() else seconds
