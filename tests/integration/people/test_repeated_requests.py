"""Requests to /auth that come again under an Idempotency-Key."""

import asyncio
from typing import Any

import httpx
import psycopg
import pytest

from control_plane.embedded.postgres import OWNER
from control_plane.errors import Unavailable
from control_plane.messages.forget_keys import forget_old_keys
from control_plane.people import sign_up
from db.session import Database
from tests.integration.database import FreshDatabase
from tests.integration.held import Held
from tests.integration.people.visitor import PASSWORD, Visitor, code_of, invited
from tests.integration.rest import pointers, problem

NEW = "an entirely new password"
KEY = "one-2026-11-22"
CAROL = {"email": "carol@example.net", "password": PASSWORD, "name": "Carol", "tenant_name": "Fish"}
CHANGE = {"current_password": PASSWORD, "password": NEW}


async def ask(visitor: Visitor, path: str, body: dict[str, Any] | None = None, *, key: str = KEY) -> httpx.Response:
    return await visitor.client.post(f"auth/{path}", json=body, headers={"Idempotency-Key": key})


def is_replayed(answer: httpx.Response, first: httpx.Response) -> bool:
    told = "idempotency-replayed"
    assert told not in first.headers
    return (answer.headers.get(told), answer.status_code, answer.content) == ("true", first.status_code, first.content)


def kept(database: FreshDatabase) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.url(OWNER)) as owner:
        return owner.execute("SELECT status, body, headers, place, request_hmac FROM kept_answers_to_people").fetchall()


async def test_what_somebody_did_is_done_once_and_answered_alike(anna: Visitor) -> None:
    first = await ask(anna, "password/change", CHANGE)
    assert first.status_code == 204
    # By now the present password is another.
    assert is_replayed(await ask(anna, "password/change", CHANGE), first)
    assert [letter["Subject"] for letter in anna.letters(anna.email)].count("Your password was changed") == 1


async def test_an_answer_with_content_comes_again_as_it_was(anna: Visitor, bob: Visitor) -> None:
    body = {"token": await invited(anna, bob.email, "member")}
    first = await ask(bob, "invitations/accept", body)
    assert first.status_code == 200
    assert is_replayed(await ask(bob, "invitations/accept", body), first)


async def test_signing_up_is_done_once(visitor: Visitor) -> None:
    first = await ask(visitor, "sign-up", CAROL)
    assert first.status_code == 202
    assert is_replayed(await ask(visitor, "sign-up", CAROL), first)
    [letter] = visitor.letters("carol@example.net")
    body = {"token": code_of(letter)}
    first = await ask(visitor, "verify-email", body)
    assert first.status_code == 201
    assert is_replayed(await ask(visitor, "verify-email", body), first)


async def test_a_letter_is_asked_for_once_and_a_password_reset_once(anna: Visitor) -> None:
    body = {"email": anna.email}
    first = await ask(anna, "password/forgot", body)
    code, count = anna.code(anna.email), len(anna.letters(anna.email))
    assert is_replayed(await ask(anna, "password/forgot", body), first)
    assert len(anna.letters(anna.email)) == count
    first = await ask(anna, "password/reset", {"token": code, "password": NEW})
    assert first.status_code == 204
    assert is_replayed(await ask(anna, "password/reset", {"token": code, "password": NEW}), first)


async def test_tokens_are_not_given_again_and_no_second_session_begins(
    anna: Visitor, visitor: Visitor, database: FreshDatabase
) -> None:
    body = {"email": anna.email, "password": PASSWORD}
    tokens = (await ask(visitor, "login", body)).json()
    problem(await ask(visitor, "login", body), 409, "answer-shown-once")
    assert len((await anna.get("auth/sessions")).json()["items"]) == 2
    [(status, content, *written)] = kept(database)
    assert (status, content) == (200, None)
    secrets = (KEY, PASSWORD, anna.email, tokens["access_token"], tokens["refresh_token"])
    assert not [each for each in secrets if each in str(written)]


@pytest.mark.parametrize("path", ["totp", "passkeys:begin", "switch"])
async def test_secrets_and_challenges_are_not_given_again(anna: Visitor, database: FreshDatabase, path: str) -> None:
    body = {"tenant_id": anna.tokens["tenant_id"]} if path == "switch" else {"password": PASSWORD}
    assert (await ask(anna, path, body)).status_code in {200, 201}
    problem(await ask(anna, path, body), 409, "answer-shown-once")
    assert [content for _, content, *_ in kept(database)] == [None]


