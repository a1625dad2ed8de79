"""Can mail leave the server: its agent connects to port 25 of hosts that we name, and reads their greetings.

No sender, no recipient: nothing is asked but whether packets get through. Which hosts, `PENGUIN_PORT25_PROBE` says; a
listener of our own (`listener.py`) is the politest.
"""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import timedelta

from control_plane.fleet.commands import CommandOrder, CommandState, await_command, request_command
from control_plane.preflight.findings import Check, Finding, Verdict
from db.session import Database
from protos.agent.v1.commands_pb2 import Command, ProbePort

#: How long a probe may wait to be begun, and how long for its answer; the agent itself gives up after 10 s.
_LIFE = timedelta(seconds=10)
_PATIENCE_SECONDS = 25.0
_NOBODY = "no host to try is named (PENGUIN_PORT25_PROBE), so whether mail can leave the server is not known"


async def check_port_25(
    database: Database, tenant_id: uuid.UUID, vps_id: uuid.UUID, targets: Sequence[str]
) -> list[Finding]:
    """Have the server's agent try each target, host:port, side by side."""
    states = await asyncio.gather(*(_probe(database, tenant_id, vps_id, target) for target in targets))
    return judge_port_25(
        [(target, state.state, state.detail or "") for target, state in zip(targets, states, strict=True)]
    )


def judge_port_25(probes: Sequence[tuple[str, str, str]]) -> list[Finding]:
    """Return what targets, the states of the commands for them, and their details are worth.

    One greeting is proof that the port is open; then another host's silence is that host's.
    """
    if not probes:
        return [Finding(Check.PORT_25, "-", Verdict.UNKNOWN, _NOBODY)]
    is_open = any(state == "done" for _, state, _ in probes)
    return [Finding(Check.PORT_25, *_judge(target, state, detail, is_open=is_open)) for target, state, detail in probes]


def _judge(target: str, state: str, detail: str, *, is_open: bool) -> tuple[str, Verdict, str]:
    match state:
        case "done":
            return target, Verdict.PASSED, f"{target} was reached from the server"
        case "failed":
            verdict = Verdict.WARNED if is_open else Verdict.FAILED
            return target, verdict, f"{target} was not reached from the server: {detail}"
        case "refused":
            return target, Verdict.UNKNOWN, f"the server's agent does not try {target}: {detail}"
        case _:
            verdict = Verdict.UNKNOWN if is_open else Verdict.PENDING
            return target, verdict, f"the server's agent has not answered yet whether {target} can be reached"


async def _probe(database: Database, tenant_id: uuid.UUID, vps_id: uuid.UUID, target: str) -> CommandState:
    host, _, port = target.rpartition(":")
    deed = Command(probe_port=ProbePort(host=host, port=int(port)))
    async with database.tenant(tenant_id) as session:
        command_id = await request_command(session, CommandOrder(tenant_id, vps_id, deed, "preflight", _LIFE))
    return await await_command(database, tenant_id, command_id, _PATIENCE_SECONDS)
