"""Plans to bring the mail packages of all servers to other versions."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput
from control_plane.upgrades.plans import PACE, Pace, add_plan
from db.models import Upgrade
from mailstack.packages import checked_versions
from mailstack.syntax import InvalidSpec


@dataclass(frozen=True, slots=True)
class PackagesWish:
    """Packages with the versions that each may be brought to, a server's own and those of other distributions.

    And which servers first, and how carefully.
    """

    versions: Mapping[str, Sequence[str]]
    canaries: Collection[uuid.UUID] = ()
    pace: Pace = PACE


async def make_package_plan(session: AsyncSession, wish: PackagesWish, requested_by: str) -> Upgrade:
    """Choose rings of all servers. Nothing happens before it is applied.

    Raises `InvalidInput` for what is no mail package or no version, and where there is no server; `NotFound` for a
    canary that there is not.
    """
    try:
        versions = checked_versions(wish.versions)
    except InvalidSpec as error:
        raise InvalidInput(f"{error}.", "/packages") from error
    packages = {name: list(each) for name, each in versions.items()}
    plan = Upgrade(id=uuid.uuid4(), packages=packages, requested_by=requested_by)
    return await add_plan(session, plan, wish.canaries, wish.pace)
