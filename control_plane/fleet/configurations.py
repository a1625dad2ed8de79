"""Configurations of the whole fleet: what an operator has set (mailstack/tunables.py), each a row that stays as it is.

A server has the one that it was given by a plan (control_plane/upgrades), else the one that was proven last.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_IN_FORCE = text(
    "SELECT number, settings FROM fleet_configurations WHERE proven_at IS NOT NULL ORDER BY proven_at DESC LIMIT 1"
)
_OF_SERVER = text(
    "SELECT c.settings FROM vps_servers v JOIN fleet_configurations c ON c.number = coalesce(v.trial_configuration,"
    "  (SELECT number FROM fleet_configurations WHERE proven_at IS NOT NULL ORDER BY proven_at DESC LIMIT 1))"
    " WHERE v.id = :vps"
)


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration that was proven last; without one nothing is set, and it has no number."""

    number: int | None
    settings: Mapping[str, str]


async def in_force(session: AsyncSession) -> InForce:
    """Return what holds for servers that try nothing else; system role."""
    row = (await session.execute(_IN_FORCE)).one_or_none()
    return InForce(row.number, row.settings) if row else InForce(None, {})


async def settings_of(session: AsyncSession, vps_id: uuid.UUID) -> Mapping[str, str]:
    """Return what is set on a server, in order of names; system role."""
    settings: Mapping[str, str] | None = await session.scalar(_OF_SERVER, {"vps": vps_id})
    return dict(sorted((settings or {}).items()))
