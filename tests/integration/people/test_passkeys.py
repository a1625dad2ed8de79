import asyncio
import copy
import datetime as dt
from dataclasses import replace
from typing import Any

import psycopg
import pyotp
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from control_plane.clock import utc_now
from control_plane.embedded.postgres import OWNER
from tests.fakes.authenticator import Authenticator, Key, encoded
from tests.integration.database import FreshDatabase
from tests.integration.people.visitor import PASSWORD, Visitor
from tests.integration.rest import problem, walked

ORIGIN = "https://mail.test"
BEGIN, FINISH = "auth/login/passkey:begin", "auth/login/passkey:finish"
SECOND = "auth/login/second-step/passkey"


async def asked_to_make(visitor: Visitor) -> dict[str, Any]:
    answer = await visitor.post("auth/passkeys:begin", password=PASSWORD)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["options"])


async def with_passkey(visitor: Visitor, key: Key | None = None) -> tuple[Authenticator, dict[str, Any]]:
    authenticator = Authenticator(ORIGIN, key or generate_private_key(SECP256R1()))
    made = authenticator.make(await asked_to_make(visitor))
    answer = await visitor.post("auth/passkeys:finish", name="My key", credential=made)
    assert answer.status_code == 201, answer.text
    return authenticator, answer.json()


async def asked(visitor: Visitor) -> dict[str, Any]:
    answer = await visitor.client.post(BEGIN)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["options"])


async def first_step(visitor: Visitor) -> str:
    answer = (await visitor.log_in("anna@example.net")).json()
    assert answer["passkey"]
    return str(answer["second_step_token"])


@pytest.mark.parametrize("key", [generate_private_key(SECP256R1()), Ed25519PrivateKey.generate()], ids=["P-256", "Ed"])
async def test_a_passkey_logs_in_by_itself(anna: Visitor, visitor: Visitor, key: Key) -> None:
    authenticator, made = await with_passkey(anna, key)
    assert made["name"] == "My key"
    options = await asked(visitor)
    assert (options["rpId"], options["allowCredentials"]) == ("mail.test", [])
    answer = await visitor.post(FINISH, credential=authenticator.answer(options))
    assert answer.status_code == 200, answer.text
    visitor.bear(answer.json())
    assert (await visitor.get("auth/me")).json()["email"] == "anna@example.net"
    assert [each["second_factor"] for each in (await visitor.get("auth/sessions")).json()["items"]] == [True, False]
    [listed] = (await visitor.get("auth/passkeys")).json()["items"]
    assert listed["id"] == made["id"]
    assert listed["last_used_at"]


async def test_an_answer_is_good_once_also_when_it_comes_twice_at_once(anna: Visitor, visitor: Visitor) -> None:
    authenticator, _ = await with_passkey(anna)
    answer = authenticator.answer(await asked(visitor))
    answers = await asyncio.gather(*(visitor.post(FINISH, credential=answer) for _ in range(3)))
    assert sorted(each.status_code for each in answers) == [200, 401, 401]
    problem(await visitor.post(FINISH, credential=answer), 401, "unauthenticated")


async def test_a_wrong_answer_uses_the_challenge_up(anna: Visitor, visitor: Visitor) -> None:
    authenticator, _ = await with_passkey(anna)
    options = await asked(visitor)
    thief = replace(authenticator, key=generate_private_key(SECP256R1()))
    problem(await visitor.post(FINISH, credential=thief.answer(options)), 401, "unauthenticated")
    problem(await visitor.post(FINISH, credential=authenticator.answer(options)), 401, "unauthenticated")


async def test_the_answer_of_another_origin_host_or_challenge_is_refused(anna: Visitor, visitor: Visitor) -> None:
    authenticator, _ = await with_passkey(anna)
    phished = replace(authenticator, origin="https://mail.test.example")
    problem(await visitor.post(FINISH, credential=phished.answer(await asked(visitor))), 401, "unauthenticated")
    elsewhere = {**await asked(visitor), "rpId": "example.net"}
    problem(await visitor.post(FINISH, credential=authenticator.answer(elsewhere)), 401, "unauthenticated")
    own = {**await asked(visitor), "challenge": "a" * 43}
    problem(await visitor.post(FINISH, credential=authenticator.answer(own)), 401, "unauthenticated")
    # What was asked in order to make one is not what one logs in by.
    other = {"rpId": "mail.test", "challenge": (await asked_to_make(anna))["challenge"]}
    problem(await visitor.post(FINISH, credential=authenticator.answer(other)), 401, "unauthenticated")


async def test_a_copy_is_found_by_its_counter(anna: Visitor, visitor: Visitor) -> None:
    authenticator, _ = await with_passkey(anna)
    copied = copy.copy(authenticator)
    for _ in range(2):
        answer = await visitor.post(FINISH, credential=authenticator.answer(await asked(visitor)))
        assert answer.status_code == 200
    problem(await visitor.post(FINISH, credential=copied.answer(await asked(visitor))), 401, "unauthenticated")


async def test_by_itself_it_logs_in_only_whom_it_has_verified(anna: Visitor, visitor: Visitor) -> None:
    authenticator, _ = await with_passkey(anna)
    authenticator.verifies = False
    problem(await visitor.post(FINISH, credential=authenticator.answer(await asked(visitor))), 401, "unauthenticated")
    made = Authenticator(ORIGIN, verifies=False).make(await asked_to_make(anna))
    problem(await anna.post("auth/passkeys:finish", name="x", credential=made), 422, "invalid-input")


