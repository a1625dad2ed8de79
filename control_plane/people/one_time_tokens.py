"""Tokens that a person comes back with once: out of a letter, or out of the first step of a log-in."""

import datetime as dt
import enum
import uuid

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.identity.secret_keys import sha256_of
from control_plane.people.sign_up import new_token
from db.models import OneTimeToken


class Purpose(enum.StrEnum):
    """What a token is for."""

    RESET_PASSWORD = "reset-password"  # noqa: S105 - the name of a purpose
    SECOND_STEP = "second-step"


async def give(
    session: AsyncSession, person_id: uuid.UUID, purpose: Purpose, good_for: dt.timedelta, now: dt.datetime
) -> str:
    """Return a new token; those that the person had for the same are of no use from now on."""
    await session.execute(
        delete(OneTimeToken).where(OneTimeToken.person_id == person_id, OneTimeToken.purpose == purpose.value)
    )
    token = new_token()
    values = {"person_id": person_id, "purpose": purpose.value, "expires_at": now + good_for}
    await session.execute(insert(OneTimeToken).values(token_sha256=sha256_of(token), **values))
    return token


async def whose(session: AsyncSession, token: str, purpose: Purpose, now: dt.datetime) -> uuid.UUID | None:
    """Return the person whose token this is, if it is in force; it stays so."""
    query = select(OneTimeToken.person_id).where(
        OneTimeToken.token_sha256 == sha256_of(token),
        OneTimeToken.purpose == purpose.value,
        OneTimeToken.expires_at > now,
    )
    return (await session.scalars(query)).one_or_none()


async def burn(session: AsyncSession, token: str, purpose: Purpose, now: dt.datetime) -> uuid.UUID | None:
    """Return the person whose token this was, if it was in force; from now on it is not."""
    burnt = delete(OneTimeToken).where(
        OneTimeToken.token_sha256 == sha256_of(token), OneTimeToken.purpose == purpose.value
    )
    found = (await session.execute(burnt.returning(OneTimeToken.person_id, OneTimeToken.expires_at))).one_or_none()
    return found.person_id if found is not None and found.expires_at > now else None
