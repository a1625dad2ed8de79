"""What somebody who is logging in has to answer: each good once, for a few minutes, for one purpose and one person."""

import datetime as dt
import enum
import secrets
import uuid

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.identity.secret_keys import sha256_of
from db.models import LogInChallenge

#: How long a person may take with a browser's dialogue, or at another's log-in page.
GOOD_FOR = dt.timedelta(minutes=5)

_RANDOM_BYTES = 32


class Purpose(enum.StrEnum):
    """What a challenge is for."""

    REGISTER_PASSKEY = "register-passkey"
    PASSKEY_LOG_IN = "passkey-log-in"
    PASSKEY_SECOND_STEP = "passkey-second-step"
    OIDC = "oidc"


async def give(session: AsyncSession, purpose: Purpose, person_id: uuid.UUID | None, now: dt.datetime) -> str:
    """Return a new challenge, 256 random bits in base64url; None for a person who is not known yet.

    Those that nobody answered in time are forgotten on the way.
    """
    await session.execute(delete(LogInChallenge).where(LogInChallenge.expires_at <= now))
    challenge = secrets.token_urlsafe(_RANDOM_BYTES)
    values = {"purpose": purpose.value, "person_id": person_id, "expires_at": now + GOOD_FOR}
    await session.execute(insert(LogInChallenge).values(challenge_sha256=sha256_of(challenge), **values))
    return challenge


async def burn(
    session: AsyncSession, challenge: str, purpose: Purpose, person_id: uuid.UUID | None, now: dt.datetime
) -> bool:
    """Return whether a challenge was in force for this; from now on it is not."""
    burnt = delete(LogInChallenge).where(
        LogInChallenge.challenge_sha256 == sha256_of(challenge),
        LogInChallenge.purpose == purpose.value,
        LogInChallenge.person_id.is_not_distinct_from(person_id),
    )
    expires_at = await session.scalar(burnt.returning(LogInChallenge.expires_at))
    return expires_at is not None and expires_at > now
