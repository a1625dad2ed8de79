"""Secrets of API keys that may sign requests: sealed, since a signature cannot be checked against a hash.

A key is made so, or is not. The access key id is the key without its secret, and the secret access key is its secret.
"""

import uuid
from dataclasses import dataclass, field

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import open_sealed, tenant_keys
from control_plane.errors import Unauthenticated
from control_plane.identity.api_keys import NewApiKey
from control_plane.sealing import Sealer
from control_plane.tenancy.scope import TenantScope
from db.models import ApiKeyRow, SigningSecret


@dataclass(frozen=True, slots=True)
class SigningCredentials:
    """What an AWS client is configured with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


async def keep_signing_secret(
    session: AsyncSession, master: Sealer, scope: TenantScope, made: NewApiKey
) -> SigningCredentials:
    """Keep the secret of a key that was just made, sealed, and return what signs with it."""
    name, _, secret = made.key.rpartition("_")
    keys = await tenant_keys(session, master, scope.tenant_id)
    sealed = keys.seal(secret.encode(), _place(made.id))
    await session.execute(
        insert(SigningSecret).values(tenant_id=scope.tenant_id, api_key_id=made.id, secret_sealed=sealed)
    )
    return SigningCredentials(name, secret)


async def find_signing_secret(session: AsyncSession, master: Sealer, tenant_id: uuid.UUID, prefix: str) -> str:
    """Return the secret of a key that may sign; raise `Unauthenticated` when there is no such key."""
    query = (
        select(SigningSecret.api_key_id, SigningSecret.secret_sealed)
        .join(ApiKeyRow, ApiKeyRow.id == SigningSecret.api_key_id)
        .where(ApiKeyRow.tenant_id == tenant_id, SigningSecret.tenant_id == tenant_id, ApiKeyRow.prefix == prefix)
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise Unauthenticated("There is no access key of this id; API keys sign when they are made with signing.")
    return (await open_sealed(session, master, found.secret_sealed, _place(found.api_key_id))).decode()


def _place(key_id: uuid.UUID) -> str:
    return f"signing_secrets.secret_sealed:{key_id}"
