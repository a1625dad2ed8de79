import asyncio
import time

import psycopg
import pyotp
import pytest

from control_plane.embedded.postgres import OWNER
from tests.integration.database import FreshDatabase
from tests.integration.people.visitor import PASSWORD, Visitor
from tests.integration.rest import problem


async def with_authenticator(visitor: Visitor) -> tuple[pyotp.TOTP, list[str]]:
    enrolment = await visitor.post("auth/totp", password=PASSWORD)
    assert enrolment.status_code == 201, enrolment.text
    totp = pyotp.TOTP(enrolment.json()["secret"])
    confirmed = await visitor.post("auth/totp/confirm", code=totp.at(time.time() - 30))
    assert confirmed.status_code == 200, confirmed.text
    return totp, confirmed.json()["recovery_codes"]


async def first_step(visitor: Visitor) -> str:
    answer = await visitor.log_in("anna@example.net")
    assert set(answer.json()) == {"second_step_token", "passkey"}
    return str(answer.json()["second_step_token"])


async def test_with_an_authenticator_a_log_in_takes_a_code_that_counts_once(anna: Visitor) -> None:
    totp, _ = await with_authenticator(anna)
    code, token = totp.now(), await first_step(anna)
    problem(await anna.post("auth/login/second-step", token=token, code="000000"), 422, "invalid-input")
    answer = await anna.post("auth/login/second-step", token=token, code=code)
    assert answer.status_code == 200
    anna.bear(answer.json())
    assert [each["second_factor"] for each in (await anna.get("auth/sessions")).json()["items"]] == [True, False]
    again = await anna.post("auth/login/second-step", token=await first_step(anna), code=code)
    problem(again, 422, "invalid-input")
    problem(await anna.post("auth/login/second-step", token=token, code=totp.now()), 401, "unauthenticated")


async def test_of_two_that_show_one_code_at_once_one_gets_in(anna: Visitor) -> None:
    _, recovery = await with_authenticator(anna)
    token = await first_step(anna)
    tries = (anna.post("auth/login/second-step", token=token, code=recovery[0]) for _ in range(3))
    answers = await asyncio.gather(*tries)
    assert [each.status_code for each in answers].count(200) == 1


async def test_a_recovery_code_stands_for_the_authenticator_once(anna: Visitor) -> None:
    _, recovery = await with_authenticator(anna)
    assert len(set(recovery)) == 10
    used = await anna.post("auth/login/second-step", token=await first_step(anna), code=recovery[0].upper())
    assert used.status_code == 200
    again = await anna.post("auth/login/second-step", token=await first_step(anna), code=recovery[0])
    problem(again, 422, "invalid-input")
    other = await anna.post("auth/login/second-step", token=await first_step(anna), code=recovery[1])
    assert other.status_code == 200


async def test_an_authenticator_that_was_not_confirmed_is_asked_for_nothing(anna: Visitor) -> None:
    await anna.post("auth/totp", password=PASSWORD)
    problem(await anna.post("auth/totp/confirm", code="000000"), 422, "invalid-input")
    assert "access_token" in (await anna.log_in("anna@example.net")).json()


async def test_taking_up_and_taking_away_need_the_password(anna: Visitor) -> None:
    problem(await anna.post("auth/totp", password="wrong"), 401, "unauthenticated")
    await with_authenticator(anna)
    problem(await anna.post("auth/totp", password=PASSWORD), 409, "conflict")
    problem(await anna.post("auth/totp/disable", password="wrong"), 401, "unauthenticated")
    assert (await anna.get("auth/me")).json()["second_factor"]
    assert (await anna.post("auth/totp/disable", password=PASSWORD)).status_code == 204
    assert "access_token" in (await anna.log_in("anna@example.net")).json()


async def test_guessing_codes_ends_in_waiting_however_often_the_log_in_begins_anew(anna: Visitor) -> None:
    await with_authenticator(anna)
    # The code that confirmed it was an attempt as well.
    for _ in range(3):
        token = await first_step(anna)
        for _ in range(3):
            problem(await anna.post("auth/login/second-step", token=token, code="000000"), 422, "invalid-input")
    problem(await anna.post("auth/login/second-step", token=token, code="000000"), 429, "too-many-requests")


async def test_the_secret_is_sealed_and_recovery_codes_are_hashes(anna: Visitor, database: FreshDatabase) -> None:
    totp, recovery = await with_authenticator(anna)
    with psycopg.connect(database.url(OWNER)) as owner:
        [sealed] = owner.execute("SELECT secret_sealed FROM totp_secrets").fetchone() or [b""]
        kept = [bytes(row[0]) for row in owner.execute("SELECT code_sha256 FROM recovery_codes")]
    assert totp.secret.encode() not in bytes(sealed)
    assert not any(code.encode() in each for code in recovery for each in kept)


@pytest.mark.parametrize("code", ["12345", "1234567", "٠١٢٣٤٥", "abc", "' OR 1"])
async def test_what_is_no_code_is_refused(anna: Visitor, code: str) -> None:
    problem(await anna.post("auth/login/second-step", token="a" * 52, code=code), 422, "invalid-input")
