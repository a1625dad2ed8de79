"""Join tokens: how a server that knows nothing else proves which server it is, once.

A token is 32 random bytes, written base64url; the database holds its SHA-256 alone. Burning deletes the row before
anything is judged, so a token that was seen twice, or used for a request that failed, is worth nothing.
"""

import base64
import binascii
import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.identity import AgentIdentity
from control_plane.errors import Unauthenticated

#: How long a new server has to come up and enrol.
JOIN_TOKEN_TTL = timedelta(minutes=30)

_TOKEN_BYTES = 32

_INSERT = text(
    "INSERT INTO join_tokens (token_sha256, tenant_id, vps_id, expires_at)"
    " VALUES (:sha256, :tenant, :vps, now() + :ttl)"
)
_BURN = text("DELETE FROM join_tokens WHERE token_sha256 = :sha256 RETURNING tenant_id, vps_id, expires_at")
_FORGET = text("DELETE FROM join_tokens WHERE vps_id = :vps")


async def create_join_token(
    session: AsyncSession, tenant_id: uuid.UUID, vps_id: uuid.UUID, ttl: timedelta = JOIN_TOKEN_TTL
) -> str:
    """Return a new token for one server; it is shown here and nowhere else."""
    token = secrets.token_bytes(_TOKEN_BYTES)
    row = {"sha256": hashlib.sha256(token).digest(), "tenant": tenant_id, "vps": vps_id, "ttl": ttl}
    await session.execute(_INSERT, row)
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


async def burn_join_token(session: AsyncSession, token: str, now: datetime) -> AgentIdentity:
    """Delete the token, then judge it, and return whom it stands for.

    Raises `Unauthenticated` when it is malformed, unknown, used or expired. Commit before judging the rest of the
    request, so that a request that fails has still spent its token.
    """
    burned = (await session.execute(_BURN, {"sha256": _sha256_of(token)})).all()
    if len(burned) != 1:
        raise Unauthenticated("the join token is unknown or was used before")
    if burned[0].expires_at <= now:
        raise Unauthenticated("the join token has expired; provision the server again")
    return AgentIdentity(burned[0].tenant_id, burned[0].vps_id)


async def forget_join_tokens(session: AsyncSession, vps_id: uuid.UUID) -> None:
    """Delete a server's unused tokens, once it has enrolled or is going away."""
    await session.execute(_FORGET, {"vps": vps_id})


def _sha256_of(token: str) -> bytes:
    try:
        return hashlib.sha256(base64.b64decode(token + "=", altchars=b"-_", validate=True)).digest()
    except (binascii.Error, ValueError):
        raise Unauthenticated("the join token is malformed") from None
