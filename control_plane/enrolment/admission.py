"""Whether an agent with a good certificate may still talk to us: asked at each connection, renewal and report."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.identity import AgentIdentity
from control_plane.errors import Forbidden, PenguinError, Unauthenticated

_STANDINGS = text(
    "SELECT told.place, c.revoked_at IS NOT NULL OR v.banned_at IS NOT NULL OR v.status = 'deleted' AS refused"
    " FROM unnest(CAST(:serials AS text[]), CAST(:tenants AS uuid[]), CAST(:servers AS uuid[])) WITH ORDINALITY"
    "  AS told (serial, tenant, vps, place)"
    " JOIN agent_certificates c ON c.serial = told.serial AND c.tenant_id = told.tenant AND c.vps_id = told.vps"
    " JOIN vps_servers v ON v.tenant_id = c.tenant_id AND v.id = c.vps_id"
)


async def admit(session: AsyncSession, identity: AgentIdentity, serial: str) -> None:
    """Return when the certificate was issued to this server and both are in good standing.

    Raises `Unauthenticated` for a certificate we did not issue, after which the agent must enrol again, and
    `Forbidden` for one that is revoked or whose server is banned or deleted, after which it stops for good.
    """
    [refusal] = await refusals(session, [(identity, serial)])
    if refusal:
        raise refusal


async def refusals(
    session: AsyncSession, callers: Sequence[tuple[AgentIdentity, str]]
) -> Sequence[PenguinError | None]:
    """Return for each of many callers what `admit` would raise, or None."""
    told = {
        "serials": [serial for _, serial in callers],
        "tenants": [identity.tenant_id for identity, _ in callers],
        "servers": [identity.vps_id for identity, _ in callers],
    }
    refused = {row.place: row.refused for row in await session.execute(_STANDINGS, told)}
    return [_refusal(refused.get(place)) for place in range(1, len(callers) + 1)]


def _refusal(refused: bool | None) -> PenguinError | None:
    if refused is None:
        return Unauthenticated("the certificate was not issued to this server")
    return Forbidden("the server may not connect any more") if refused else None
