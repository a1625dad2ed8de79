"""The MTA-STS policies that a server shows, as part of what it should be (control_plane/dns/mta_sts.py).

A domain's policy is shown by the server of its first inbox; migration 0034 raises the version when it changes.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.mta_sts import policy_of
from protos.agent.v1.configuration_pb2 import CertificateAuthority, MailDomain

#: Beside a server's own; certificates have up to 100 names (Let's Encrypt).
MOST_CERTIFIED_NAMES = 99

_SHOWN = text(
    "SELECT d.name, d.mta_sts, policy_hosts(d.id) AS hosts, EXISTS (SELECT FROM dns_records r WHERE r.inbox_id = i.id"
    "  AND r.domain = d.name AND r.record_type = 'A' AND r.record_name = 'mta-sts'"
    "  AND r.verification_status = 'verified') AS leads_here"
    " FROM domains d JOIN inboxes i ON i.id = policy_inbox(d.id)"
    " WHERE d.mta_sts <> 'none' AND i.vps_id = :vps"
    " AND EXISTS (SELECT FROM inboxes o WHERE o.domain_id = d.id AND o.vps_id = :vps) ORDER BY d.name"
)


async def add_policies(
    session: AsyncSession, vps_id: uuid.UUID, domains: Sequence[MailDomain], authority: CertificateAuthority | None
) -> None:
    """Give the server's domains their policies.

    The certificate is asked for with a name only while the name leads to the server. An authority that looks for
    records is not asked for tenants' names, for a server speaks for its own alone (acme_challenges.py).
    """
    shown = {row.name: row for row in await session.execute(_SHOWN, {"vps": vps_id})}
    left = 0 if authority is None or authority.by_dns else MOST_CERTIFIED_NAMES
    for domain in domains:
        row = shown.get(domain.name)
        policy = policy_of(row.mta_sts, row.hosts) if row else None
        if row is None or policy is None:
            continue
        domain.mta_sts_policy = policy.text
        domain.mta_sts_certified = row.leads_here and left > 0
        left -= domain.mta_sts_certified
