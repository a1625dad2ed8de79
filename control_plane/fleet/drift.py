"""What is done about files that somebody edits on a server: part of what the server should be."""

import enum
import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.fleet.desired import raise_desired_version


class DriftPolicy(enum.StrEnum):
    """`vps_servers.drift_policy`."""

    #: They are put right within five minutes, and what they were is shown.
    MEND = "mend"
    #: They stay, and are shown.
    SHOW = "show"


_POLICY = text("SELECT drift_policy FROM vps_servers WHERE tenant_id = :tenant AND id = :id FOR UPDATE")
_SET = text("UPDATE vps_servers SET drift_policy = :policy WHERE tenant_id = :tenant AND id = :id")


async def set_drift_policy(session: AsyncSession, tenant_id: uuid.UUID, vps_id: uuid.UUID, policy: DriftPolicy) -> None:
    """Set the policy and have the server told; nothing happens when it is so already. Raises `NotFound`."""
    key = {"tenant": tenant_id, "id": vps_id}
    present = await session.scalar(_POLICY, key)
    if present is None:
        raise NotFound("There is no such server.")
    if present != policy:
        await session.execute(_SET, {**key, "policy": policy.value})
        await raise_desired_version(session, vps_id)
