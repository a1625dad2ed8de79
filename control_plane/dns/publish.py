"""Publish what belongs to us in a zone: plan, look at the plan, apply it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from control_plane.dns.plan import ZonePlan
from control_plane.dns.records import DnsRecord

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """A DNS host. Synchronous: its libraries are."""

    def plan(self, zone: str, wanted: Collection[DnsRecord], written: Collection[DnsRecord]) -> ZonePlan:
        """Return what would change so that `wanted` is there and the rest of `written` is not."""

    def apply(self, plan: ZonePlan) -> None:
        """Make the changes."""


async def publish(
    publisher: Publisher,
    zone: str,
    wanted: Collection[DnsRecord],
    written: Collection[DnsRecord],
    before_apply: Callable[[ZonePlan], Awaitable[None]],
) -> ZonePlan:
    """Bring our part of the zone up to date and return the plan that was applied.

    `before_apply` records what will be ours, so that a crash in between cannot leave a record of ours that we take for
    somebody else's. Callers see to it that one zone is published by one worker at a time (the lock of its job). Raises
    `PlanRefused` and `PublisherUnavailable`.
    """
    plan = await asyncio.to_thread(publisher.plan, zone, wanted, written)
    await before_apply(plan)
    if plan.changes:
        _log.info("publishing %s", plan)
        await asyncio.to_thread(publisher.apply, plan)
    return plan
