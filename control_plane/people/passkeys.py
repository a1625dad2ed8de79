"""A person's passkeys: made, listed, answering, taken away. Each is a second factor: the first brings recovery codes.

A challenge is burnt in a transaction of its own before its answer is judged: whatever comes of it, it was the one try.
"""

import datetime as dt
import uuid
from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from control_plane.identity.passkeys import (
    Credential,
    KeptPasskey,
    Options,
    RelyingParty,
    UntrueAnswer,
    challenge_of,
    credential_id_of,
    registration_options,
    verify_answer,
    verify_registration,
)
from control_plane.people import challenges, second_factor
from control_plane.people.challenges import Purpose
from control_plane.people.origins import Origin
from control_plane.people.people import People
from control_plane.people.security_events import Happened, note
from control_plane.people.who import load_person
from db.by_time import Place, oldest_first
from db.models import Passkey

_MOST = 20


async def begin_registration(people: People, person_id: uuid.UUID) -> Options:
    """Return what a browser makes a passkey by; raise `Conflict` for one too many."""
    async with people.transaction() as session:
        present = await credential_ids(session, person_id)
        if len(present) >= _MOST:
            raise Conflict(f"There are {_MOST} passkeys; take some away first.")
        email = (await load_person(session, person_id)).email
        challenge = await challenges.give(session, Purpose.REGISTER_PASSKEY, person_id, people.clock())
    return registration_options(RelyingParty.at(people.public_url), person_id, email, challenge, present)


async def register(
    people: People, person_id: uuid.UUID, name: str, credential: Credential, origin: Origin
) -> tuple[Passkey, Sequence[str]]:
    """Keep a passkey; return it, and recovery codes when it is the person's first second factor.

    Raises `InvalidInput` for an answer that is not true or too late, `Conflict` for a passkey that is known.
    """
    party, now = RelyingParty.at(people.public_url), people.clock()
    try:
        challenge = await burnt_challenge(people, credential, Purpose.REGISTER_PASSKEY, person_id)
        made = verify_registration(party, credential, challenge)
    except UntrueAnswer:
        raise InvalidInput("The passkey's answer is not right, or too late; begin again.", "/credential") from None
    values = {"credential_id": made.credential_id, "public_key": made.public_key, "sign_count": made.sign_count}
    async with people.transaction() as session:
        first = not await second_factor.is_on(session, person_id)
        kept = postgresql_insert(Passkey).values(
            id=uuid.uuid4(), person_id=person_id, name=name, created_at=now, **values
        )
        row = await session.scalar(kept.on_conflict_do_nothing().returning(Passkey))
        if row is None:
            raise Conflict("This passkey is in use already.")
        await note(session, person_id, Happened.PASSKEY_ADDED, origin, now, about=name)
        return row, await second_factor.renew_recovery_codes(session, person_id) if first else ()


async def burnt_challenge(people: People, credential: Credential, purpose: Purpose, person_id: uuid.UUID | None) -> str:
    """Return the challenge of an answer, of no use from now on; raise `UntrueAnswer` unless it was in force."""
    challenge = challenge_of(credential)
    async with people.transaction() as session:
        if not await challenges.burn(session, challenge, purpose, person_id, people.clock()):
            raise UntrueAnswer
    return challenge


async def answered_by(
    session: AsyncSession,
    people: People,
    credential: Credential,
    challenge: str,
    person_id: uuid.UUID | None,
) -> uuid.UUID:
    """Return whose passkey gave this answer, and count it; with a person, only one of theirs, who is known otherwise.

    Raises `UntrueAnswer`.
    """
    query = select(Passkey).where(Passkey.credential_id == credential_id_of(credential))
    # Locked: of two answers with one counter, one is right.
    passkey = await session.scalar(query.with_for_update())
    if passkey is None or passkey.person_id != (person_id or passkey.person_id):
        raise UntrueAnswer
    party, kept = RelyingParty.at(people.public_url), KeptPasskey(passkey.public_key, passkey.sign_count)
    count = verify_answer(party, credential, challenge, kept, alone=person_id is None)
    used = update(Passkey).where(Passkey.id == passkey.id)
    await session.execute(used.values(sign_count=count, last_used_at=people.clock()))
    whose: uuid.UUID = passkey.person_id
    return whose


async def list_of(session: AsyncSession, person_id: uuid.UUID, after: Place | None, limit: int) -> Sequence[Passkey]:
    """Return a page of a person's passkeys, the oldest first."""
    query = select(Passkey).where(Passkey.person_id == person_id)
    return (await session.scalars(oldest_first(query, Passkey.created_at, Passkey.id, after).limit(limit))).all()


async def credential_ids(session: AsyncSession, person_id: uuid.UUID) -> Sequence[bytes]:
    """Return the ids by which authenticators know a person's passkeys."""
    return (await session.scalars(select(Passkey.credential_id).where(Passkey.person_id == person_id))).all()


async def require_own(session: AsyncSession, person_id: uuid.UUID, passkey_id: uuid.UUID) -> None:
    """Raise `NotFound` unless a passkey is the person's."""
    query = select(func.count()).where(Passkey.person_id == person_id, Passkey.id == passkey_id)
    if not await session.scalar(query):
        raise NotFound("There is no such passkey.")


async def take_away(
    session: AsyncSession, person_id: uuid.UUID, passkey_id: uuid.UUID, origin: Origin, now: dt.datetime
) -> None:
    """Do without a passkey from now on; with the last second factor go the recovery codes."""
    gone = delete(Passkey).where(Passkey.person_id == person_id, Passkey.id == passkey_id).returning(Passkey.name)
    if (name := await session.scalar(gone)) is not None:
        await note(session, person_id, Happened.PASSKEY_REMOVED, origin, now, about=name)
    await second_factor.forget_useless_codes(session, person_id)


def not_taken() -> Unauthenticated:
    """Return what is said of each answer that does not log anybody in, whatever the reason."""
    return Unauthenticated("The passkey's answer is not right, or too late; begin again.")
