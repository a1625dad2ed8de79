import asyncio
import base64
import datetime as dt
import json
import uuid
from collections import defaultdict
from dataclasses import replace
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from redis.asyncio import Redis

from control_plane.clock import utc_now
from control_plane.identity.access_tokens import AUDIENCE, Claims, sign_token
from control_plane.people import signing_keys
from control_plane.people.people import People
from control_plane.people.signing_keys import KeyRing, rotate
from tests.integration.people.visitor import Visitor
from tests.integration.rest import client_of, problem, walked


def people_of(app: FastAPI) -> People:
    people: People = app.state.parts.people
    return people


async def ask(app: FastAPI, token: str, path: str = "auth/me") -> httpx.Response:
    async with client_of(app, token) as client:
        return await client.get(path)


async def test_an_access_token_opens_what_the_role_opens(anna: Visitor) -> None:
    assert (await anna.get("members")).json()["items"][0]["email"] == "anna@example.net"
    assert (await anna.get("api-keys")).status_code == 200
    made = await anna.post("api-keys", name="by a person", role="member")
    assert made.status_code == 201
    assert made.json()["created_by"].startswith("person ")


async def test_refresh_tokens_are_good_once_and_one_that_comes_again_ends_the_session(anna: Visitor) -> None:
    first = anna.tokens["refresh_token"]
    assert (await anna.refresh()).status_code == 200
    assert (await anna.get("auth/me")).status_code == 200
    problem(await anna.post("auth/refresh", refresh_token=first), 401, "unauthenticated")
    problem(await anna.refresh(), 401, "unauthenticated")
    problem(await anna.get("auth/me"), 401, "unauthenticated")


async def test_of_a_token_that_is_used_twice_at_once_the_session_ends(anna: Visitor) -> None:
    token = anna.tokens["refresh_token"]
    answers = await asyncio.gather(*(anna.post("auth/refresh", refresh_token=token) for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [200, 401, 401, 401]
    problem(await anna.get("auth/me"), 401, "unauthenticated")


async def test_sessions_are_listed_and_revoked_one_by_one(anna: Visitor, people_app: FastAPI) -> None:
    first = anna.tokens["access_token"]
    await anna.log_in("anna@example.net")
    listed = (await anna.get("auth/sessions")).json()["items"]
    assert [each["current"] for each in listed] == [True, False]
    other = listed[1]["id"]
    assert (await anna.client.delete(f"auth/sessions/{other}")).status_code == 204
    problem(await ask(people_app, first), 401, "unauthenticated")
    assert [each["current"] for each in (await anna.get("auth/sessions")).json()["items"]] == [True]


async def test_sessions_and_passkeys_go_on_where_the_page_before_ended(anna: Visitor) -> None:
    for _ in range(2):
        await anna.log_in("anna@example.net")
    whole = (await anna.get("auth/sessions")).json()
    assert [each["current"] for each in whole["items"]] == [True, False, False]
    assert await walked(anna.client, "auth/sessions") == whole["items"]
    for path in ("auth/sessions", "auth/passkeys"):
        problem(await anna.get(f"{path}?after={'x' * 40}"), 400, "invalid-cursor")


async def test_of_ones_account_only_the_fields_that_are_asked_for_are_shown(anna: Visitor) -> None:
    assert (await anna.get("auth/me?fields=email,name")).json() == {"email": "anna@example.net", "name": "Anna"}
    for path in ("auth/sessions", "auth/events"):
        [shown] = (await anna.get(f"{path}?fields=id,address")).json()["items"]
        assert set(shown) == {"id", "address"}
    assert (await anna.get("auth/passkeys?fields=name")).json() == {"items": [], "next": None}
    seen = (await anna.get("auth/me")).headers["etag"]
    assert (await anna.client.get("auth/me", headers={"If-None-Match": seen})).status_code == 304


async def test_nobody_revokes_anothers_session(anna: Visitor, bob: Visitor) -> None:
    problem(await bob.client.delete(f"auth/sessions/{anna.tokens['session_id']}"), 404, "not-found")
    assert (await anna.get("auth/me")).status_code == 200


async def test_logging_out_ends_the_session_at_once_also_where_redis_has_forgotten(anna: Visitor, redis: Redis) -> None:
    assert (await anna.get("auth/me")).status_code == 200
    assert (await anna.post("auth/logout")).status_code == 204
    problem(await anna.get("auth/me"), 401, "unauthenticated")
    await redis.flushall()
    problem(await anna.get("auth/me"), 401, "unauthenticated")
    problem(await anna.refresh(), 401, "unauthenticated")


async def test_an_api_key_is_no_person(people_app: FastAPI, anna: Visitor) -> None:
    key = (await anna.post("api-keys", name="k", role="admin")).json()["key"]
    problem(await ask(people_app, key), 401, "unauthenticated")
    assert (await ask(people_app, key, "members")).status_code == 200


# ---------------------------------------------------------------- tokens that are not true


def claims_of(visitor: Visitor) -> dict[str, Any]:
    return jwt.decode(visitor.tokens["access_token"], options={"verify_signature": False})


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


async def test_a_token_without_a_signature_or_with_another_algorithm_is_refused(
    anna: Visitor, people_app: FastAPI
) -> None:
    header, claims = jwt.get_unverified_header(anna.tokens["access_token"]), claims_of(anna)
    public = next(iter(await people_of(people_app).keys.published())).public.public_bytes_raw()
    for token in (
        f"{encoded(header | {'alg': 'none'})}.{encoded(claims)}.",
        f"{encoded(header | {'alg': 'None'})}.{encoded(claims)}.",
        f"{encoded(header)}.{encoded(claims)}.",
        # The public key taken as a shared secret.
        jwt.encode(claims, public, algorithm="HS256", headers=header | {"alg": "HS256"}),
    ):
        problem(await ask(people_app, token), 401, "unauthenticated")


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://elsewhere.test"},
        {"aud": "another"},
        {"aud": None},
        {"sub": "somebody"},
        {"sid": None},
        {"exp": None},
        {"exp": "never"},
        {"iat": 99_999_999_999, "exp": 99_999_999_999},
        {"exp": 10**30},
        {"sid": str(uuid.uuid4())},
    ],
)
async def test_a_token_that_says_anything_else_is_refused_though_our_key_signed_it(
    anna: Visitor, people_app: FastAPI, change: dict[str, Any]
) -> None:
    key = await people_of(people_app).keys.signing()
    claims = {name: value for name, value in (claims_of(anna) | change).items() if value is not None}
    token = jwt.encode(claims, key.private, algorithm="EdDSA", headers={"kid": str(key.id), "typ": "at+jwt"})
    problem(await ask(people_app, token), 401, "unauthenticated")


