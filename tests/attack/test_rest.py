"""Whatever the tenants' door offers, to whomever: another tenant's ids are as those that nobody has."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from control_plane.clock import utc_now
from control_plane.embedded.postgres import EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.rest.access import Open
from control_plane.rest.cursors import Listing
from control_plane.rest.pages import in_time
from control_plane.tenancy.permissions import ROLES, Permission, Role
from tests.attack.attacking import Attack, attacking
from tests.attack.door import PASSWORD, PREFIX, Caller, callers_with_keys
from tests.attack.kinds import id_of
from tests.attack.operations import Operation
from tests.attack.rows import Rows
from tests.attack.sql_attacks import traces
from tests.attack.walk import body_cases, judge, path_cases, query_cases

NO_SUCH = (404,)

#: Lists whose places have a moment.
BY_TIME = {"/vps/{vps_id}/runs", "/vps/{vps_id}/mail-backups", "/auth/sessions", "/auth/passkeys"}
#: What asks servers and name servers, of which there are none; the cursor of the logs is a server's journal's.
NOT_SHOWN = {"GET /vps/{vps_id}/logs", "GET /vps/{vps_id}/mail-backups", "GET /inboxes/{inbox_id}/dns-records/plan"}
#: Nobody makes somebody what they are not: by one permission alone, nobody anything.
MORE_THAN_ONE_PERMISSION = {"PATCH /members/{member_id}"}


@pytest.fixture(scope="module")
async def attack(
    cluster: EmbeddedPostgres, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Attack]:
    async with attacking(cluster, redis_server, tmp_path_factory.mktemp("state"), "penguin_api") as made:
        yield made


async def test_ones_own_ids_open_what_shows_them(attack: Attack) -> None:
    """The rows are such as the product works with, and the ids of the kinds that the paths mean."""
    attacker, unopened = attack.door.ground.attacker, []
    for operation in attack.tenants:
        if operation.method == "GET" and str(operation) not in NOT_SHOWN:
            own = {name: id_of(attacker, name) for name in operation.names}
            answer = await attack.door.ask(attack.caller_for(operation), operation, own)
            unopened += [] if answer.status == 200 else [f"{operation}: {answer.status} {answer.text[:300]}"]
    assert unopened == []


@pytest.mark.parametrize("wrong_kinds", [False, True], ids=["of the kind", "of all kinds"])
async def test_ids_in_paths(attack: Attack, *, wrong_kinds: bool) -> None:
    ground, theirs = attack.door.ground, attack.theirs
    cases = [
        case
        for operation in attack.tenants
        for case in path_cases(operation, ground.attacker, ground.victim, theirs if wrong_kinds else ())
    ]
    assert await attack.findings(cases, NO_SUCH) == []


async def test_ids_in_bodies(attack: Attack) -> None:
    ground, theirs = attack.door.ground, attack.theirs
    cases = [case for each in attack.tenants for case in body_cases(each, ground.attacker, ground.victim, theirs)]
    assert len(cases) > 100
    assert await attack.findings_of_ids(cases) == []


async def test_ids_in_filters_and_cursors(attack: Attack) -> None:
    ground, theirs = attack.door.ground, attack.theirs
    cases = [
        case
        for each in attack.tenants
        if str(each) not in NOT_SHOWN
        for case in query_cases(each, ground.attacker, theirs)
    ]
    assert len(cases) > 100
    assert await attack.findings_of_ids(cases) == []


async def test_cursors_lead_on_in_their_own_list_alone(attack: Attack) -> None:
    """One of another tenant's, of another list, or of the same with other filters, is none."""
    ground, found, cursors = attack.door.ground, list[str](), attack.door.app.state.cursors
    listed = [each for each in attack.tenants if "after" in each.queries]
    assert len(listed) > 15
    for operation in listed:
        own, theirs = (
            operation.filled({name: id_of(rows, name) for name in operation.names})
            for rows in (ground.attacker, ground.victim)
        )
        mine, yours = (_whose(rows, operation) for rows in (ground.attacker, ground.victim))
        place = _place(ground.victim, operation)
        lists: dict[str, list[object]] = {
            "another tenant's": [yours, f"{PREFIX}{own}", []],
            "another tenant's, of its own": [yours, f"{PREFIX}{theirs}", []],
            "of another list": [mine, f"{PREFIX}{own}/elsewhere", []],
            "of the same list by a filter": [mine, f"{PREFIX}{own}", [["state", "sent"]]],
            "own": [mine, f"{PREFIX}{own}", []],
        }
        for whose, names in lists.items():
            if whose == "own" and str(operation) in NOT_SHOWN:
                continue
            query = {"after": str(Listing.named(cursors, names, "").cursor(place))}
            path = {name: id_of(ground.attacker, name) for name in operation.names}
            answer = await attack.door.ask(attack.caller_for(operation), operation, path, query=query)
            expected = (200, "") if whose == "own" else (400, "/problems/invalid-cursor")
            if answer.status != expected[0] or expected[1] not in answer.text:
                found.append(f"{operation} answers a cursor {whose} with {answer.status} {answer.text[:200]}")
    assert found == []


