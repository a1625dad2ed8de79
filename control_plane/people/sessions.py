"""Sessions: begun by a log-in, carried on by refresh tokens, ended by their person or by a token that comes twice.

A refresh token is good once; its answer brings the next. One that comes again was stolen, or its answer was lost: the
two cannot be told apart, so the whole session ends and the person logs in again.
"""

import datetime as dt
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound, Unauthenticated
from control_plane.identity.secret_keys import base32, sha256_of
from control_plane.people.origins import Origin
from control_plane.people.security_events import Happened, note
from db.by_time import Place, newest_first
from db.models import Membership, RefreshToken, Session

#: A session lasts so long at most, and so long without being used.
LONGEST = dt.timedelta(days=90)
IDLE = dt.timedelta(days=14)

_MARK = "pmr_"
_SECRET_BYTES = 32

_USE = text("""
UPDATE refresh_tokens SET used_at = :now
WHERE token_sha256 = :sha256 AND used_at IS NULL AND expires_at > :now
RETURNING session_id
""")
_USED_BEFORE = text("SELECT session_id FROM refresh_tokens WHERE token_sha256 = :sha256 AND used_at IS NOT NULL")
_MEMBER = text("""
SELECT EXISTS (SELECT FROM memberships WHERE tenant_id = :tenant_id AND person_id = :person_id AND ended_at IS NULL)
""")


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session and the one refresh token that carries it on."""

    id: uuid.UUID
    person_id: uuid.UUID
    working_in: uuid.UUID | None
    refresh_token: str = field(repr=False)


async def begin(
    session: AsyncSession,
    person_id: uuid.UUID,
    working_in: uuid.UUID | None,
    origin: Origin,
    now: dt.datetime,
    *,
    second_factor: bool,
) -> OpenSession:
    """Insert a session with its first token."""
    row = Session(
        id=uuid.uuid4(),
        person_id=person_id,
        working_in=working_in,
        created_at=now,
        last_used_at=now,
        expires_at=now + LONGEST,
        address=origin.address,
        user_agent=origin.shown_agent,
        second_factor=second_factor,
    )
    session.add(row)
    await session.flush()
    await note(session, person_id, Happened.LOGGED_IN, origin, now, session_id=row.id)
    return OpenSession(row.id, person_id, working_in, await _next_token(session, row, now))


async def carry_on(
    session: AsyncSession, token: str, origin: Origin, now: dt.datetime
) -> OpenSession | uuid.UUID | None:
    """Use a refresh token: return the session with its next one.

    Returns the session's id when the token was used before, which has ended the session; the caller commits that.
    None for a token that is unknown or expired, or whose session has ended.
    """
    values = {"sha256": sha256_of(token), "now": now}
    session_id = await session.scalar(_USE, values)
    if session_id is None:
        reused: uuid.UUID | None = await session.scalar(_USED_BEFORE, values)
        if reused is not None:
            await _end_of_reuse(session, reused, origin, now)
        return reused
    row = await session.get_one(Session, session_id, with_for_update=True)
    if row.ended_at is not None or row.expires_at <= now:
        return None
    row.last_used_at = now
    if row.working_in is not None and not await is_member(session, row.person_id, row.working_in):
        row.working_in = await first_tenant(session, row.person_id)
    return OpenSession(row.id, row.person_id, row.working_in, await _next_token(session, row, now))


async def switch(session: AsyncSession, session_id: uuid.UUID, tenant_id: uuid.UUID) -> None:
    """Have a session work in another tenant; raise `NotFound` when its person is not a member there."""
    row = await session.get_one(Session, session_id, with_for_update=True)
    if not await is_member(session, row.person_id, tenant_id):
        raise NotFound("There is no such tenant.")
    row.working_in = tenant_id


async def log_out(
    session: AsyncSession, person_id: uuid.UUID, session_id: uuid.UUID, origin: Origin, now: dt.datetime
) -> None:
    """End the session that somebody is in."""
    await _end(session, [session_id], "logged-out", now)
    await note(session, person_id, Happened.LOGGED_OUT, origin, now, session_id=session_id)


async def end_others(
    session: AsyncSession, person_id: uuid.UUID, kept: uuid.UUID | None, because: str, now: dt.datetime
) -> Sequence[uuid.UUID]:
    """End all sessions of a person but one; return their ids."""
    query = select(Session.id).where(Session.person_id == person_id, Session.ended_at.is_(None))
    ids = [each for each in await session.scalars(query) if each != kept]
    await _end(session, ids, because, now)
    return ids


async def list_live(
    session: AsyncSession, person_id: uuid.UUID, now: dt.datetime, after: Place | None, limit: int
) -> Sequence[Session]:
    """Return a page of a person's sessions that go on, newest first."""
    live = select(Session).where(
        Session.person_id == person_id, Session.ended_at.is_(None), Session.last_used_at > now - IDLE
    )
    return (await session.scalars(newest_first(live, Session.created_at, Session.id, after).limit(limit))).all()


async def revoke(
    session: AsyncSession, person_id: uuid.UUID, session_id: uuid.UUID, origin: Origin, now: dt.datetime
) -> None:
    """End one session of a person; raise `NotFound` when they have no such one."""
    query = select(Session.id).where(Session.person_id == person_id, Session.id == session_id)
    if await session.scalar(query) is None:
        raise NotFound("There is no such session.")
    await _end(session, [session_id], "revoked", now)
    await note(session, person_id, Happened.SESSION_REVOKED, origin, now, session_id=session_id)


async def is_member(session: AsyncSession, person_id: uuid.UUID, tenant_id: uuid.UUID) -> bool:
    """Return whether somebody is in a tenant now."""
    return bool(await session.scalar(_MEMBER, {"tenant_id": tenant_id, "person_id": person_id}))


async def first_tenant(session: AsyncSession, person_id: uuid.UUID) -> uuid.UUID | None:
    """Return the tenant that somebody has been in longest."""
    query = select(Membership.tenant_id).where(Membership.person_id == person_id, Membership.ended_at.is_(None))
    return (await session.scalars(query.order_by(Membership.created_at, Membership.id).limit(1))).first()


def not_carried_on() -> Unauthenticated:
    """Return what is said of each refresh token that is not taken, whatever the reason."""
    return Unauthenticated("The refresh token is not in force; log in again.")


async def _end(session: AsyncSession, session_ids: Sequence[uuid.UUID], because: str, now: dt.datetime) -> None:
    """End sessions; those that have ended stay as they are."""
    await session.execute(
        update(Session)
        .where(Session.id.in_(session_ids), Session.ended_at.is_(None))
        .values(ended_at=now, ended_because=because)
    )


async def _end_of_reuse(session: AsyncSession, session_id: uuid.UUID, origin: Origin, now: dt.datetime) -> None:
    """End a session whose refresh token came twice; it is told once, however often it comes."""
    row = await session.get_one(Session, session_id, with_for_update=True)
    if row.ended_at is None:
        await _end(session, [session_id], "refresh-token-reused", now)
        await note(session, row.person_id, Happened.REFRESH_TOKEN_REUSED, origin, now, session_id=session_id)


async def _next_token(session: AsyncSession, row: Session, now: dt.datetime) -> str:
    token = _MARK + base32(secrets.token_bytes(_SECRET_BYTES))
    expires_at = min(now + IDLE, row.expires_at)
    session.add(RefreshToken(token_sha256=sha256_of(token), session_id=row.id, expires_at=expires_at))
    await session.flush()
    return token
