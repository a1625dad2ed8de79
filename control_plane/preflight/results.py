"""What was found about servers before use, the newest of each check; and the addresses that were refused."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.preflight.findings import Check, Finding, Verdict

#: Listings end and networks change hands; until then no server of anybody's is given the address.
REFUSAL_LIFE = timedelta(days=30)

# `since` stays where nothing has changed.
_KEEP = text(
    "INSERT INTO preflight_results AS kept (tenant_id, vps_id, kind, about, address, verdict, detail)"
    " VALUES (:tenant, :vps, :kind, :about, CAST(:address AS inet), :verdict, :detail)"
    " ON CONFLICT (vps_id, kind, about) DO UPDATE SET detail = excluded.detail, checked_at = now(),"
    " verdict = excluded.verdict, address = excluded.address, since = CASE"
    "  WHEN kept.verdict = excluded.verdict AND kept.address = excluded.address THEN kept.since ELSE now() END"
)
# now() is the transaction's, and so the same for all that it has just written.
_FORGET = text("DELETE FROM preflight_results WHERE tenant_id = :tenant AND vps_id = :vps AND checked_at < now()")
_FAILED_FOR = text(
    "SELECT now() - min(since) FROM preflight_results"
    " WHERE vps_id = :vps AND kind = :kind AND verdict = :verdict AND address = CAST(:address AS inet)"
)
_REFUSE = text(
    "INSERT INTO refused_addresses (provider, address, vps_id, reason)"
    " VALUES (:provider, CAST(:address AS inet), :vps, :reason)"
    " ON CONFLICT (provider, address, vps_id) DO UPDATE SET reason = excluded.reason, refused_at = now()"
)
_REFUSED = text(
    "SELECT DISTINCT host(address) FROM refused_addresses"
    " WHERE provider = :provider AND refused_at > now() - CAST(:life AS interval)"
)
_REFUSED_FOR = text("SELECT host(address) FROM refused_addresses WHERE vps_id = :vps ORDER BY refused_at")

_EXISTS = text("SELECT id FROM vps_servers WHERE tenant_id = :tenant AND id = :vps")
_REPORT = text(
    "SELECT kind, about, verdict, detail, since, checked_at, host(address) AS address FROM preflight_results"
    " WHERE tenant_id = :tenant AND vps_id = :vps"
)
#: The graver, the later.
_GRAVITY = (Verdict.PASSED, Verdict.UNKNOWN, Verdict.WARNED, Verdict.PENDING, Verdict.FAILED)


@dataclass(frozen=True, slots=True)
class KeptFinding:
    """The newest finding of one check; `since` is when its verdict was first this one."""

    kind: str
    about: str
    verdict: str
    detail: str
    since: datetime
    checked_at: datetime


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """All that was found about one server, at the address it had then; without findings there is no verdict."""

    vps_id: uuid.UUID
    verdict: str | None
    address: str | None
    checks: Sequence[KeptFinding]


async def keep_findings(
    session: AsyncSession, tenant_id: uuid.UUID, vps_id: uuid.UUID, address: str, findings: Sequence[Finding]
) -> None:
    """Put the findings into the place of those from before."""
    key = {"tenant": tenant_id, "vps": vps_id}
    rows = [
        {
            **key,
            "kind": str(finding.check),
            "about": finding.about,
            "address": address,
            "verdict": str(finding.verdict),
            "detail": finding.detail[:1000],
        }
        for finding in findings
    ]
    await session.execute(_KEEP, rows)
    await session.execute(_FORGET, key)


async def failed_for(session: AsyncSession, vps_id: uuid.UUID, check: Check, address: str) -> timedelta:
    """Return for how long the check has failed for this address; nothing when it does not fail."""
    row = {"vps": vps_id, "kind": str(check), "verdict": str(Verdict.FAILED), "address": address}
    return await session.scalar(_FAILED_FOR, row) or timedelta()


async def refuse_address(session: AsyncSession, provider: str, address: str, vps_id: uuid.UUID, reason: str) -> None:
    """Remember that a server was not to be used with this address."""
    await session.execute(_REFUSE, {"provider": provider, "address": address, "vps": vps_id, "reason": reason})


async def refused_addresses(session: AsyncSession, provider: str) -> list[str]:
    """Return the provider's addresses that were refused in the last 30 days, for whichever server."""
    return list(await session.scalars(_REFUSED, {"provider": provider, "life": REFUSAL_LIFE}))


async def refused_for(session: AsyncSession, vps_id: uuid.UUID) -> list[str]:
    """Return the addresses that this server had and was not to be used with, oldest first."""
    return list(await session.scalars(_REFUSED_FOR, {"vps": vps_id}))


async def load_report(session: AsyncSession, tenant_id: uuid.UUID, vps_id: uuid.UUID) -> PreflightReport | None:
    """Return what was found about a tenant's server, worst first; None when there is no such server."""
    if await session.scalar(_EXISTS, {"tenant": tenant_id, "vps": vps_id}) is None:
        return None
    rows = (await session.execute(_REPORT, {"tenant": tenant_id, "vps": vps_id})).all()
    checks = [KeptFinding(row.kind, row.about, row.verdict, row.detail, row.since, row.checked_at) for row in rows]
    checks.sort(key=lambda check: (-_GRAVITY.index(Verdict(check.verdict)), check.kind, check.about))
    return PreflightReport(
        vps_id=vps_id,
        verdict=checks[0].verdict if checks else None,
        address=rows[0].address if rows else None,
        checks=checks,
    )
