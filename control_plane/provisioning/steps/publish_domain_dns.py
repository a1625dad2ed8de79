"""Publish what a domain's inboxes need in the domain's zone, and withdraw what they do not need any more."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.generate import forget_withdrawn, mark_applied, mark_published, zone_share
from control_plane.dns.plan import ZonePlan
from control_plane.dns.publish import publish
from control_plane.dns.publishers.choice import publisher_for
from control_plane.dns.publishers.chosen import load_choice
from control_plane.dns.resolve import ask
from control_plane.pipelines.step import Done, NothingToUndo, Outcome
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.inboxes import load_inbox
from control_plane.provisioning.refusals import WORLD_ERRORS, outcome_of


@dataclass(frozen=True, slots=True)
class PublishDomainDns(NothingToUndo):
    """Always the whole domain: an inbox that is being deleted wants nothing, so its records go.

    What stands in the way in the tenant's zone is no failure: it is reported, and verification will show it.
    """

    name: str = "publish_dns"
    patience: timedelta = timedelta(hours=24)

    async def run(self, context: StepContext) -> Outcome:
        """Plan, remember what will be ours, apply."""
        inbox = await load_inbox(context)
        try:
            plan = await publish_domain(context, inbox.domain_id, inbox.domain)
        except WORLD_ERRORS as error:
            return outcome_of(error, "DNS was not published")

        async def note(session: AsyncSession) -> None:
            await forget_withdrawn(session, inbox.domain_id)
            await mark_applied(session, inbox.domain_id, inbox.domain)

        conflicts = [f"{conflict}. {conflict.remedy}".strip() for conflict in plan.conflicts]
        return Done({"changes": [str(c) for c in plan.changes], "conflicts": conflicts}, note)


async def publish_domain(context: StepContext, domain_id: uuid.UUID, domain: str) -> ZonePlan:
    """Bring our part of the domain's zone up to date; raises what publishing does (`WORLD_ERRORS`)."""
    database = context.environment.database

    async def remember(plan: ZonePlan) -> None:
        async with database.system() as session:
            await mark_published(session, domain_id, plan)
        await context.fence()

    environment = context.environment
    async with database.system() as session:
        share = await zone_share(session, domain_id, domain)
        choice = await load_choice(session, domain_id, environment.sealer)
    return await publish(
        publisher_for(choice, environment.publisher, environment.settings),
        domain,
        share.wanted,
        share.written,
        remember,
        blended=share.blended,
        ask=partial(ask, environment.settings.nameservers),
    )
