import asyncio
import statistics
import time

import psycopg
from fastapi import FastAPI
from pydantic import SecretStr

from control_plane.embedded.postgres import OWNER
from control_plane.identity.person_passwords import PersonPasswords
from control_plane.rest.app import make_app
from control_plane.settings import Settings
from tests.integration.database import FreshDatabase
from tests.integration.people.visitor import PASSWORD, Visitor
from tests.integration.rest import client_of, problem

NEW = "an entirely new password"


async def test_a_wrong_password_and_an_unknown_address_are_answered_alike(anna: Visitor) -> None:
    wrong = problem(await anna.log_in("anna@example.net", "not her password"), 401, "unauthenticated")
    unknown = problem(await anna.log_in("nobody@example.net", "not her password"), 401, "unauthenticated")
    assert wrong["detail"] == unknown["detail"]


async def test_a_password_is_compared_with_the_same_effort_where_there_is_nobody() -> None:
    passwords = PersonPasswords()
    kept = await passwords.hash(PASSWORD)
    await passwords.verify(PASSWORD, None)

    async def effort(hashed: str | None) -> float:
        # Of all threads: the work is done in one of them.
        begun = time.process_time()
        await passwords.verify("another", hashed)
        return time.process_time() - begun

    known = [await effort(kept) for _ in range(5)]
    nobody = [await effort(None) for _ in range(5)]
    assert 0.5 < statistics.median(known) / statistics.median(nobody) < 2


async def test_after_ten_attempts_an_account_waits_whatever_the_password(anna: Visitor) -> None:
    answers = [await anna.log_in("anna@example.net", "not her password") for _ in range(9)]
    assert {each.status_code for each in answers} == {401}
    said = await anna.log_in("anna@example.net")
    problem(said, 429, "too-many-requests")
    assert int(said.headers["retry-after"]) > 0
    problem(await anna.log_in("nobody@example.net"), 401, "unauthenticated")


async def test_without_redis_nobody_logs_in_and_who_is_logged_in_goes_on(
    people_settings: Settings, anna: Visitor
) -> None:
    app: FastAPI = make_app(people_settings.model_copy(update={"redis_url": SecretStr("unix:///nowhere.sock")}))
    async with app.router.lifespan_context(app), client_of(app, anna.tokens["access_token"]) as client:
        body = {"email": "anna@example.net", "password": PASSWORD}
        problem(await client.post("auth/login", json=body), 503, "unavailable")
        assert (await client.get("auth/me")).status_code == 200
        assert (await client.get("members")).status_code == 200


async def test_a_forgotten_password_is_set_anew_once_and_all_sessions_end(anna: Visitor) -> None:
    assert (await anna.post("auth/password/forgot", email="anna@example.net")).status_code == 202
    code = anna.code("anna@example.net")
    assert (await anna.post("auth/password/reset", token=code, password=NEW)).status_code == 204
    problem(await anna.get("auth/me"), 401, "unauthenticated")
    problem(await anna.refresh(), 401, "unauthenticated")
    problem(await anna.post("auth/password/reset", token=code, password=NEW), 422, "invalid-input")
    problem(await anna.log_in("anna@example.net"), 401, "unauthenticated")
    assert (await anna.log_in("anna@example.net", NEW)).status_code == 200


async def test_a_password_is_forgotten_alike_where_there_is_nobody(anna: Visitor) -> None:
    answers = [await anna.post("auth/password/forgot", email=f"{name}@example.net") for name in ("anna", "nobody")]
    assert answers[0].json() == answers[1].json()
    assert [each.status_code for each in answers] == [202, 202]
    assert len(anna.letters("anna@example.net")) == 2
    assert anna.letters("nobody@example.net") == []


async def test_a_change_of_password_needs_the_present_one_and_ends_the_other_sessions(
    anna: Visitor, people_app: FastAPI
) -> None:
    async with client_of(people_app, anna.tokens["access_token"]) as first:
        await anna.log_in("anna@example.net")
        wrong = await anna.post("auth/password/change", current_password="no", password=NEW)
        problem(wrong, 401, "unauthenticated")
        assert (await anna.post("auth/password/change", current_password=PASSWORD, password=NEW)).status_code == 204
        problem(await first.get("auth/me"), 401, "unauthenticated")
    assert (await anna.get("auth/me")).status_code == 200


async def test_what_is_kept_opens_nothing(anna: Visitor, database: FreshDatabase) -> None:
    with psycopg.connect(database.url(OWNER)) as owner:
        [kept] = owner.execute("SELECT password_hash FROM people").fetchone() or [""]
        dump = str([owner.execute(f"SELECT * FROM {table}").fetchall() for table in ("refresh_tokens", "sessions")])  # noqa: S608
    assert kept.startswith("$argon2id$")
    assert anna.tokens["refresh_token"] not in dump


async def test_of_two_that_answer_one_letter_at_once_one_becomes_a_person(visitor: Visitor) -> None:
    await visitor.sign_up("anna@example.net")
    code = visitor.code("anna@example.net")
    answers = await asyncio.gather(*(visitor.post("auth/verify-email", token=code) for _ in range(2)))
    assert sorted(each.status_code for each in answers) == [201, 422]
