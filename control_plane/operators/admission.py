"""Who may not come in any more, and who must come in anew: bans, and servers whose identity was used twice.

A trigger notifies every hub (db/migrations, 0030), so the link is cut at once at whichever holds it.
"""

import uuid

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.certificates import revoke_certificates
from control_plane.enrolment.tokens import create_join_token, forget_join_tokens
from control_plane.errors import NotFound
from control_plane.operators.acts import Act, Actor, record

_BAN = text(
    "UPDATE vps_servers SET banned_at = coalesce(banned_at, now()) WHERE id = :vps AND status <> 'deleted' RETURNING id"
)
_UNBAN = text("UPDATE vps_servers SET banned_at = NULL WHERE id = :vps AND status <> 'deleted' RETURNING id")
_AT_ONE_AGAIN = text(
    "UPDATE vps_servers SET cloned_at = NULL WHERE id = :vps AND status <> 'deleted' RETURNING tenant_id"
)


async def ban(session: AsyncSession, actor: Actor, vps_id: uuid.UUID, reason: str | None) -> None:
    """Let a server hold no link and get no sends; its Postfix goes on. Raises `NotFound`."""
    await _one(session, _BAN, vps_id)
    await record(session, actor, Act.BAN, {"vps_id": vps_id}, reason)


async def unban(session: AsyncSession, actor: Actor, vps_id: uuid.UUID, reason: str | None) -> None:
    """Let a server in again; its agent stopped for good and is to be started. Raises `NotFound`."""
    await _one(session, _UNBAN, vps_id)
    await record(session, actor, Act.UNBAN, {"vps_id": vps_id}, reason)


async def re_enrol(session: AsyncSession, actor: Actor, vps_id: uuid.UUID, reason: str | None) -> str:
    """Take a server's certificates from it, and return the token by which it gets one for a new key, once.

    Raises `NotFound`.
    """
    tenant_id = await _one(session, _AT_ONE_AGAIN, vps_id)
    await revoke_certificates(session, vps_id)
    await forget_join_tokens(session, vps_id)
    token = await create_join_token(session, tenant_id, vps_id)
    await record(session, actor, Act.RE_ENROL, {"vps_id": vps_id}, reason)
    return token


async def _one(session: AsyncSession, statement: TextClause, vps_id: uuid.UUID) -> uuid.UUID:
    found: uuid.UUID | None = await session.scalar(statement, {"vps": vps_id})
    if found is None:
        raise NotFound(f"there is no server {vps_id}")
    return found
