"""Renews the certificate when it is due, for as long as the hub is merely unable to."""

import asyncio
import logging
from collections.abc import Callable

import grpc.aio

from agent.identity.renew import renew, renewal_due
from agent.identity.store import IdentityStore
from agent.uplink.backoff import Backoff
from agent.uplink.clock import Clock
from agent.uplink.reasons import Reaction, on_link

logger = logging.getLogger(__name__)

#: The longest sleep before the clock is looked at again, in seconds: a clock that was set wrong may be corrected.
LONGEST_SLEEP = 300.0
#: Seconds that a session goes on whose new certificate is due the moment it comes: our clock is ahead by half of its
#: life, and would have us do nothing else.
CLOCK_AHEAD_PAUSE = 3600.0


async def renew_when_due(
    channel: grpc.aio.Channel, store: IdentityStore, clock: Clock, draw: Callable[[], float]
) -> None:
    """Wait for the middle of the certificate's life, renew it, and return.

    Raises `grpc.aio.AioRpcError` when the hub's reason is more than being unable just now.
    """
    await _until_due(store, clock)
    backoff = Backoff(draw)
    while True:
        try:
            await renew(channel, store)
        except grpc.aio.AioRpcError as error:
            if on_link(error.code()) is not Reaction.BACK_OFF:
                raise
            pause = backoff.failed()
            logger.warning(
                "renewal failed code=%s details=%r pause_seconds=%.1f", error.code().name, error.details(), pause
            )
            await asyncio.sleep(pause)
        else:
            due_again = renewal_due(store.load().certificate_pem)
            logger.info("certificate renewed due_again=%s", due_again.isoformat())
            if due_again <= clock():
                logger.warning("this server's clock is far ahead, or the new certificate is old")
                await asyncio.sleep(CLOCK_AHEAD_PAUSE)
            return


async def _until_due(store: IdentityStore, clock: Clock) -> None:
    due = renewal_due(store.load().certificate_pem)
    while True:
        left = (due - clock()).total_seconds()
        if left <= 0:
            return
        await asyncio.sleep(min(left, LONGEST_SLEEP))
