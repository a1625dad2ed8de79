"""Logging in, in one step or two, and passwords.

Whether an account exists is told by no text and no effort: a password is checked against a hash either way.
"""

import datetime as dt
import uuid
from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput, NotFound, Unauthenticated
from control_plane.people import one_time_tokens, second_factor
from control_plane.people.one_time_tokens import Purpose
from control_plane.people.origins import Origin
from control_plane.people.people import People
from control_plane.people.security_events import Happened, note, note_failure
from control_plane.people.sessions import OpenSession, begin, first_tenant, is_member
from db.models import Person

_SECOND_STEP = dt.timedelta(minutes=5)
_RESET = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SecondStep:
    """The password was right, and something else is asked for: a code, or a passkey where there is one."""

    token: str = field(repr=False)
    by_passkey: bool


async def log_in(
    people: People, email: str, password: str, tenant_id: uuid.UUID | None, origin: Origin
) -> OpenSession | SecondStep:
    """Begin a session, or the second step of it; raise `Unauthenticated`, and `NotFound` for a tenant not theirs."""
    person_id = await verified(people, email, password, origin)
    async with people.transaction() as session:
        return await begin_or_ask(session, person_id, tenant_id, origin, people.clock())


async def begin_or_ask(
    session: AsyncSession, person_id: uuid.UUID, tenant_id: uuid.UUID | None, origin: Origin, now: dt.datetime
) -> OpenSession | SecondStep:
    """Begin the session of somebody whose first step was right, or their second step; raise `NotFound`."""
    if await second_factor.is_on(session, person_id):
        given = await one_time_tokens.give(session, person_id, Purpose.SECOND_STEP, _SECOND_STEP, now)
        return SecondStep(given, await second_factor.has_passkey(session, person_id))
    working_in = await working_in_of(session, person_id, tenant_id)
    return await begin(session, person_id, working_in, origin, now, second_factor=False)


async def who_is_asked(people: People, token: str) -> uuid.UUID:
    """Return whose first step gave this token; raise `Unauthenticated` when it is not in force."""
    async with people.transaction() as session:
        person_id = await one_time_tokens.whose(session, token, Purpose.SECOND_STEP, people.clock())
    if person_id is None:
        raise too_late()
    return person_id


async def second_step(
    people: People, token: str, code: str, tenant_id: uuid.UUID | None, origin: Origin
) -> OpenSession:
    """Begin the session that a first step led to; raise `Unauthenticated`, and `InvalidInput` for a wrong code."""
    now, person_id = people.clock(), await who_is_asked(people, token)
    try:
        async with people.transaction() as session:
            if await one_time_tokens.burn(session, token, Purpose.SECOND_STEP, now) is None:
                raise too_late()
            # Rolled back with the rest, so that the token is good for another try.
            if not await second_factor.takes(session, people.sealer, person_id, code, now):
                raise second_factor.wrong_code()
            if not code.isdigit():
                await note(session, person_id, Happened.RECOVERY_CODE_USED, origin, now)
            working_in = await working_in_of(session, person_id, tenant_id)
            return await begin(session, person_id, working_in, origin, now, second_factor=True)
    except InvalidInput:
        await second_step_failed(people, person_id, origin)
        raise


async def second_step_failed(people: People, person_id: uuid.UUID, origin: Origin) -> None:
    """Write down that somebody who had the first step right had the second one wrong."""
    async with people.transaction() as session:
        await note(session, person_id, Happened.SECOND_STEP_FAILED, origin, people.clock())


async def verified(people: People, email: str, password: str, origin: Origin) -> uuid.UUID:
    """Return whose address and password these are; raise `Unauthenticated`, the same for either that is wrong."""
    async with people.transaction() as session:
        query = select(Person.id, Person.password_hash).where(Person.email == email)
        found = (await session.execute(query)).one_or_none()
    right = await people.passwords.verify(password, found.password_hash if found else None)
    if found is None or not right:
        await failed(people, email, origin)
        raise Unauthenticated("The address or the password is not right.")
    person_id: uuid.UUID = found.id
    return person_id


async def failed(people: People, email: str, origin: Origin) -> None:
    """Write down, for the person of an address if there is one, that somebody tried in vain."""
    async with people.transaction() as session:
        await note_failure(session, email, origin, people.clock())


async def forget_password(people: People, email: str) -> str | None:
    """Return the token by which the person of an address sets a new password; None when there is none."""
    async with people.transaction() as session:
        person_id = await session.scalar(select(Person.id).where(Person.email == email))
        if person_id is None:
            return None
        return await one_time_tokens.give(session, person_id, Purpose.RESET_PASSWORD, _RESET, people.clock())


async def set_password(session: AsyncSession, person_id: uuid.UUID, password_hash: str, now: dt.datetime) -> None:
    """Put a new password in the place of the old one."""
    await session.execute(
        update(Person).where(Person.id == person_id).values(password_hash=password_hash, password_changed_at=now)
    )


def too_late() -> Unauthenticated:
    """Return what is said of a second step whose first is not in force."""
    return Unauthenticated("The first step of the log-in is too long ago; begin again.")


async def working_in_of(session: AsyncSession, person_id: uuid.UUID, asked: uuid.UUID | None) -> uuid.UUID | None:
    """Return the tenant that a session begins in; raise `NotFound` for one that the person is not in."""
    if asked is None:
        return await first_tenant(session, person_id)
    if not await is_member(session, person_id, asked):
        raise NotFound("There is no such tenant.")
    return asked
