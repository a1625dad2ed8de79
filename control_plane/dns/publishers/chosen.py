"""Which DNS host a domain is at, as its tenant says; the installation's own unless something else is chosen.

What is secret is sealed for the row, and nobody reads it again but the worker that publishes.
"""

import datetime as dt
import enum
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import open_sealed, tenant_keys
from control_plane.sealing import Sealer

_PLACE = "dns_publishers.credentials_sealed:{}"
# No more is read of what was there than the API's role may read: nothing that is sealed.
_CHOOSE = text(
    "INSERT INTO dns_publishers (domain_id, tenant_id, kind, options, credentials_sealed)"
    " VALUES (:domain, :tenant, :kind, CAST(:options AS jsonb), :sealed)"
    " ON CONFLICT (domain_id) DO UPDATE SET kind = :kind, options = CAST(:options AS jsonb),"
    " credentials_sealed = :sealed, updated_at = now()"
)
_SHOW = text("SELECT kind, options, updated_at FROM dns_publishers WHERE tenant_id = :tenant AND domain_id = :domain")
_LOAD = text("SELECT kind, options, credentials_sealed FROM dns_publishers WHERE domain_id = :domain")


class Kind(enum.StrEnum):
    """The kinds of DNS host."""

    #: The installation's own, as its settings say.
    INSTALLATION = "installation"
    #: The zone's owner writes what is shown.
    MANUAL = "manual"
    POWERDNS = "powerdns"
    RFC2136 = "rfc2136"
    HETZNER = "hetzner"
    CLOUDFLARE = "cloudflare"
    #: One that the operator has listed (`PENGUIN_DNS_OCTODNS_FILE`).
    OCTODNS = "octodns"


@dataclass(frozen=True, slots=True)
class Choice:
    """A DNS host: what anybody of the tenant may see, and what nobody may."""

    kind: Kind = Kind.INSTALLATION
    options: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """A choice without its credentials; `updated_at` is None for a domain that never chose."""

    kind: Kind
    options: Mapping[str, str]
    updated_at: dt.datetime | None


async def choose(
    session: AsyncSession, tenant_id: uuid.UUID, domain_id: uuid.UUID, choice: Choice, sealer: Sealer
) -> None:
    """Write a choice down in place of the one before, whose credentials are forgotten."""
    sealed = None
    if choice.credentials:
        keys = await tenant_keys(session, sealer, tenant_id)
        sealed = keys.seal(json.dumps(dict(choice.credentials)).encode(), _PLACE.format(domain_id))
    row = {"kind": choice.kind.value, "options": json.dumps(dict(choice.options)), "sealed": sealed}
    await session.execute(_CHOOSE, {"domain": domain_id, "tenant": tenant_id, **row})


async def show_choice(session: AsyncSession, tenant_id: uuid.UUID, domain_id: uuid.UUID) -> Shown:
    """Return what a domain has chosen."""
    row = (await session.execute(_SHOW, {"tenant": tenant_id, "domain": domain_id})).one_or_none()
    return Shown(Kind(row.kind), row.options, row.updated_at) if row else Shown(Kind.INSTALLATION, {}, None)


async def load_choice(session: AsyncSession, domain_id: uuid.UUID, sealer: Sealer) -> Choice:
    """Return what a domain has chosen, opened; for the system role. Raises `SealBroken`."""
    row = (await session.execute(_LOAD, {"domain": domain_id})).one_or_none()
    if row is None:
        return Choice()
    sealed = row.credentials_sealed
    if sealed is None:
        return Choice(Kind(row.kind), row.options, {})
    credentials = json.loads(await open_sealed(session, sealer, sealed, _PLACE.format(domain_id)))
    return Choice(Kind(row.kind), row.options, credentials)
