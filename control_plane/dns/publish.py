"""Publish what belongs to us in a zone: plan, look at the plan, apply it."""

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Protocol

from control_plane.abandonable import abandonable
from control_plane.dns.plan import Blend, Conflict, ZonePlan
from control_plane.dns.records import DnsRecord
from control_plane.dns.spf_cost import Ask, spf_fault

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """A DNS host. Synchronous: its libraries are."""

    def plan(
        self,
        zone: str,
        wanted: Collection[DnsRecord],
        written: Collection[DnsRecord],
        blended: Collection[Blend] = (),
    ) -> ZonePlan:
        """Return what would change so that `wanted` is there and the rest of `written` and `blended` is not."""

    def apply(self, plan: ZonePlan) -> None:
        """Make the changes."""


async def publish(
    publisher: Publisher,
    zone: str,
    wanted: Collection[DnsRecord],
    written: Collection[DnsRecord],
    before_apply: Callable[[ZonePlan], Awaitable[None]],
    *,
    blended: Collection[Blend] = (),
    ask: Ask | None = None,
) -> ZonePlan:
    """Bring our part of the zone up to date and return the plan that was applied.

    `before_apply` records what will be ours, so that a crash in between cannot leave a record of ours that we take for
    somebody else's. With `ask`, an SPF record of others that ours would join is looked at first, and left alone when it
    is too costly to be evaluated. Callers see to it that one zone is published by one worker at a time (the lock of its
    job). Raises `PlanRefused` and `PublisherUnavailable`.
    """

    async def plan_of(fitting: Collection[DnsRecord]) -> ZonePlan:
        return await abandonable(partial(publisher.plan, zone, fitting, written, blended))

    plan = await plan_what_fits(plan_of, wanted, ask)
    await before_apply(plan)
    if plan.changes:
        _log.info("publishing %s", plan)
        await abandonable(partial(publisher.apply, plan))
    return plan


async def plan_what_fits(
    plan_of: Callable[[Collection[DnsRecord]], Awaitable[ZonePlan]], wanted: Collection[DnsRecord], ask: Ask | None
) -> ZonePlan:
    """Return the plan without what would join an SPF record that receivers would not evaluate to its end."""
    plan = await plan_of(wanted)
    unfit = [conflict for blend in plan.blends if (conflict := await _unfit(blend, ask))]
    if not unfit:
        return plan
    left_out = {conflict.record for conflict in unfit}
    plan = await plan_of([record for record in wanted if record not in left_out])
    return replace(plan, conflicts=(*plan.conflicts, *unfit))


async def _unfit(blend: Blend, ask: Ask | None) -> Conflict | None:
    fault = await spf_fault(blend.record.fqdn, blend.after, ask) if ask else None
    return Conflict(blend.record, (blend.before,), fault[0]) if fault else None
