"""What is made in the very moment its maker loses the right to: it is found and ended, or it is never made."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.identity.api_keys import UNBOUNDED
from control_plane.tenancy.keys import WantedKey, make_key
from control_plane.tenancy.members import Place, change_place, end_membership, invite
from control_plane.tenancy.permissions import ROLES, Role
from control_plane.tenancy.scope import TenantScope
from db.session import Database
from tests.integration.database import until_blocked
from tests.integration.people.test_members import joined
from tests.integration.people.visitor import Visitor
from tests.integration.rest import problem

End = Callable[[AsyncSession, TenantScope, uuid.UUID], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Meeting:
    """Anna, an owner, and Bob, an admin of hers, with the rights that either acts by."""

    anna: Visitor
    bob: Visitor
    member_id: uuid.UUID
    owners: TenantScope
    admins: TenantScope


async def demote(session: AsyncSession, scope: TenantScope, member_id: uuid.UUID) -> None:
    await change_place(session, scope, member_id, Place(Role.READ_ONLY), keep_workspaces=True)


ENDS = pytest.mark.parametrize("end", [end_membership, demote], ids=["removed", "made read-only"])
BY_A_KEY = pytest.mark.parametrize("by_a_key", [False, True], ids=["themselves", "by a key"])


@pytest.fixture
async def meeting(anna: Visitor, bob: Visitor) -> Meeting:
    member_id = await joined(anna, bob, "admin")
    people = {each["email"]: each["person_id"] for each in (await anna.get("members")).json()["items"]}
    tenant_id = uuid.UUID(anna.tokens["tenant_id"])

    def scope(visitor: Visitor, role: Role) -> TenantScope:
        return TenantScope(tenant_id, ROLES[role], f"person {people[visitor.email]}", role=role)

    return Meeting(anna, bob, uuid.UUID(member_id), scope(anna, Role.OWNER), scope(bob, Role.ADMIN))


async def by_key(meeting: Meeting) -> TenantScope:
    """Have Bob go on by a key that he made; return what it may do."""
    made = (await meeting.bob.post("api-keys", name="by bob", role="admin")).json()
    meeting.bob.client.headers["Authorization"] = f"Bearer {made['key']}"
    return TenantScope(meeting.admins.tenant_id, ROLES[Role.ADMIN], f"api-key {made['id']}")


async def ended(meeting: Meeting, end: End) -> httpx.Response:
    """Have Anna do the same by REST."""
    path = f"members/{meeting.member_id}"
    if end is end_membership:
        return await meeting.anna.client.delete(path)
    return await meeting.anna.client.patch(path, json={"role": "read-only"})


@ENDS
@BY_A_KEY
async def test_an_invitation_that_was_being_sent_is_taken_back(
    api_database: Database, meeting: Meeting, visitor: Visitor, end: End, *, by_a_key: bool
) -> None:
    scope = await by_key(meeting) if by_a_key else meeting.admins
    async with api_database.tenant(scope.tenant_id) as sending:
        made = await invite(sending, scope, "eve@example.net", Place(Role.ADMIN), dt.datetime.now(dt.UTC))
        ending = asyncio.create_task(ended(meeting, end))
        await until_blocked(api_database)
    assert (await ending).is_success
    problem(await visitor.sign_up("eve@example.net", invitation=made.token), 404, "not-found")


@ENDS
@BY_A_KEY
async def test_one_that_would_be_sent_next_is_not_made(
    api_database: Database, meeting: Meeting, end: End, *, by_a_key: bool
) -> None:
    if by_a_key:
        await by_key(meeting)
    async with api_database.tenant(meeting.owners.tenant_id) as ending:
        await end(ending, meeting.owners, meeting.member_id)
        sending = asyncio.create_task(meeting.bob.post("invitations", email="eve@example.net", role="admin"))
        await until_blocked(api_database)
    answer = await sending
    if by_a_key:
        problem(answer, 401, "unauthenticated")
    elif end is end_membership:
        problem(answer, 403, "forbidden")
    else:
        problem(answer, 409, "conflict")
    sent = (await meeting.anna.get("invitations")).json()["items"]
    assert [each["email"] for each in sent] == [meeting.bob.email]
    assert meeting.anna.letters("eve@example.net") == []


@ENDS
@BY_A_KEY
async def test_a_key_that_was_being_made_is_revoked(
    api_database: Database, meeting: Meeting, end: End, *, by_a_key: bool
) -> None:
    scope = await by_key(meeting) if by_a_key else meeting.admins
    wanted = WantedKey("the last", ROLES[Role.ADMIN], UNBOUNDED)
    async with api_database.tenant(scope.tenant_id) as making:
        made = await make_key(making, scope, wanted, dt.datetime.now(dt.UTC))
        ending = asyncio.create_task(ended(meeting, end))
        await until_blocked(api_database)
    assert (await ending).is_success
    meeting.bob.client.headers["Authorization"] = f"Bearer {made.key}"
    problem(await meeting.bob.get("members"), 401, "unauthenticated")


async def test_one_that_would_be_made_next_is_not(api_database: Database, meeting: Meeting) -> None:
    async with api_database.tenant(meeting.owners.tenant_id) as ending:
        await end_membership(ending, meeting.owners, meeting.member_id)
        making = asyncio.create_task(meeting.bob.post("api-keys", name="the last", role="admin"))
        await until_blocked(api_database)
    problem(await making, 403, "forbidden")
    assert (await meeting.anna.get("api-keys")).json()["items"] == []
