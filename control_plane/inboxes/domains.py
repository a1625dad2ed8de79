"""A tenant's sending domains; each has a DKIM key from the beginning."""

import asyncio
import base64
import uuid
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from publicsuffixlist import PublicSuffixList
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import tenant_keys
from control_plane.errors import DomainInUse, PublicSuffix
from control_plane.sealing import Sealer, Seals
from control_plane.tenancy.scope import TenantScope

#: Selector of a domain's first key; keys rotate by moving to the next number.
FIRST_SELECTOR = "pm1"

# Mailbox providers want 1024 bits at least; 2048 fits a TXT record in two strings (RFC 8301, section 3.2).
_KEY_BITS = 2048

# A name that is taken is not ours to wait for or to look at: nothing comes back, whoever has it.
_CLAIM = text(
    "INSERT INTO domains (tenant_id, name, workspace_id) VALUES (:tenant_id, :name, :workspace_id)"
    " ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING RETURNING id"
)
# Whoever deletes it waits until it has got its inbox, or has deleted it before.
_FIND = text(
    "SELECT id FROM domains WHERE tenant_id = :tenant_id AND name = :name AND deleted_at IS NULL FOR KEY SHARE"
)
# Two inboxes of one domain that come at once must not choose different servers.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('domain:' || CAST(:name AS text), 0))")
_SERVER = text(
    "SELECT i.vps_id FROM inboxes i JOIN domains d ON d.tenant_id = i.tenant_id AND d.id = i.domain_id"
    " WHERE d.tenant_id = :tenant_id AND d.name = :name AND i.vps_id IS NOT NULL LIMIT 1"
)
_INSERT_KEY = text(
    "INSERT INTO dkim_keys (id, tenant_id, domain_id, selector, private_key_sealed, public_key)"
    " VALUES (:id, :tenant_id, :domain_id, :selector, :private_key_sealed, :public_key)"
)


def is_public_suffix(name: str) -> bool:
    """Return whether names right under this one can be registered by anybody (publicsuffix.org), as under co.uk."""
    return bool(_suffixes().is_public(name))


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    """Read the list once, and not before it is needed: it takes 40 ms."""
    return PublicSuffixList()


async def claim_domain(
    session: AsyncSession,
    scope: TenantScope,
    name: str,
    sealer: Sealer,
    workspace_id: uuid.UUID | None = None,
    *,
    field: str = "/email_address",
) -> uuid.UUID:
    """Return the id of the tenant's domain, making it, in the workspace, and its DKIM key when it is new.

    Raises `DomainInUse` when another tenant has it, or a workspace that the caller is not there for, or a domain that
    it lies under, without saying who, and `PublicSuffix`, and `InvalidInput` when it is not said for which workspace.
    """
    if is_public_suffix(name):
        raise PublicSuffix(
            f"{name} is a public suffix: names under it belong to many. Use the domain that was registered under it.",
            field,
        )
    workspace_id = scope.workspace_of(workspace_id)
    key = {"tenant_id": scope.tenant_id, "name": name, "workspace_id": workspace_id}
    own: uuid.UUID | None = await session.scalar(_FIND, key)
    if own is not None:
        return own
    await _refuse_under_anothers(session, scope, name, workspace_id)
    domain_id: uuid.UUID | None = await session.scalar(_CLAIM, key)
    if domain_id is not None:
        await _create_dkim_key(session, scope, domain_id, sealer)
        return domain_id
    domain_id = await session.scalar(_FIND, key)
    if domain_id is None:
        raise DomainInUse(f"The domain {name} is in use and cannot be added.")
    return domain_id


def refuse_platforms_own(name: str, platform_domain: str) -> None:
    """Raise `DomainInUse` for a name where the platform names its servers."""
    if f".{name}".endswith(f".{platform_domain}"):
        raise DomainInUse(f"The domain {name} is in use and cannot be added.")


async def _refuse_under_anothers(
    session: AsyncSession, scope: TenantScope, name: str, workspace_id: uuid.UUID | None
) -> None:
    """Raise `DomainInUse` below a domain of another tenant: its zone at our DNS host would be cut in two.

    A tenant sees no rows of others, but their names cannot be inserted: each is tried, and taken back.
    """
    for parent in domains_above(name):
        key = {"tenant_id": scope.tenant_id, "name": parent, "workspace_id": workspace_id}
        if await session.scalar(_FIND, key) is not None:
            continue
        attempt = await session.begin_nested()
        is_free = await session.scalar(_CLAIM, key) is not None
        await attempt.rollback()
        if not is_free:
            raise DomainInUse(
                f"{name} lies under {parent}, which is in use: names under it can be added only where that is."
            )


def domains_above(name: str) -> list[str]:
    """Return the names that this one lies under, nearest first, as far as one could be somebody's domain."""
    labels = name.split(".")
    above = [".".join(labels[start:]) for start in range(1, len(labels))]
    return [parent for parent in above if not is_public_suffix(parent)]


async def server_of_domain(session: AsyncSession, scope: TenantScope, name: str) -> uuid.UUID | None:
    """Return the server that the domain's mail goes to, if it has an inbox already.

    All inboxes of a domain share one server: its MX names one host, and that host must know every address. Until the
    transaction ends, whoever else places an inbox of the domain waits.
    """
    await session.execute(_ONE_AT_A_TIME, {"name": name})
    vps_id: uuid.UUID | None = await session.scalar(_SERVER, {"tenant_id": scope.tenant_id, "name": name})
    return vps_id


@dataclass(frozen=True, slots=True)
class NewDkimKey:
    """A key that is in no row yet; its private half is sealed for the row with this id."""

    id: uuid.UUID
    selector: str
    private_key_sealed: bytes
    public_key: str


def generate_dkim_key(selector: str, sealer: Seals) -> NewDkimKey:
    """Return a new key; it takes some 100 ms of CPU."""
    key_id = uuid.uuid4()
    private_der, public_der = _generate()
    sealed = sealer.seal(private_der, f"dkim_keys.private_key:{key_id}")
    return NewDkimKey(key_id, selector, sealed, base64.b64encode(public_der).decode())


async def _create_dkim_key(session: AsyncSession, scope: TenantScope, domain_id: uuid.UUID, sealer: Sealer) -> None:
    keys = await tenant_keys(session, sealer, scope.tenant_id)
    key = await asyncio.to_thread(generate_dkim_key, FIRST_SELECTOR, keys)
    row = {
        "id": key.id,
        "tenant_id": scope.tenant_id,
        "domain_id": domain_id,
        "selector": key.selector,
        "private_key_sealed": key.private_key_sealed,
        "public_key": key.public_key,
    }
    await session.execute(_INSERT_KEY, row)


def _generate() -> tuple[bytes, bytes]:
    """Return a new key as PKCS#8 and its public half as SubjectPublicKeyInfo, both DER."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    return (
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )
