"""What operators do about releases and plans, each act recorded with it: both doors come through here."""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.authority import Authority
from control_plane.operators.acts import Act, Actor, record
from control_plane.upgrades import configuration_plans, package_plans, plans, releases
from control_plane.upgrades.configuration_plans import ConfigurationWish
from control_plane.upgrades.package_plans import PackagesWish
from control_plane.upgrades.plans import Wish
from control_plane.upgrades.releases import StoredRelease
from db.models import Upgrade


async def add_release(session: AsyncSession, actor: Actor, authority: Authority, stored: StoredRelease) -> str:
    """Sign and offer a release, and return its name."""
    name = await releases.add_release(session, authority, stored)
    await record(session, actor, Act.ADD_RELEASE, {"release": name})
    return name


async def make_plan(session: AsyncSession, actor: Actor, wish: Wish, reason: str | None = None) -> Upgrade:
    """Plan an upgrade; see `plans.make_plan`."""
    plan = await plans.make_plan(session, wish, actor.name)
    await record(session, actor, Act.PLAN_UPGRADE, _subject(plan), reason)
    return plan


async def make_configuration_plan(
    session: AsyncSession, actor: Actor, wish: ConfigurationWish, reason: str | None = None
) -> Upgrade:
    """Plan other settings of the fleet; see `configuration_plans.make_configuration_plan`."""
    plan = await configuration_plans.make_configuration_plan(session, wish, actor.name)
    await record(session, actor, Act.PLAN_UPGRADE, _subject(plan), reason)
    return plan


async def make_package_plan(
    session: AsyncSession, actor: Actor, wish: PackagesWish, reason: str | None = None
) -> Upgrade:
    """Plan other versions of the mail packages; see `package_plans.make_package_plan`."""
    plan = await package_plans.make_package_plan(session, wish, actor.name)
    await record(session, actor, Act.PLAN_UPGRADE, _subject(plan), reason)
    return plan


async def apply_plan(session: AsyncSession, actor: Actor, upgrade_id: uuid.UUID, reason: str | None = None) -> Upgrade:
    """Let a plan begin; see `plans.apply_plan`."""
    plan = await plans.apply_plan(session, upgrade_id)
    await record(session, actor, Act.APPLY_UPGRADE, _subject(plan), reason)
    return plan


async def abort_plan(session: AsyncSession, actor: Actor, upgrade_id: uuid.UUID, reason: str | None = None) -> Upgrade:
    """Take a plan back; see `plans.abort_plan`."""
    plan = await plans.abort_plan(session, upgrade_id, actor.name)
    await record(session, actor, Act.ABORT_UPGRADE, _subject(plan), reason)
    return plan


def _subject(plan: Upgrade) -> dict[str, object]:
    packages = ", ".join(plan.packages or ()) or None
    return {
        "upgrade_id": plan.id,
        "release": plan.release,
        "configuration": plan.configuration,
        "packages": packages,
    }
