import asyncio
import uuid

import pytest

from tests.integration.people.visitor import PASSWORD, Visitor, invited, make_person
from tests.integration.rest import problem


async def joined(owner: Visitor, guest: Visitor, role: str) -> str:
    """Have a person who has an account join, and work there; return the membership's id."""
    code = await invited(owner, guest.email, role)
    tenant = (await guest.post("auth/invitations/accept", token=code)).json()["tenant_id"]
    guest.bear((await guest.post("auth/switch", tenant_id=tenant)).json())
    members = (await owner.get("members")).json()["items"]
    return str(next(each["id"] for each in members if each["email"] == guest.email))


async def test_somebody_joins_by_invitation_and_works_in_either_tenant(anna: Visitor, bob: Visitor) -> None:
    await joined(anna, bob, "read-only")
    me = (await bob.get("auth/me")).json()
    assert me["tenant_id"] == anna.tokens["tenant_id"]
    assert [each["role"] for each in me["tenants"]] == ["owner", "read-only"]
    assert (await bob.get("members")).status_code == 200
    problem(await bob.post("invitations", email="eve@example.net", role="read-only"), 403, "forbidden")
    problem(await bob.get("api-keys"), 403, "forbidden")
    own = next(each["tenant_id"] for each in me["tenants"] if each["role"] == "owner")
    bob.bear((await bob.post("auth/switch", tenant_id=own)).json())
    assert (await bob.get("api-keys")).status_code == 200


async def test_who_comes_and_who_leaves_stands_in_the_tenants_record(
    anna: Visitor, bob: Visitor, visitor: Visitor
) -> None:
    await joined(anna, bob, "member")
    await make_person(visitor, "eve@example.net", invitation=await invited(anna, "eve@example.net", "member"))
    assert (await bob.post("auth/leave", tenant_id=anna.tokens["tenant_id"])).status_code == 204
    deeds = (await anna.get("audit")).json()["items"]
    whose = {visit.email: f"person {(await visit.get('auth/me')).json()['id']}" for visit in (anna, bob, visitor)}
    assert [(each["act"], each["actor"]) for each in reversed(deeds)] == [
        ("POST /auth/verify-email", whose["anna@example.net"]),
        ("POST /invitations", whose["anna@example.net"]),
        ("POST /auth/invitations/accept", whose["bob@example.net"]),
        ("POST /invitations", whose["anna@example.net"]),
        ("POST /auth/verify-email", whose["eve@example.net"]),
        ("POST /auth/leave", whose["bob@example.net"]),
    ]
    assert all((each["address"], bool(each["request_id"])) == ("127.0.0.1", True) for each in deeds)


async def test_somebody_without_an_account_signs_up_by_an_invitation(anna: Visitor, visitor: Visitor) -> None:
    code = await invited(anna, "eve@example.net", "admin")
    problem(await visitor.sign_up("mallory@example.net", invitation=code), 403, "forbidden")
    await make_person(visitor, "eve@example.net", invitation=code)
    assert visitor.tokens["tenant_id"] == anna.tokens["tenant_id"]
    assert [each["role"] for each in (await visitor.get("auth/me")).json()["tenants"]] == ["admin"]
    assert (await anna.get("invitations")).json()["items"][0]["accepted_at"]


async def test_an_invitation_is_for_its_address_and_good_once(anna: Visitor, bob: Visitor, visitor: Visitor) -> None:
    await make_person(visitor, "eve@example.net")
    code = await invited(anna, "bob@example.net", "member")
    problem(await visitor.post("auth/invitations/accept", token=code), 403, "forbidden")
    assert (await bob.post("auth/invitations/accept", token=code)).status_code == 200
    problem(await bob.post("auth/invitations/accept", token=code), 404, "not-found")


async def test_an_invitation_that_was_taken_back_or_replaced_is_of_no_use(anna: Visitor, bob: Visitor) -> None:
    first = await invited(anna, "bob@example.net", "admin")
    second = await invited(anna, "bob@example.net", "member")
    problem(await bob.post("auth/invitations/accept", token=first), 404, "not-found")
    open_one = next(each for each in (await anna.get("invitations")).json()["items"] if not each["revoked_at"])
    assert (await anna.client.delete(f"invitations/{open_one['id']}")).status_code == 204
    problem(await bob.post("auth/invitations/accept", token=second), 404, "not-found")


