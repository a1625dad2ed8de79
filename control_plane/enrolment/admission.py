"""Whether an agent with a good certificate may still talk to us: asked at each connection and renewal."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.identity import AgentIdentity
from control_plane.errors import Forbidden, Unauthenticated

_STANDING = text(
    "SELECT c.revoked_at IS NOT NULL AS revoked, v.banned_at IS NOT NULL AS banned, v.status"
    " FROM agent_certificates c JOIN vps_servers v ON v.tenant_id = c.tenant_id AND v.id = c.vps_id"
    " WHERE c.serial = :serial AND c.tenant_id = :tenant AND c.vps_id = :vps"
)


async def admit(session: AsyncSession, identity: AgentIdentity, serial: str) -> None:
    """Return when the certificate was issued to this server and both are in good standing.

    Raises `Unauthenticated` for a certificate we did not issue, after which the agent must enrol again, and
    `Forbidden` for one that is revoked or whose server is banned or deleted, after which it stops for good.
    """
    key = {"serial": serial, "tenant": identity.tenant_id, "vps": identity.vps_id}
    standing = (await session.execute(_STANDING, key)).one_or_none()
    if standing is None:
        raise Unauthenticated("the certificate was not issued to this server")
    if standing.revoked or standing.banned or standing.status == "deleted":
        raise Forbidden("the server may not connect any more")
