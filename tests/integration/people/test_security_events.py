"""What people see of what happened to their accounts."""

import psycopg
from fastapi import FastAPI

from control_plane.embedded.postgres import OWNER
from control_plane.people.log_in import failed
from control_plane.people.origins import Origin
from control_plane.people.security_events import MOST_FAILED
from tests.integration.database import FreshDatabase
from tests.integration.people.test_passkeys import with_passkey
from tests.integration.people.test_second_factor import with_authenticator
from tests.integration.people.visitor import PASSWORD, Visitor
from tests.integration.rest import problem

WRONG = "not the password"


async def seen(visitor: Visitor) -> list[str]:
    """Return what happened, newest first."""
    return [each["kind"] for each in (await visitor.get("auth/events")).json()["items"]]


async def test_log_ins_and_those_that_failed_are_seen_with_where_they_came_from(anna: Visitor, bob: Visitor) -> None:
    anna.client.headers["user-agent"] = "curl/8"
    await anna.post("auth/login", email=anna.email, password=WRONG)
    await anna.log_in(anna.email)
    assert await seen(anna) == ["logged-in", "log-in-failed", "logged-in"]
    newest, failed, _ = (await anna.get("auth/events")).json()["items"]
    assert (newest["session_id"], newest["user_agent"]) == (anna.tokens["session_id"], "curl/8")
    assert (failed["session_id"], failed["address"]) == (None, newest["address"])
    assert await seen(bob) == ["logged-in"]


async def test_nothing_is_written_of_an_address_that_nobody_has(anna: Visitor, database: FreshDatabase) -> None:
    problem(await anna.post("auth/login", email="nobody@example.net", password=WRONG), 401, "unauthenticated")
    with psycopg.connect(database.url(OWNER)) as owner:
        assert owner.execute("SELECT kind FROM security_events").fetchall() == [("logged-in",)]


async def test_many_failed_log_ins_are_not_all_written_down(people_app: FastAPI, anna: Visitor) -> None:
    people = people_app.state.parts.people
    for _ in range(MOST_FAILED + 5):
        await failed(people, anna.email, Origin(None, ""))
    assert (await seen(anna)).count("log-in-failed") == MOST_FAILED


async def test_ends_of_sessions_are_seen(anna: Visitor) -> None:
    first = anna.tokens
    await anna.log_in(anna.email)
    assert (await anna.client.delete(f"auth/sessions/{first['session_id']}")).status_code == 204
    assert await seen(anna) == ["session-revoked", "logged-in", "logged-in"]
    await anna.post("auth/logout")
    await anna.log_in(anna.email)
    assert await seen(anna) == ["logged-in", "logged-out", "session-revoked", "logged-in", "logged-in"]


async def test_a_refresh_token_that_comes_twice_is_seen_once(anna: Visitor) -> None:
    used = anna.tokens["refresh_token"]
    await anna.refresh()
    for _ in range(2):
        problem(await anna.post("auth/refresh", refresh_token=used), 401, "unauthenticated")
    await anna.log_in(anna.email)
    assert await seen(anna) == ["logged-in", "refresh-token-reused", "logged-in"]


async def test_changes_of_what_opens_the_account_are_seen(anna: Visitor) -> None:
    totp, codes = await with_authenticator(anna)
    step = (await anna.post("auth/login", email=anna.email, password=PASSWORD)).json()["second_step_token"]
    wrong = str((int(totp.now()) + 1) % 1_000_000).zfill(6)
    problem(await anna.post("auth/login/second-step", token=step, code=wrong), 422, "invalid-input")
    anna.bear((await anna.post("auth/login/second-step", token=step, code=codes[0])).json())
    assert (await anna.post("auth/totp/disable", password=PASSWORD)).status_code == 204
    assert (await anna.post("auth/password/change", current_password=PASSWORD, password=WRONG)).status_code == 204
    assert await seen(anna) == [
        *("password-changed", "authenticator-removed", "logged-in", "recovery-code-used", "second-step-failed"),
        *("authenticator-added", "logged-in"),
    ]


async def test_passkeys_that_come_and_go_are_seen_by_name(anna: Visitor) -> None:
    _, made = await with_passkey(anna)
    assert (await anna.post(f"auth/passkeys/{made['id']}/remove", password=PASSWORD)).status_code == 204
    events = (await anna.get("auth/events")).json()["items"]
    assert [(each["kind"], each["about"]) for each in events[:2]] == [
        ("passkey-removed", made["name"]),
        ("passkey-added", made["name"]),
    ]


async def test_what_happened_is_listed_in_pages(anna: Visitor, bob: Visitor) -> None:
    for _ in range(2):
        await anna.log_in(anna.email)
    page = (await anna.get("auth/events?limit=2")).json()
    rest = (await anna.get(f"auth/events?limit=2&after={page['next']}")).json()
    assert ([each["kind"] for each in rest["items"]], rest["next"]) == (["logged-in"], None)
    problem(await bob.get(f"auth/events?after={page['next']}"), 400, "invalid-cursor")


async def test_an_api_key_has_no_account(anna: Visitor) -> None:
    key = (await anna.post("api-keys", name="k", role="admin")).json()["key"]
    answer = await anna.client.get("auth/events", headers={"Authorization": f"Bearer {key}"})
    problem(answer, 401, "unauthenticated")