async def test_nothing_of_what_opens_an_account_is_kept(anna: Visitor, database: FreshDatabase) -> None:
    """Whatever is answered with no-store, of which the others are told."""
    await ask(anna, "password/change", CHANGE)
    await ask(anna, "password/forgot", {"email": anna.email})
    assert (await ask(anna, "totp", {"password": NEW}, key="another")).status_code == 201
    secrets = [KEY, PASSWORD, NEW, anna.email, anna.code(anna.email)]
    assert len(kept(database)) == 3
    assert not [each for each in secrets if each in str(kept(database))]


async def test_a_refresh_token_that_comes_twice_ends_its_session_under_a_key_too(
    anna: Visitor, database: FreshDatabase
) -> None:
    body = {"refresh_token": anna.tokens["refresh_token"]}
    assert (await ask(anna, "refresh", body)).status_code == 200
    problem(await ask(anna, "refresh", body), 401, "unauthenticated")
    problem(await anna.get("auth/me"), 401, "unauthenticated")
    assert kept(database) == []


async def test_who_has_logged_out_is_nobody_when_they_ask_again(anna: Visitor) -> None:
    assert (await ask(anna, "logout")).status_code == 204
    problem(await ask(anna, "logout"), 401, "unauthenticated")


async def test_strangers_with_the_same_key_do_not_meet(visitor: Visitor, bob: Visitor, database: FreshDatabase) -> None:
    first = await ask(visitor, "sign-up", CAROL)
    other = await ask(bob, "sign-up", {**CAROL, "email": "dora@example.net"})
    assert [each.status_code for each in (first, other)] == [202, 202]
    assert "idempotency-replayed" not in other.headers
    assert len(visitor.letters("dora@example.net")) == 1
    challenges = [(await ask(each, "login/passkey:begin")).json()["options"]["challenge"] for each in (visitor, bob)]
    assert challenges[0] != challenges[1]
    # Of the one who asks for any passkey nothing is known by which the two could be told apart.
    assert len(kept(database)) == 2


async def test_the_same_key_at_another_door_of_a_stranger_is_another_request(visitor: Visitor) -> None:
    body = {"email": "nobody@example.net"}
    assert (await ask(visitor, "password/forgot", body)).status_code == 202
    problem(await ask(visitor, "password/reset", {"token": "a" * 52, "password": NEW}), 422, "invalid-input")


async def test_somebody_who_asks_for_something_else_under_the_key_is_refused(anna: Visitor) -> None:
    assert (await ask(anna, "password/change", CHANGE)).status_code == 204
    other = {**CHANGE, "password": "yet another password"}
    problem(await ask(anna, "password/change", other), 422, "idempotency-key-reused")
    problem(await ask(anna, "logout"), 422, "idempotency-key-reused")
    assert (await anna.get("auth/me")).status_code == 200


async def test_people_and_sessions_do_not_share_keys(anna: Visitor, bob: Visitor) -> None:
    assert (await ask(anna, "password/change", CHANGE)).status_code == 204
    answer = await ask(bob, "password/change", CHANGE)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (204, False)
    await anna.log_in(anna.email, NEW)
    back = {"current_password": NEW, "password": PASSWORD}
    answer = await ask(anna, "password/change", back)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (204, False)