async def test_another_tenants_members_and_invitations_are_not_there(anna: Visitor, bob: Visitor) -> None:
    await invited(anna, "eve@example.net", "member")
    invitation = (await anna.get("invitations")).json()["items"][0]["id"]
    member = (await anna.get("members")).json()["items"][0]["id"]
    assert (await bob.get("invitations")).json()["items"] == []
    problem(await bob.get(f"invitations/{invitation}"), 404, "not-found")
    problem(await bob.client.delete(f"invitations/{invitation}"), 404, "not-found")
    problem(await bob.get(f"members/{member}"), 404, "not-found")
    problem(await bob.client.delete(f"members/{member}"), 404, "not-found")
    problem(await bob.client.patch(f"members/{member}", json={"role": "member"}), 404, "not-found")
    for path in ("auth/switch", "auth/leave"):
        problem(await bob.post(path, tenant_id=anna.tokens["tenant_id"]), 404, "not-found")
    log_in = await bob.post(
        "auth/login", email="bob@example.net", password=PASSWORD, tenant_id=anna.tokens["tenant_id"]
    )
    problem(log_in, 404, "not-found")


async def test_who_is_removed_or_has_less_of_a_role_has_it_at_once(anna: Visitor, bob: Visitor) -> None:
    member = await joined(anna, bob, "admin")
    assert (await bob.get("api-keys")).status_code == 200
    assert (await anna.client.patch(f"members/{member}", json={"role": "read-only"})).json()["role"] == "read-only"
    problem(await bob.get("api-keys"), 403, "forbidden")
    assert (await anna.client.delete(f"members/{member}")).status_code == 204
    problem(await bob.get("members"), 403, "forbidden")
    # The next token is for a tenant that they are still in.
    assert (await bob.refresh()).json()["tenant_id"] not in {None, anna.tokens["tenant_id"]}


async def test_members_are_found_by_role(anna: Visitor, bob: Visitor) -> None:
    await joined(anna, bob, "admin")

    async def found(role: str) -> list[str]:
        return [each["email"] for each in (await anna.client.get("members", params={"role": role})).json()["items"]]

    assert (await found("admin"), await found("billing")) == (["bob@example.net"], [])
    problem(await anna.client.get("members", params={"role": "king"}), 422, "invalid-input")


async def test_a_member_is_changed_only_as_whoever_changes_them_has_seen_them(anna: Visitor, bob: Visitor) -> None:
    path = f"members/{await joined(anna, bob, 'admin')}"
    seen = await anna.get(path)
    assert (seen.json()["email"], seen.json()["role"]) == ("bob@example.net", "admin")
    as_seen = {"If-Match": seen.headers["etag"]}
    assert (await anna.client.patch(path, json={"role": "member"}, headers=as_seen)).status_code == 200
    problem(await anna.client.patch(path, json={"role": "admin"}, headers=as_seen), 412, "precondition-failed")
    problem(await anna.client.delete(path, headers=as_seen), 412, "precondition-failed")
    assert (await anna.client.delete(path, headers={"If-Match": (await anna.get(path)).headers["etag"]})).is_success
    problem(await anna.get(path), 404, "not-found")


@pytest.mark.parametrize("leaves", [True, False], ids=["who leaves", "who is removed"])
async def test_keys_end_with_the_membership_of_whoever_made_them(anna: Visitor, bob: Visitor, *, leaves: bool) -> None:
    member = await joined(anna, bob, "admin")
    token = bob.client.headers["Authorization"]
    first = (await bob.post("api-keys", name="by bob", role="admin")).json()
    bob.client.headers["Authorization"] = f"Bearer {first['key']}"
    second = (await bob.post("api-keys", name="by his key", role="admin")).json()
    others = (await anna.post("api-keys", name="by anna", role="admin")).json()
    if leaves:
        bob.client.headers["Authorization"] = token
        assert (await bob.post("auth/leave", tenant_id=anna.tokens["tenant_id"])).status_code == 204
    else:
        assert (await anna.client.delete(f"members/{member}")).status_code == 204
    for key, status in ((first, 401), (second, 401), (others, 200)):
        bob.client.headers["Authorization"] = f"Bearer {key['key']}"
        assert (await bob.get("members")).status_code == status


