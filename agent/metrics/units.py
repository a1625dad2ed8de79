"""States of the mail server's systemd units, all by one `systemctl show`."""

import asyncio
from collections.abc import Iterator, Sequence

from agent.metrics.command import CommandFailed, output_of
from protos.agent.v1.telemetry_pb2 import Unit

#: On Debian 12 Postfix runs as postfix@-.service; postfix.service is only a name for all instances, and the server
#: itself from Debian 13 on. A unit that is not installed is left out.
MAIL_UNITS = (
    "postfix.service",
    "postfix@-.service",
    "dovecot.service",
    "opendkim.service",
    "opendmarc.service",
    "penguin-agent.service",
    "penguin-configure.socket",
    "penguin-configure.service",
)
#: Seconds systemd may take to answer.
TIMEOUT = 10.0


async def read_units() -> list[Unit]:
    """Ask systemd; an empty list when it cannot say."""
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            output_of(
                "systemctl", "show", "--property=Id,LoadState,ActiveState,SubState,NRestarts", "--", *MAIL_UNITS
            ) as output,
        ):
            return list(parse_units((await output.read()).decode(errors="replace")))
    except (CommandFailed, TimeoutError):
        return []


def is_postfix_running(units: Sequence[Unit]) -> bool:
    """Return whether Postfix's queue can be asked for. While it is stopped each attempt would log a fault."""
    return any(unit.name.startswith("postfix") and unit.sub_state == "running" for unit in units)


def parse_units(output: str) -> Iterator[Unit]:
    """Read blocks of KEY=value lines with an empty line between units."""
    for block in output.split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if properties.get("LoadState") == "loaded" and "Id" in properties:
            restarts = properties.get("NRestarts", "")
            yield Unit(
                name=properties["Id"],
                active_state=properties.get("ActiveState", ""),
                sub_state=properties.get("SubState", ""),
                restarts=int(restarts) if restarts.isdecimal() else 0,
            )