async def test_what_comes_too_late_is_refused(anna: Visitor, visitor: Visitor) -> None:
    authenticator, _ = await with_passkey(anna)
    options = await asked(visitor)
    parts = anna.app.state.parts
    later = replace(parts.people, clock=lambda: utc_now() + dt.timedelta(minutes=6))
    anna.app.state.parts = replace(parts, people=later)
    problem(await visitor.post(FINISH, credential=authenticator.answer(options)), 401, "unauthenticated")


async def test_with_a_passkey_a_password_is_not_enough(anna: Visitor) -> None:
    authenticator, made = await with_passkey(anna)
    token = await first_step(anna)
    options = (await anna.post(f"{SECOND}:begin", token=token)).json()["options"]
    assert [each["id"] for each in options["allowCredentials"]] == [encoded(authenticator.credential_id)]
    # The password came before: somebody being there is enough.
    authenticator.verifies = False
    answer = authenticator.answer(options)
    assert (await anna.post(f"{SECOND}:finish", token=token, credential=answer)).status_code == 200
    again = await anna.post(f"{SECOND}:finish", token=token, credential=answer)
    problem(again, 401, "unauthenticated")
    code = made["recovery_codes"][0]
    assert (await anna.post("auth/login/second-step", token=await first_step(anna), code=code)).status_code == 200


async def test_a_second_step_is_not_opened_by_somebody_elses_passkey(anna: Visitor, bob: Visitor) -> None:
    own, _ = await with_passkey(anna)
    others, _ = await with_passkey(bob)
    token = await first_step(anna)
    options = (await anna.post(f"{SECOND}:begin", token=token)).json()["options"]
    refused = await anna.post(f"{SECOND}:finish", token=token, credential=others.answer(options))
    problem(refused, 401, "unauthenticated")
    # One that was asked of nobody in particular is not the second step's.
    answer = own.answer(await asked(anna))
    problem(await anna.post(f"{SECOND}:finish", token=token, credential=answer), 401, "unauthenticated")


async def test_an_authenticator_that_was_not_confirmed_is_no_second_step(anna: Visitor) -> None:
    await with_passkey(anna)
    secret = (await anna.post("auth/totp", password=PASSWORD)).json()["secret"]
    refused = await anna.post("auth/login/second-step", token=await first_step(anna), code=pyotp.TOTP(secret).now())
    problem(refused, 422, "invalid-input")


async def test_making_and_removing_take_the_password(anna: Visitor, bob: Visitor) -> None:
    problem(await anna.post("auth/passkeys:begin", password="wrong"), 401, "unauthenticated")
    _, made = await with_passkey(anna)
    path = f"auth/passkeys/{made['id']}/remove"
    problem(await anna.post(path, password="wrong"), 401, "unauthenticated")
    problem(await bob.post(path, password=PASSWORD), 404, "not-found")
    assert (await anna.get("auth/me")).json()["second_factor"]
    assert (await anna.post(path, password=PASSWORD)).status_code == 204
    assert not (await anna.get("auth/me")).json()["second_factor"]
    assert "access_token" in (await anna.log_in("anna@example.net")).json()


async def test_passkeys_are_listed_in_pages_the_oldest_first(anna: Visitor) -> None:
    made = [(await with_passkey(anna))[1]["id"] for _ in range(2)]
    assert [each["id"] for each in await walked(anna.client, "auth/passkeys")] == made


async def test_recovery_codes_stay_as_long_as_there_is_a_second_factor(anna: Visitor, database: FreshDatabase) -> None:
    _, first = await with_passkey(anna)
    _, second = await with_passkey(anna)
    assert (len(first["recovery_codes"]), second["recovery_codes"]) == (10, [])
    await anna.post(f"auth/passkeys/{first['id']}/remove", password=PASSWORD)
    with psycopg.connect(database.url(OWNER)) as owner:
        assert owner.execute("SELECT count(*) FROM recovery_codes").fetchone() == (10,)
        await anna.post(f"auth/passkeys/{second['id']}/remove", password=PASSWORD)
        assert owner.execute("SELECT count(*) FROM recovery_codes").fetchone() == (0,)


async def test_a_passkey_is_made_for_whoever_asked_and_is_one_persons(anna: Visitor, bob: Visitor) -> None:
    authenticator = Authenticator(ORIGIN)
    made = authenticator.make(await asked_to_make(anna))
    problem(await bob.post("auth/passkeys:finish", name="x", credential=made), 422, "invalid-input")
    assert (await anna.post("auth/passkeys:finish", name="x", credential=made)).status_code == 201
    problem(await anna.post("auth/passkeys:finish", name="x", credential=made), 422, "invalid-input")
    again = authenticator.make(await asked_to_make(bob))
    problem(await bob.post("auth/passkeys:finish", name="x", credential=again), 409, "conflict")


@pytest.mark.parametrize("part", ["clientDataJSON", "authenticatorData", "signature"])
@pytest.mark.parametrize("wrong", ["AA", "e30", "bnVsbA", "W10", "A" * 500])
async def test_what_no_authenticator_says_is_refused(anna: Visitor, visitor: Visitor, part: str, wrong: str) -> None:
    authenticator, _ = await with_passkey(anna)
    answer = authenticator.answer(await asked(visitor))
    answer["response"][part] = wrong
    problem(await visitor.post(FINISH, credential=answer), 401, "unauthenticated")