def _place(rows: Rows, operation: Operation) -> object:
    """Return a place such as the list has."""
    thing = id_of(rows, "after")
    by_time = dict.fromkeys(BY_TIME, in_time(utc_now(), thing))
    return {"/audit": 1, "/fleet/health": "3 mx-1.penguin.example", **by_time}.get(operation.path, thing)


def _whose(rows: Rows, operation: Operation) -> str:
    """Return whose list it is: a person's own are above tenants."""
    return str(rows.values["people", "id"] if operation.opens_to == Open.PERSON.value else rows.id)


async def test_lists_show_ones_own(attack: Attack) -> None:
    """What takes no id is asked as it is: nothing in the answer is another tenant's."""
    ground, found = attack.door.ground, list[str]()
    for operation in attack.tenants:
        if operation.method == "GET" and str(operation) not in NOT_SHOWN:
            own = {name: id_of(ground.attacker, name) for name in operation.names}
            answer = await attack.door.ask(attack.caller_for(operation), operation, own)
            for rows in (ground.victim, ground.bystander):
                found += [f"{operation} shows {trace}" for trace in traces(rows, (answer.text, answer.headers))]
    assert found == []


async def test_ids_in_paths_by_a_key_of_each_scope(attack: Attack) -> None:
    ground = attack.door.ground
    found = []
    for caller in await callers_with_keys(attack.database, ground.attacker):
        for operation in attack.tenants:
            for case in path_cases(operation, ground.attacker, ground.victim):
                expected = _statuses_for(caller, operation)
                found += [finding async for finding in judge(attack.door, caller, case, expected)]
    assert found == []


def _statuses_for(caller: Caller, operation: Operation) -> tuple[int, ...]:
    if operation.opens_to == Open.PERSON.value:
        return (404,) if caller.is_person else (401,)
    if Permission(operation.opens_to) not in caller.permissions:
        return (403,)
    return (404, 403) if str(operation) in MORE_THAN_ONE_PERMISSION else (404,)


@pytest.mark.parametrize("role", Role)
async def test_ids_in_paths_by_a_person_of_each_role(attack: Attack, role: Role) -> None:
    ground = attack.door.ground
    caller = replace(await attack.door.person(ground.attacker), permissions=ROLES[role], name=role.value)
    async with attack.database.system() as session:
        give = text("UPDATE memberships SET role = :role WHERE tenant_id = :tenant")
        await session.execute(give, {"role": role.value, "tenant": ground.attacker.id})
    found = []
    for operation in attack.tenants:
        expected = _statuses_for(caller, operation)
        for case in path_cases(operation, ground.attacker, ground.victim):
            found += [finding async for finding in judge(attack.door, caller, case, expected)]
    assert found == []


async def test_whoever_is_refused_is_refused_everything(attack: Attack) -> None:
    ground, found = attack.door.ground, list[str]()
    intruder = replace(await attack.door.person(ground.attacker, ground.victim.id), name="no member of the tenant")
    callers = [*await attack.door.refused(attack.database), intruder]
    for caller in callers:
        for operation in attack.tenants:
            if caller is intruder and operation.opens_to == Open.PERSON.value:
                continue
            theirs = {name: id_of(ground.victim, name) for name in operation.names}
            answer = await attack.door.ask(caller, operation, theirs, body=operation.body)
            if answer.status != (403 if caller is intruder else 401):
                found.append(f"{operation} answers {caller.name} with {answer.status} {answer.text[:300]}")
            found += [
                f"{operation} shows {trace}" for trace in traces(ground.victim, answer.text) if trace not in theirs
            ]
    assert found == []


@pytest.mark.parametrize("headers", [{"If-Match": "*"}, {"If-None-Match": "*"}])
async def test_ids_in_paths_with_conditions(attack: Attack, headers: dict[str, str]) -> None:
    ground = attack.door.ground
    cases = [case for operation in attack.tenants for case in path_cases(operation, ground.attacker, ground.victim)]
    # 412: what has no ETag, whoever's it is.
    assert await attack.findings(cases, (*NO_SUCH, 412), headers) == []