async def test_keys_for_what_a_lesser_role_may_not_do_end(anna: Visitor, bob: Visitor) -> None:
    member = await joined(anna, bob, "admin")
    keys = [(await bob.post("api-keys", name=role, role=role)).json()["key"] for role in ("admin", "read-only")]
    assert (await anna.client.patch(f"members/{member}", json={"role": "member"})).status_code == 200
    for key, status in zip(keys, (401, 200), strict=True):
        bob.client.headers["Authorization"] = f"Bearer {key}"
        assert (await bob.get("members")).status_code == status


@pytest.mark.parametrize("by_a_key", [False, True], ids=["themselves", "by a key"])
async def test_invitations_end_with_the_membership_of_whoever_sent_them(
    anna: Visitor, bob: Visitor, visitor: Visitor, *, by_a_key: bool
) -> None:
    member = await joined(anna, bob, "admin")
    if by_a_key:
        key = (await bob.post("api-keys", name="by bob", role="admin")).json()["key"]
        bob.client.headers["Authorization"] = f"Bearer {key}"
    code = await invited(bob, "eve@example.net", "admin")
    others = await invited(anna, "zoe@example.net", "admin")
    assert (await anna.client.delete(f"members/{member}")).status_code == 204
    problem(await visitor.sign_up("eve@example.net", invitation=code), 404, "not-found")
    assert (await visitor.sign_up("zoe@example.net", invitation=others)).status_code == 202


async def test_invitations_that_a_lesser_role_may_not_send_end(anna: Visitor, bob: Visitor, visitor: Visitor) -> None:
    member = await joined(anna, bob, "owner")
    codes = {role: await invited(bob, f"{role}@example.net", role) for role in ("owner", "admin", "member")}

    async def good() -> set[str]:
        listed = (await anna.get("invitations")).json()["items"]
        return {each["role"] for each in listed if not each["revoked_at"] and not each["accepted_at"]}

    assert (await anna.client.patch(f"members/{member}", json={"role": "admin"})).status_code == 200
    assert await good() == {"admin", "member"}
    problem(await visitor.sign_up("owner@example.net", invitation=codes["owner"]), 404, "not-found")
    assert (await anna.client.patch(f"members/{member}", json={"role": "member"})).status_code == 200
    assert await good() == set()


async def test_only_an_owner_makes_and_unmakes_owners(anna: Visitor, bob: Visitor) -> None:
    await joined(anna, bob, "admin")
    owner = next(each for each in (await bob.get("members")).json()["items"] if each["role"] == "owner")
    problem(await bob.client.patch(f"members/{owner['id']}", json={"role": "member"}), 403, "forbidden")
    problem(await bob.client.delete(f"members/{owner['id']}"), 403, "forbidden")
    problem(await bob.post("invitations", email="eve@example.net", role="owner"), 403, "forbidden")
    key = (await anna.post("api-keys", name="k", role="owner")).json()["key"]
    bob.client.headers["Authorization"] = f"Bearer {key}"
    problem(await bob.post("invitations", email="eve@example.net", role="owner"), 403, "forbidden")


async def test_the_last_owner_stays(anna: Visitor, bob: Visitor) -> None:
    tenant = anna.tokens["tenant_id"]
    own = (await anna.get("members")).json()["items"][0]["id"]
    problem(await anna.post("auth/leave", tenant_id=tenant), 409, "conflict")
    problem(await anna.client.delete(f"members/{own}"), 409, "conflict")
    problem(await anna.client.patch(f"members/{own}", json={"role": "admin"}), 409, "conflict")
    await joined(anna, bob, "owner")
    answers = await asyncio.gather(*(each.post("auth/leave", tenant_id=tenant) for each in (anna, bob)))
    assert sorted(each.status_code for each in answers) == [204, 409]


async def test_who_is_in_no_tenant_is_somebody_still(anna: Visitor, visitor: Visitor) -> None:
    code = await invited(anna, "eve@example.net", "member")
    await make_person(visitor, "eve@example.net", invitation=code)
    assert (await visitor.post("auth/leave", tenant_id=anna.tokens["tenant_id"])).status_code == 204
    assert (await visitor.log_in("eve@example.net")).json()["tenant_id"] is None
    assert (await visitor.get("auth/me")).json()["tenants"] == []
    problem(await visitor.get("members"), 403, "forbidden")


async def test_an_invitation_to_nowhere_is_not_found(anna: Visitor) -> None:
    problem(await anna.post("auth/invitations/accept", token="a" * 52), 404, "not-found")
    problem(await anna.get(f"invitations/{uuid.uuid4()}"), 404, "not-found")
