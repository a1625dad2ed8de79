"""Requests to /auth that come again under their Idempotency-Key: whose an answer is, and what finding it may tell.

Somebody who is logged in finds the answers to their session. Whoever is not finds the answer to the very same request
under the very same key, and to no other. A route for anybody says itself where it looks: where what comes could be
guessed, after the attempt is counted, for a password that is tried as a repeated request is tried. Tokens of 256 bits
are not guessed, but what comes beside one that is spent could be.

Two keep nothing, and take a key all the same. A refresh token that comes a second time ends its session, also as the
same request: a thief who has the one has the other. And asking for any passkey says nothing but the key, by which
strangers would meet; it does nothing either, and each challenge is as good as another.
"""

from functools import partial

from fastapi import Request

from control_plane.errors import AnswerShownOnce, IdempotencyKeyReused
from control_plane.identity.access_tokens import Claims
from control_plane.rest.auth.bodies import count_attempt, people_of
from control_plane.rest.kept_answers import AnsweredBefore, begin_before, is_repeatable
from control_plane.rest.kept_places import PlaceOf, answer_secrets, of_person, of_stranger
from control_plane.sealing import Sealer


async def begin_of_person(request: Request, who: Claims) -> None:
    """Look for the answer to somebody who is logged in; raise what `begin_before` does, and `TooManyRequests`.

    Finding one counts as an attempt, for whether a body is the one that came first is also whether its password is.
    """
    if not is_repeatable(request):
        return
    try:
        await _begin(request, partial(of_person, _secret(people_of(request).sealer), who.person_id, who.session_id))
    except (AnsweredBefore, AnswerShownOnce, IdempotencyKeyReused):
        await count_attempt(request, "repeated request", str(who.person_id))
        raise


async def begin_of_stranger(request: Request) -> None:
    """Look for the answer to somebody who is not logged in; raise what `begin_before` does."""
    if is_repeatable(request):
        await _begin(request, partial(of_stranger, _secret(people_of(request).sealer)))


async def _begin(request: Request, place_of: PlaceOf) -> None:
    people = people_of(request)
    async with people.connection() as connection:
        await begin_before(request, connection, place_of, people.connection)


def _secret(sealer: Sealer) -> bytes:
    """Return the secret of the newest master key, which all processes have from the moment that there is one.

    What was kept under an older one is found no more: a repeated request is then another.
    """
    return answer_secrets(sealer)[0]
