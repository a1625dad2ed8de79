"""Ask for records that a domain may have, or for them no more; its zone follows in the background."""

import uuid
from collections.abc import Mapping

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.extras import Extras, extra_records
from control_plane.dns.mta_sts import MtaSts, policy_of
from control_plane.errors import Conflict, InvalidInput
from control_plane.inboxes.addresses import MAX_DOMAIN
from control_plane.inboxes.load import load_domain
from control_plane.pipelines.runs import start_run
from control_plane.provisioning.repairs import REPAIR_KIND
from control_plane.tenancy.scope import TenantScope
from db.models import Domain, Inbox

_HOSTS = text("SELECT policy_hosts(:domain)")
_UNVERIFIED = text(
    "SELECT NOT EXISTS (SELECT FROM dns_records WHERE inbox_id = policy_inbox(:domain) AND record_name = 'mta-sts'"
    "  AND record_type = 'A') OR EXISTS (SELECT FROM dns_records WHERE inbox_id = policy_inbox(:domain)"
    "  AND record_name IN ('mta-sts', '_mta-sts') AND verification_status <> 'verified')"
)


async def change_extras(
    session: AsyncSession, scope: TenantScope, domain_id: uuid.UUID, changes: Mapping[str, str | bool | None]
) -> Domain:
    """Set the given columns, and have the zone brought up to date when one of them changes. Raises `NotFound`.

    A run that goes on already may be past the look at them, so one more is begun; both hold the domain's lock in turn.
    Raises `Conflict` when an MTA-STS policy is to be enforced that was not seen at work, and `InvalidInput` when a
    record's name would be too long.
    """
    domain = await load_domain(session, scope, domain_id, lock=True)
    if all(getattr(domain, name) == value for name, value in changes.items()):
        return domain
    if changes.get("mta_sts", domain.mta_sts) != domain.mta_sts:
        await _change_policy(session, domain, str(changes["mta_sts"]))
    for name, value in changes.items():
        setattr(domain, name, value)
    _require_room(domain)
    await session.flush()
    inbox_id = await session.scalar(
        select(Inbox.id)
        .where(Inbox.tenant_id == scope.tenant_id, Inbox.domain_id == domain_id, Inbox.status != "deleting")
        .order_by(Inbox.id)
        .limit(1)
    )
    if inbox_id is not None:
        await start_run(session, scope.tenant_id, REPAIR_KIND, inbox_id)
    return domain


def _require_room(domain: Domain) -> None:
    """Raise `InvalidInput` when a name of the records that are asked for would be longer than names can be."""
    policy = policy_of(domain.mta_sts, [domain.name])
    address = domain.name if domain.client_settings else None
    extras = Extras(domain.tls_reports_to, domain.client_records, policy, domain.name, address)
    for record in extra_records(domain.name, domain.name, extras):
        if len(record.fqdn) > MAX_DOMAIN:
            raise InvalidInput(f"{record.fqdn} would be longer than the {MAX_DOMAIN} characters that a name may have.")


async def seen_policy(session: AsyncSession, domain: Domain) -> bool:
    """Say whether the domain's MTA-STS policy, as it is now, was seen as other mail servers see it."""
    if domain.mta_sts == MtaSts.NONE:
        return False
    policy = policy_of(domain.mta_sts, await session.scalar(_HOSTS, {"domain": domain.id}) or ())
    return policy is not None and domain.mta_sts_seen == policy.id


async def _change_policy(session: AsyncSession, domain: Domain, wanted: str) -> None:
    """Forget what was seen of the policy before; raise `Conflict` when the next may not be enforced yet.

    Others that have fetched a policy deliver by it for a week, so a mistake in it would cost a week's mail.
    """
    if wanted == MtaSts.ENFORCE:
        if domain.mta_sts != MtaSts.TESTING or not await seen_policy(session, domain):
            why = f" ({domain.mta_sts_detail})" if domain.mta_sts_detail else ""
            raise Conflict(
                "A policy is enforced once it was seen at work: set mta_sts to testing, and wait until mta_sts_seen is"
                f" true{why}."
            )
        if await session.scalar(_UNVERIFIED, {"domain": domain.id}):
            raise Conflict("The records _mta-sts and mta-sts are not verified: GET dns-records of an inbox says why.")
    domain.mta_sts_seen = domain.mta_sts_looked_at = domain.mta_sts_detail = None
