"""Tells systemd that the agent is up, alive and how it fares (sd_notify(3), Type=notify)."""

import asyncio
import contextlib
import os
import socket

#: Seconds between two signs of life when systemd named no limit.
_DEFAULT_PERIOD = 30.0


def notify(state: str) -> None:
    """Send one assignment such as `READY=1`; nothing happens where systemd does not listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # Never wait for systemd: a message that is lost is followed by the next.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as door:
        door.sendto(state.encode(), address)


async def keep_watchdog(ready: asyncio.Event) -> None:
    """Say that we are up once we are, and then again and again, from the event loop, that we still are."""
    await ready.wait()
    notify("READY=1")
    period = watchdog_period(os.environ.get("WATCHDOG_USEC", ""))
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(period)


def watchdog_period(limit: str) -> float:
    """Return the seconds between two signs of life for systemd's limit in microseconds: half of it."""
    return int(limit) / 2_000_000 if limit.isdecimal() else _DEFAULT_PERIOD