async def test_an_expired_token_and_one_of_another_key_are_refused(anna: Visitor, people_app: FastAPI) -> None:
    people, claims = people_of(people_app), claims_of(anna)
    key = await people.keys.signing()
    own = Claims(uuid.UUID(claims["sub"]), uuid.UUID(claims["sid"]), uuid.UUID(claims["tid"]))
    old = sign_token(own, key.id, key.private, people.public_url, utc_now() - dt.timedelta(minutes=10))
    said = problem(await ask(people_app, old), 401, "unauthenticated")
    assert "expired" in said["detail"]
    for key_id in (key.id, uuid.uuid4()):
        forged = sign_token(own, key_id, Ed25519PrivateKey.generate(), people.public_url, utc_now())
        problem(await ask(people_app, forged), 401, "unauthenticated")


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJ.eyJ.x", "." * 3000, "ey" * 2000, "{}"])
async def test_what_is_no_token_is_refused(people_app: FastAPI, token: str) -> None:
    problem(await ask(people_app, token), 401, "unauthenticated")


# ---------------------------------------------------------------- keys


async def test_published_keys_verify_our_tokens(anna: Visitor) -> None:
    published = jwt.PyJWKSet.from_dict((await anna.get("auth/jwks.json")).json())
    header = jwt.get_unverified_header(anna.tokens["access_token"])
    decoded = jwt.decode(anna.tokens["access_token"], published[header["kid"]], algorithms=["EdDSA"], audience=AUDIENCE)
    assert decoded["tid"] == anna.tokens["tenant_id"]


async def test_while_keys_change_no_request_and_no_refresh_fails(
    anna: Visitor, people_app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes with their own idea of the keys; what one signs the other takes, ten changes long."""
    people = people_of(people_app)
    # A process reads the keys every 50 ms, and a key is known for 150 ms before it signs: in the proportion of life.
    monkeypatch.setattr(signing_keys, "_READ_AGAIN", dt.timedelta(milliseconds=50))
    other = replace(people, keys=KeyRing(people.database, people.sealer, utc_now))
    signed: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
    failures, changing = list[str](), True

    async def use() -> None:
        while changing:
            if (answer := await anna.refresh()).status_code != 200 or (await anna.get("members")).status_code != 200:
                failures.append(answer.text)
            token = anna.tokens["access_token"]
            signed[jwt.get_unverified_header(token)["kid"]].set()
            await other.identify(token)

    task = asyncio.create_task(use())
    for _ in range(10):
        async with people.database.system() as session:
            made = await rotate(session, people.sealer, utc_now(), dt.timedelta(milliseconds=150))
        await asyncio.wait_for(signed[str(made.id)].wait(), 10)
    changing = False
    await task
    assert failures == []