async def test_while_the_first_is_worked_on_the_second_is_told_to_ask_again(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(sign_up.ask)
    monkeypatch.setattr(sign_up, "ask", held)
    first = asyncio.create_task(ask(visitor, "sign-up", CAROL))
    await held.begun.wait()
    told = await ask(visitor, "sign-up", CAROL)
    held.go.set()
    problem(told, 409, "request-in-flight")
    assert int(told.headers["retry-after"]) > 0
    answered = await first
    assert is_replayed(await ask(visitor, "sign-up", CAROL), answered)
    assert len(visitor.letters("carol@example.net")) == 1


async def test_a_request_that_comes_to_nothing_when_it_counted_as_lost_leaves_its_successors_answer(
    visitor: Visitor, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise Unavailable("late")

    ask_of_ours, held = sign_up.ask, Held(fail)
    monkeypatch.setattr(sign_up, "ask", held)
    lost = asyncio.create_task(ask(visitor, "sign-up", CAROL))
    await held.begun.wait()
    with psycopg.connect(database.url(OWNER)) as owner:
        owner.execute("UPDATE kept_answers_to_people SET created_at = now() - interval '6 minutes'")
    monkeypatch.setattr(sign_up, "ask", ask_of_ours)
    first = await ask(visitor, "sign-up", CAROL)
    held.go.set()
    problem(await lost, 503, "unavailable")
    assert is_replayed(await ask(visitor, "sign-up", CAROL), first)
    assert len(visitor.letters("carol@example.net")) == 1


async def test_what_failed_is_not_kept(anna: Visitor, visitor: Visitor, database: FreshDatabase) -> None:
    body = {"email": anna.email, "password": "not the password"}
    for _ in range(2):
        problem(await ask(visitor, "login", body), 401, "unauthenticated")
    problem(await ask(visitor, "verify-email", {"token": "a" * 52}), 422, "invalid-input")
    problem(await ask(anna, "password/change", {**CHANGE, "current_password": "wrong"}), 401, "unauthenticated")
    problem(await ask(anna, "password/change", {}), 422, "invalid-input")
    assert kept(database) == []
    assert [each["kind"] for each in (await anna.get("auth/events")).json()["items"]].count("log-in-failed") == 3
    assert (await ask(anna, "password/change", CHANGE)).status_code == 204


async def test_a_password_that_is_tried_as_a_repeated_log_in_is_counted_like_any(
    anna: Visitor, visitor: Visitor
) -> None:
    right, wrong = ({"email": anna.email, "password": each} for each in (PASSWORD, "not the password"))
    assert (await ask(visitor, "login", right)).status_code == 200
    # Of the ten of an hour two are used: there was one when the account was made.
    answers = [await ask(visitor, "login", right if n == 0 else wrong) for n in range(8)]
    assert [each.status_code for each in answers] == [409, *(401 for _ in range(7))]
    for body in (right, wrong):
        problem(await ask(visitor, "login", body), 429, "too-many-requests")


async def test_a_password_that_is_tried_beside_a_code_that_is_spent_is_counted(anna: Visitor, visitor: Visitor) -> None:
    await visitor.client.post("auth/password/forgot", json={"email": anna.email})
    body = {"token": anna.code(anna.email), "password": NEW}
    assert (await ask(visitor, "password/reset", body)).status_code == 204
    tried = [await ask(visitor, "password/reset", {**body, "password": f"a guess of words {n}"}) for n in range(9)]
    assert {each.status_code for each in tried} == {422}
    problem(await ask(visitor, "password/reset", body), 429, "too-many-requests")


async def test_a_password_that_is_tried_in_another_body_under_a_key_is_counted(anna: Visitor) -> None:
    assert (await ask(anna, "password/change", CHANGE)).status_code == 204
    tried = [await ask(anna, "password/change", {**CHANGE, "current_password": f"guess {n}"}) for n in range(10)]
    assert {each.status_code for each in tried} == {422}
    for body in (CHANGE, {**CHANGE, "current_password": "another guess"}):
        problem(await ask(anna, "password/change", body), 429, "too-many-requests")


async def test_whether_there_is_an_account_is_told_by_no_repeated_request(anna: Visitor, visitor: Visitor) -> None:
    answers = []
    for email in (anna.email, "nobody@example.net"):
        body = {**CAROL, "email": email}
        asked = [await ask(visitor, "sign-up", body), await ask(visitor, "sign-up", body)]
        asked += [await ask(visitor, "password/forgot", {"email": email}) for _ in range(2)]
        answers.append([(each.status_code, each.content, each.headers.get("idempotency-replayed")) for each in asked])
    assert answers[0] == answers[1]


async def test_after_a_day_a_request_is_another(
    anna: Visitor, database: FreshDatabase, system_database: Database
) -> None:
    assert (await ask(anna, "password/change", CHANGE)).status_code == 204
    assert await forget_old_keys(system_database) == 0
    with psycopg.connect(database.url(OWNER)) as owner:
        owner.execute("UPDATE kept_answers_to_people SET created_at = now() - interval '25 hours'")
    assert await forget_old_keys(system_database) == 1
    assert kept(database) == []
    problem(await ask(anna, "password/change", CHANGE), 401, "unauthenticated")


async def test_a_key_that_is_none_is_refused_before_anything_is_done(visitor: Visitor) -> None:
    for key in ("", "a" * 256, "with space"):
        answer = await visitor.client.post("auth/sign-up", json=CAROL, headers={"Idempotency-Key": key})
        assert pointers(problem(answer, 422, "invalid-input")) == ["header/idempotency-key"]
    assert visitor.letters("carol@example.net") == []
