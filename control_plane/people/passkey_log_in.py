"""Logging in by a passkey: alone, or as the second step after a password."""

import uuid

from control_plane.identity.passkeys import (
    Credential,
    Options,
    RelyingParty,
    UntrueAnswer,
    authentication_options,
)
from control_plane.people import challenges, one_time_tokens
from control_plane.people.challenges import Purpose
from control_plane.people.log_in import second_step_failed, too_late, working_in_of
from control_plane.people.origins import Origin
from control_plane.people.passkeys import answered_by, burnt_challenge, credential_ids, not_taken
from control_plane.people.people import People
from control_plane.people.sessions import OpenSession, begin


async def ask_anybody(people: People) -> Options:
    """Return what a browser is asked: any passkey for us; who it is stands in the answer."""
    async with people.transaction() as session:
        challenge = await challenges.give(session, Purpose.PASSKEY_LOG_IN, None, people.clock())
    return authentication_options(RelyingParty.at(people.public_url), challenge)


async def log_in(people: People, credential: Credential, tenant_id: uuid.UUID | None, origin: Origin) -> OpenSession:
    """Begin a session; raise `Unauthenticated`, and `NotFound` for a tenant not theirs."""
    now = people.clock()
    try:
        challenge = await burnt_challenge(people, credential, Purpose.PASSKEY_LOG_IN, None)
        async with people.transaction() as session:
            person_id = await answered_by(session, people, credential, challenge, None)
            working_in = await working_in_of(session, person_id, tenant_id)
            return await begin(session, person_id, working_in, origin, now, second_factor=True)
    except UntrueAnswer:
        raise not_taken() from None


async def ask_second_step(people: People, person_id: uuid.UUID) -> Options:
    """Return what a browser is asked after a password: one of the person's passkeys."""
    async with people.transaction() as session:
        known = await credential_ids(session, person_id)
        challenge = await challenges.give(session, Purpose.PASSKEY_SECOND_STEP, person_id, people.clock())
    return authentication_options(RelyingParty.at(people.public_url), challenge, known)


async def second_step(
    people: People, token: str, credential: Credential, tenant_id: uuid.UUID | None, origin: Origin
) -> OpenSession:
    """Begin the session that a first step led to; raise `Unauthenticated`, also for an answer that is not true."""
    now = people.clock()
    async with people.transaction() as session:
        person_id = await one_time_tokens.whose(session, token, one_time_tokens.Purpose.SECOND_STEP, now)
    if person_id is None:
        raise too_late()
    try:
        challenge = await burnt_challenge(people, credential, Purpose.PASSKEY_SECOND_STEP, person_id)
        async with people.transaction() as session:
            # Rolled back with the rest, so that the token is good for another try.
            if await one_time_tokens.burn(session, token, one_time_tokens.Purpose.SECOND_STEP, now) is None:
                raise too_late()
            await answered_by(session, people, credential, challenge, person_id)
            working_in = await working_in_of(session, person_id, tenant_id)
            return await begin(session, person_id, working_in, origin, now, second_factor=True)
    except UntrueAnswer:
        await second_step_failed(people, person_id, origin)
        raise not_taken() from None