async def test_the_key_of_another_tenants_request_is_ones_own_to_use(attack: Attack) -> None:
    ground = attack.door.ground
    operation = next(each for each in attack.door.operations if str(each) == "POST /webhooks")
    key = str(ground.victim.values["kept_answers", "key"])
    answer = await attack.door.ask(
        attack.owner, operation, {}, body=operation.body, headers={"Idempotency-Key": key.replace(" ", "-")}
    )
    assert answer.status == 201
    assert "idempotency-replayed" not in dict(answer.headers)


#: A passkey's answer by its form: what it says is no JSON.
ANSWERED = {
    "id": "aaaa",
    "rawId": "aaaa",
    "type": "public-key",
    "response": {"clientDataJSON": "aaaa", "authenticatorData": "aaaa", "signature": "aaaa"},
}
#: Random, for each who asks.
CHALLENGE = re.compile(r'"challenge":"[\w-]{43}"')
#: What each operation that is open to anybody is asked, with a person's address and with one that nobody has: the
#: answers must be the same. Tokens are secrets of 256 bits, and a wrong one is a wrong one.
OPEN_TO_ANYBODY: dict[str, dict[str, object] | None] = {
    "POST /auth/login": {"email": None, "password": "not their password"},
    "POST /auth/login/second-step": {"token": "a" * 52, "code": "123456"},
    "POST /auth/login/passkey:begin": None,
    "POST /auth/login/passkey:finish": {"credential": ANSWERED},
    "POST /auth/login/second-step/passkey:begin": {"token": "a" * 52},
    "POST /auth/login/second-step/passkey:finish": {"token": "a" * 52, "credential": ANSWERED},
    "GET /auth/oidc/{issuer}": None,
    "GET /auth/oidc/{issuer}/callback": None,
    "POST /auth/refresh": {"refresh_token": "a" * 52},
    "POST /auth/sign-up": {"email": None, "password": PASSWORD, "name": "Anna", "tenant_name": "Penguin Post"},
    "POST /auth/verify-email": {"token": "a" * 52},
    "POST /auth/password/forgot": {"email": None},
    "POST /auth/password/reset": {"token": "a" * 52, "password": PASSWORD},
    "GET /auth/jwks.json": None,
}


async def test_what_is_open_to_anybody_does_not_tell_who_is_there(attack: Attack) -> None:
    ground, nobody, found = attack.door.ground, Caller("nobody", None), list[str]()
    for operation in attack.door.operations:
        if operation.opens_to != Open.ANYBODY.value:
            continue
        assert str(operation) in OPEN_TO_ANYBODY, f"{operation} is open to anybody: say how it is attacked"
        answers = []
        for email in (ground.victim.values["people", "email"], "nobody@nobodys.example"):
            body = OPEN_TO_ANYBODY[str(operation)]
            filled = body if body is None else {name: email if given is None else given for name, given in body.items()}
            answer = await attack.door.ask(nobody, operation, dict.fromkeys(operation.names, "none"), body=filled)
            plain = replace(answer.without(email), statements=())
            answers.append(replace(plain, text=CHALLENGE.sub("", plain.text)))
        found += [f"{operation} tells who is there: {answers}"] if answers[0] != answers[1] else []
        found += [f"{operation} shows {trace}" for trace in traces(ground.victim, answers)]
        found += [f"{operation} answers {answers[0]}"] if answers[0].status not in {200, 202, 401, 404, 422} else []
    assert found == []


async def test_each_operation_is_attacked_or_open_to_anybody(attack: Attack) -> None:
    """An operation without a case fails: a new one is attacked by what it says it takes."""
    ground, theirs = attack.door.ground, attack.theirs
    for operation in attack.tenants:
        cases = [
            *path_cases(operation, ground.attacker, ground.victim),
            *body_cases(operation, ground.attacker, ground.victim, theirs),
            *query_cases(operation, ground.attacker, theirs),
        ]
        # What takes no id at all is asked by those who are refused, and where it shows something, as a list.
        takes_ids = bool(operation.names or operation.places or operation.queries)
        assert bool(cases) == takes_ids, operation
    documented = {str(each) for each in attack.door.operations if each.opens_to == Open.ANYBODY.value}
    assert documented == set(OPEN_TO_ANYBODY)
