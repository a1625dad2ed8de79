import psycopg
import pytest
from fastapi import FastAPI

from control_plane.embedded.postgres import OWNER
from control_plane.rest.app import make_app
from control_plane.settings import Settings
from tests.fakes.submission_server import SubmissionServer
from tests.integration.database import FreshDatabase
from tests.integration.people.visitor import PASSWORD, Visitor, make_person
from tests.integration.rest import client_of, problem


async def test_nobody_is_a_person_before_the_letter_is_answered(visitor: Visitor) -> None:
    assert (await visitor.sign_up("Anna@Example.NET")).status_code == 202
    problem(await visitor.log_in("anna@example.net"), 401, "unauthenticated")
    answer = await visitor.post("auth/verify-email", token=visitor.code("anna@example.net"))
    assert answer.status_code == 201
    assert (await visitor.log_in("ANNA@example.net")).json()["tenant_id"] == answer.json()["tenant_id"]


async def test_a_new_person_owns_a_tenant_with_a_workspace(visitor: Visitor, database: FreshDatabase) -> None:
    await make_person(visitor, "anna@example.net", tenant_name="Walrus Mail")
    me = (await visitor.get("auth/me")).json()
    assert [(each["name"], each["role"]) for each in me["tenants"]] == [("Walrus Mail", "owner")]
    with psycopg.connect(database.url(OWNER)) as owner:
        [(workspace, tenant)] = owner.execute("SELECT id, tenant_id FROM workspaces").fetchall()
    assert str(tenant) == me["tenant_id"]
    assert (await visitor.get(f"workspaces/{workspace}/inboxes")).status_code == 200


async def test_a_known_address_gets_the_same_answer_and_another_letter(visitor: Visitor) -> None:
    first = await visitor.sign_up("anna@example.net")
    await visitor.post("auth/verify-email", token=visitor.code("anna@example.net"))
    again = await visitor.sign_up("anna@example.net", password="another password of hers")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert visitor.letters("anna@example.net")[-1]["Subject"] == "You have an account already"
    assert (await visitor.log_in("anna@example.net")).status_code == 200


async def test_a_code_is_good_once_and_the_last_letter_alone_counts(visitor: Visitor) -> None:
    await visitor.sign_up("anna@example.net")
    first = visitor.code("anna@example.net")
    await visitor.sign_up("anna@example.net")
    problem(await visitor.post("auth/verify-email", token=first), 422, "invalid-input")
    second = visitor.code("anna@example.net")
    assert (await visitor.post("auth/verify-email", token=second)).status_code == 201
    problem(await visitor.post("auth/verify-email", token=second), 422, "invalid-input")


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "short"},
        {"email": "anna"},
        {"name": "An\nna"},
        {"tenant_name": ""},
        {"tenant_name": None},
        {"role": "owner"},
        {"email": "anna@example.net\r\nBcc: bob@example.net"},
    ],
)
async def test_what_is_not_right_is_refused_and_nothing_is_sent(
    visitor: Visitor, sink: SubmissionServer, wrong: dict[str, object]
) -> None:
    body: dict[str, object] = {"email": "anna@example.net", "password": PASSWORD, "name": "A", "tenant_name": "P"}
    problem(await visitor.post("auth/sign-up", **(body | wrong)), 422, "invalid-input")
    assert sink.letters == []


async def test_without_a_way_for_letters_sign_up_says_what_to_set(people_settings: Settings) -> None:
    settings = Settings.model_validate(people_settings.model_dump() | {"mail_url": ""})
    app: FastAPI = make_app(settings)
    async with app.router.lifespan_context(app), client_of(app, None) as client:
        body = {"email": "anna@example.net", "password": PASSWORD, "name": "A", "tenant_name": "P"}
        said = problem(await client.post("auth/sign-up", json=body), 503, "unavailable")
    assert "PENGUIN_MAIL_URL" in said["detail"]


async def test_a_letter_that_is_not_taken_is_said_and_can_be_asked_for_again(
    visitor: Visitor, sink: SubmissionServer
) -> None:
    sink.refuses = True
    problem(await visitor.sign_up("anna@example.net"), 503, "unavailable")
    sink.refuses = False
    await make_person(visitor, "anna@example.net")


async def test_no_password_code_or_token_stands_in_a_log(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await make_person(visitor, "anna@example.net")
    secrets = [PASSWORD, visitor.code("anna@example.net"), visitor.tokens["access_token"]]
    assert not any(secret in caplog.text for secret in [*secrets, visitor.tokens["refresh_token"]])
