"""What a server shows over HTTPS for its domains, as part of what it should be: policies and mail programs' settings.

A domain's are shown by the server of its first inbox; migrations 0034 and 0052 raise the version when they change
(control_plane/dns/mta_sts.py, client_settings.py).
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.client_settings import AUTOCONFIG, LABELS, has_settings
from control_plane.dns.mta_sts import HOST_LABEL, policy_of
from protos.agent.v1.configuration_pb2 import CertificateAuthority, MailDomain

#: Beside a server's own; certificates have up to 100 names (Let's Encrypt).
MOST_CERTIFIED_NAMES = 99

_SHOWN = text(
    "SELECT d.id, d.name, d.mta_sts, d.client_settings, policy_hosts(d.id) AS hosts,"
    " ARRAY(SELECT r.record_name::text FROM dns_records r WHERE r.inbox_id = i.id AND r.domain = d.name"
    "  AND r.record_type = 'A' AND r.verification_status = 'verified') AS leading_here,"
    " NOT EXISTS (SELECT FROM dns_publishers p WHERE p.domain_id = d.id AND p.kind = 'manual') AS written"
    " FROM domains d JOIN inboxes i ON i.id = policy_inbox(d.id)"
    " WHERE (d.mta_sts <> 'none' OR d.client_settings) AND i.vps_id = :vps"
    " AND EXISTS (SELECT FROM inboxes o WHERE o.domain_id = d.id AND o.vps_id = :vps) ORDER BY d.name"
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown for one domain, and for which names below it the server's certificate is to be as well."""

    id: uuid.UUID
    name: str
    #: Its text, if there is one.
    policy: str | None
    client_settings: bool
    certified: frozenset[str]


async def shown_by(session: AsyncSession, vps_id: uuid.UUID, *, by_dns: bool) -> list[Shown]:
    """Return what the server shows, by domain.

    The certificate is asked for with a name only while the name leads to the server, and from an authority that looks
    for records (`by_dns`) only in a zone that is not written by hand.
    """
    rows = (await session.execute(_SHOWN, {"vps": vps_id})).all()
    certified = _certified(rows, by_dns=by_dns)
    return [
        Shown(row.id, row.name, _policy(row), _settings(row), frozenset(n for of, n in certified if of == row.id))
        for row in rows
    ]


def _certified(rows: Sequence[Row[Any]], *, by_dns: bool) -> set[tuple[uuid.UUID, str]]:
    """Return the names below domains; where there are too many, those of policies come first."""
    wanted = [(row, {HOST_LABEL}) for row in rows if _policy(row)]
    wanted += [(row, set(LABELS)) for row in rows if _settings(row)]
    found: set[tuple[uuid.UUID, str]] = set()
    for row, names in wanted:
        provable = row.written or not by_dns
        if provable and names <= set(row.leading_here) and len(found) + len(names) <= MOST_CERTIFIED_NAMES:
            found |= {(row.id, name) for name in names}
    return found


def _policy(row: Row[Any]) -> str | None:
    policy = policy_of(row.mta_sts, row.hosts)
    return policy.text if policy else None


def _settings(row: Row[Any]) -> bool:
    return has_settings(asked_for=row.client_settings, hosts=row.hosts)


async def add_shown(
    session: AsyncSession, vps_id: uuid.UUID, domains: Sequence[MailDomain], authority: CertificateAuthority | None
) -> None:
    """Give the server's domains what is shown for them."""
    by_dns = authority is not None and authority.by_dns
    shown = {each.name: each for each in await shown_by(session, vps_id, by_dns=by_dns)}
    for domain in domains:
        each = shown.get(domain.name)
        if each is None:
            continue
        domain.mta_sts_policy = each.policy or ""
        domain.mta_sts_certified = authority is not None and HOST_LABEL in each.certified
        domain.client_settings = each.client_settings
        domain.client_settings_certified = authority is not None and AUTOCONFIG in each.certified
