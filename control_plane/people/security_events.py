"""What happened to a person's account, for its person to see: log-ins and those that failed, ends, and what opens it.

Each is written in the transaction that it tells of. A log-in that failed has none: it is written by one statement that
is the same, and sent the same, whether there is such a person, and is let be once there were many within the hour.
"""

import datetime as dt
import enum
import uuid
from collections.abc import Sequence

from sqlalchemy import func, insert, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.people.origins import Origin
from db.ids import uuid7
from db.models import Person, SecurityEvent

#: Failed log-ins of one person that are written down within an hour.
MOST_FAILED = 20

# Nobody waits for the disk to know that a log-in failed: how long that takes would tell that there is somebody.
_WITHOUT_WAITING = text("SELECT set_config('synchronous_commit', 'off', true)")


class Happened(enum.StrEnum):
    """What can happen to an account."""

    LOGGED_IN = "logged-in"
    LOG_IN_FAILED = "log-in-failed"
    SECOND_STEP_FAILED = "second-step-failed"
    LOGGED_OUT = "logged-out"
    SESSION_REVOKED = "session-revoked"
    REFRESH_TOKEN_REUSED = "refresh-token-reused"  # noqa: S105 - what happened
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - what happened
    PASSWORD_RESET = "password-reset"  # noqa: S105 - what happened
    AUTHENTICATOR_ADDED = "authenticator-added"
    AUTHENTICATOR_REMOVED = "authenticator-removed"
    PASSKEY_ADDED = "passkey-added"
    PASSKEY_REMOVED = "passkey-removed"
    RECOVERY_CODE_USED = "recovery-code-used"
    ISSUER_LINKED = "issuer-linked"


async def note(
    session: AsyncSession,
    person_id: uuid.UUID,
    happened: Happened,
    origin: Origin,
    now: dt.datetime,
    *,
    session_id: uuid.UUID | None = None,
    about: str | None = None,
) -> None:
    """Write down what happened; `about` names the passkey or issuer, `session_id` the session it is about."""
    values = {"person_id": person_id, "kind": happened.value, "session_id": session_id, "about": about}
    await session.execute(insert(SecurityEvent).values(id=uuid7(), at=now, **values, **_from(origin)))


async def note_failure(session: AsyncSession, email: str, origin: Origin, now: dt.datetime) -> None:
    """Write down that a log-in failed, if the address is a person's and not too many did."""
    await session.execute(_WITHOUT_WAITING)
    recent = (
        select(func.count())
        .where(
            SecurityEvent.person_id == Person.id,
            SecurityEvent.kind == Happened.LOG_IN_FAILED.value,
            SecurityEvent.at > now - dt.timedelta(hours=1),
        )
        .scalar_subquery()
    )
    values = {"id": uuid7(), "at": now, "kind": Happened.LOG_IN_FAILED.value, **_from(origin)}
    columns = [literal(value, SecurityEvent.__table__.c[name].type) for name, value in values.items()]
    failed = select(Person.id, *columns).where(Person.email == email, recent < MOST_FAILED)
    await session.execute(insert(SecurityEvent).from_select(["person_id", *values], failed))


async def list_newest(
    session: AsyncSession, person_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> Sequence[SecurityEvent]:
    """Return a page of what happened to a person's account, newest first, from the one before `after`."""
    query = select(SecurityEvent).where(SecurityEvent.person_id == person_id).order_by(SecurityEvent.id.desc())
    return (
        await session.scalars((query if after is None else query.where(SecurityEvent.id < after)).limit(limit))
    ).all()


def _from(origin: Origin) -> dict[str, object]:
    return {"address": origin.address, "user_agent": origin.shown_agent}
