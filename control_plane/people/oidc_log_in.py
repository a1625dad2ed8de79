"""Logging in by an issuer's word: whose identity it is, or whose it becomes."""

import datetime as dt
import uuid

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput, Unauthenticated
from control_plane.identity.oidc import Identity, UntrueToken
from control_plane.inboxes.addresses import parse_address
from control_plane.people import challenges
from control_plane.people.challenges import Purpose
from control_plane.people.log_in import SecondStep, begin_or_ask
from control_plane.people.origins import Origin
from control_plane.people.people import People
from control_plane.people.security_events import Happened, note
from control_plane.people.sessions import OpenSession
from control_plane.people.sign_up import own_tenant
from db.models import OidcIdentity, Person

_LONGEST_NAME = 255
_LONGEST_SUBJECT = 255


async def begin(people: People, name: str) -> tuple[str, str]:
    """Return a secret for the browser, and where to send it; raise `NotFound` and `Unavailable`."""
    issuer = people.issuers.named(name)
    async with people.transaction() as session:
        secret = await challenges.give(session, Purpose.OIDC, None, people.clock())
    return secret, await people.issuers.where_to(issuer, secret)


async def finish(people: People, name: str, code: str, secret: str, origin: Origin) -> OpenSession | SecondStep:
    """Begin a session, or the second step of it; the secret is of no use from now on.

    Raises `NotFound`, `Unauthenticated` and `Unavailable`.
    """
    issuer = people.issuers.named(name)
    async with people.transaction() as session:
        in_force = await challenges.burn(session, secret, Purpose.OIDC, None, people.clock())
    if not in_force:
        raise not_taken()
    try:
        identity = await people.issuers.identify(issuer, code, secret)
    except UntrueToken:
        raise not_taken() from None
    async with people.transaction() as session:
        person_id = await _whose(session, identity, origin, people.clock())
        return await begin_or_ask(session, person_id, None, origin, people.clock())


def not_taken() -> Unauthenticated:
    """Return what is said of each answer that is not taken, whatever the reason."""
    return Unauthenticated("The issuer's answer is not right, or too late; begin again.")


async def _whose(session: AsyncSession, identity: Identity, origin: Origin, now: dt.datetime) -> uuid.UUID:
    """Return the person of an identity, who is bound to it from now on.

    An address counts only when the issuer has verified it: nobody is a person here whose own is not.
    """
    known = select(OidcIdentity.person_id).where(
        OidcIdentity.issuer == identity.issuer, OidcIdentity.subject == identity.subject
    )
    found: uuid.UUID | None = await session.scalar(known)
    if found is not None:
        return found
    if not identity.email_verified or len(identity.subject) > _LONGEST_SUBJECT:
        raise Unauthenticated("The issuer has not verified the address, so nobody can be told by it.")
    try:
        email = str(parse_address(identity.email, "/email")).lower()
    except InvalidInput:
        raise not_taken() from None
    person_id = await session.scalar(select(Person.id).where(Person.email == email))
    if person_id is None:
        person_id = await _new_person(session, email, identity.name)
    bound = {"issuer": identity.issuer, "subject": identity.subject, "person_id": person_id}
    await session.execute(insert(OidcIdentity).values(bound))
    await note(session, person_id, Happened.ISSUER_LINKED, origin, now, about=identity.issuer)
    whose: uuid.UUID = person_id
    return whose


async def _new_person(session: AsyncSession, email: str, said: str) -> uuid.UUID:
    name = "".join(each for each in said if each.isprintable()).strip()[:_LONGEST_NAME] or email
    made = postgresql_insert(Person).values(email=email, name=name).on_conflict_do_nothing().returning(Person.id)
    person_id = await session.scalar(made)
    if person_id is None:
        # Somebody else became the person of this address meanwhile.
        raise not_taken()
    await own_tenant(session, person_id, name)
    whose: uuid.UUID = person_id
    return whose
