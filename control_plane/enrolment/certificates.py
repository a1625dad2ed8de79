"""The record of agents' certificates: which were issued to whom, and which are revoked."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.authority import IssuedCertificate
from control_plane.enrolment.identity import AgentIdentity

_INSERT = text(
    "INSERT INTO agent_certificates (serial, tenant_id, vps_id, not_after) VALUES (:serial, :tenant, :vps, :not_after)"
)
_REVOKE = text("UPDATE agent_certificates SET revoked_at = now() WHERE vps_id = :vps AND revoked_at IS NULL")


async def record_certificate(session: AsyncSession, identity: AgentIdentity, issued: IssuedCertificate) -> None:
    """Record a certificate; until this is committed it admits nobody."""
    row = {
        "serial": issued.serial,
        "tenant": identity.tenant_id,
        "vps": identity.vps_id,
        "not_after": issued.not_after,
    }
    await session.execute(_INSERT, row)


async def revoke_certificates(session: AsyncSession, vps_id: uuid.UUID) -> None:
    """Revoke all of a server's certificates; its agent is refused from the next connection on."""
    await session.execute(_REVOKE, {"vps": vps_id})
