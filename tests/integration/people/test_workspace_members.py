"""Members of single workspaces: what they are let into, what they see, and what they can give."""

import pytest

from tests.integration.people.test_members import joined
from tests.integration.people.visitor import Visitor, invited
from tests.integration.rest import problem


async def workspace(owner: Visitor, name: str) -> str:
    """Make a workspace; return its id."""
    return str((await owner.post("workspaces", name=name)).json()["id"])


async def let_in(owner: Visitor, guest: Visitor, role: str, workspaces: list[str]) -> str:
    """Have a person join single workspaces, and work there; return the membership's id."""
    code = await invited(owner, guest.email, role, workspaces=workspaces)
    tenant = (await guest.post("auth/invitations/accept", token=code)).json()["tenant_id"]
    guest.bear((await guest.post("auth/switch", tenant_id=tenant)).json())
    members = (await owner.get("members")).json()["items"]
    return str(next(each["id"] for each in members if each["email"] == guest.email))


async def names_seen(visitor: Visitor) -> list[str]:
    return sorted(each["name"] for each in (await visitor.get("workspaces")).json()["items"])


async def test_a_member_of_a_workspace_sees_it_alone(anna: Visitor, bob: Visitor) -> None:
    sales, support = await workspace(anna, "Sales"), await workspace(anna, "Support")
    await let_in(anna, bob, "admin", [sales])
    assert await names_seen(bob) == ["Sales"]
    assert await names_seen(anna) == ["Main", "Sales", "Support"]
    assert (await bob.get(f"workspaces/{sales}/inboxes")).status_code == 200
    problem(await bob.get(f"workspaces/{support}/inboxes"), 404, "not-found")
    shown = (await anna.get("members")).json()["items"]
    assert {each["email"]: each["workspaces"] for each in shown} == {anna.email: None, bob.email: [sales]}
    assert [each["email"] for each in (await bob.get("members")).json()["items"]] == [bob.email]


async def test_the_whole_tenants_affairs_are_not_theirs(anna: Visitor, bob: Visitor) -> None:
    await let_in(anna, bob, "admin", [await workspace(anna, "Sales")])
    for path in ("audit", "suppressions"):
        problem(await bob.get(path), 403, "forbidden")
    problem(await bob.post("workspaces", name="Mine"), 403, "forbidden")
    problem(await bob.client.patch("tenant", json={"name": "Mine"}), 403, "forbidden")


@pytest.mark.parametrize("role", ["owner", "billing"])
async def test_nobody_owns_or_pays_for_single_workspaces(anna: Visitor, role: str) -> None:
    sales = await workspace(anna, "Sales")
    answer = await anna.post("invitations", email="eve@example.net", role=role, workspaces=[sales])
    problem(answer, 422, "invalid-input")


async def test_they_give_what_they_have_and_no_more(anna: Visitor, bob: Visitor) -> None:
    sales, support = await workspace(anna, "Sales"), await workspace(anna, "Support")
    await let_in(anna, bob, "admin", [sales])
    answer = await bob.post("invitations", email="eve@example.net", role="member", workspaces=[support])
    problem(answer, 404, "not-found")
    invitation = (await bob.post("invitations", email="eve@example.net", role="member")).json()
    assert invitation["workspaces"] == [sales]
    key = (await bob.post("api-keys", name="mine", role="admin")).json()
    assert key["workspaces"] == [sales]
    problem(await bob.post("api-keys", name="mine", role="admin", workspaces=[support]), 404, "not-found")
    elsewhere = (await anna.post("api-keys", name="hers", role="member", workspaces=[support])).json()
    problem(await bob.get(f"api-keys/{elsewhere['id']}"), 404, "not-found")


async def test_a_second_invitation_lets_them_into_more(anna: Visitor, bob: Visitor) -> None:
    sales, support = await workspace(anna, "Sales"), await workspace(anna, "Support")
    await let_in(anna, bob, "member", [sales])
    code = await invited(anna, bob.email, "member", workspaces=[support])
    assert (await bob.post("auth/invitations/accept", token=code)).status_code == 200
    assert await names_seen(bob) == ["Sales", "Support"]
    code = await invited(anna, bob.email, "admin", workspaces=[support])
    problem(await bob.post("auth/invitations/accept", token=code), 409, "conflict")


async def test_keys_for_what_a_member_loses_end(anna: Visitor, bob: Visitor) -> None:
    sales, support = await workspace(anna, "Sales"), await workspace(anna, "Support")
    member = await joined(anna, bob, "admin")
    made = [
        (await bob.post("api-keys", name="k", role="member", workspaces=[each])).json() for each in (sales, support)
    ]
    made.append((await bob.post("api-keys", name="k", role="member")).json())
    change = {"role": "member", "workspaces": [sales]}
    assert (await anna.client.patch(f"members/{member}", json=change)).json()["workspaces"] == [sales]
    revoked = [(await anna.get(f"api-keys/{each['id']}")).json()["revoked_at"] is not None for each in made]
    assert revoked == [False, True, True]
    kept = await anna.client.patch(f"members/{member}", json={"role": "admin"})
    assert kept.json()["workspaces"] == [sales]
    assert await names_seen(bob) == ["Sales"]
    whole = await anna.client.patch(f"members/{member}", json={"role": "admin", "workspaces": None})
    assert whole.json()["workspaces"] is None
    assert await names_seen(bob) == ["Main", "Sales", "Support"]


async def test_a_workspace_stays_as_long_as_somebody_is_there_for_it(anna: Visitor, bob: Visitor) -> None:
    sales = await workspace(anna, "Sales")
    member = await let_in(anna, bob, "member", [sales])
    problem(await anna.client.delete(f"workspaces/{sales}"), 409, "conflict")
    assert (await anna.client.delete(f"members/{member}")).status_code == 204
    assert (await anna.client.delete(f"workspaces/{sales}")).status_code == 204


async def test_a_webhook_of_theirs_is_for_their_workspace(anna: Visitor, bob: Visitor) -> None:
    sales, support = await workspace(anna, "Sales"), await workspace(anna, "Support")
    await let_in(anna, bob, "admin", [sales])
    url = "https://hooks.example.com/"
    assert (await bob.post("webhooks", url=url)).json()["workspace_id"] == sales
    problem(await bob.post("webhooks", url=url, workspace_id=support), 404, "not-found")
    code = await invited(anna, bob.email, "admin", workspaces=[support])
    await bob.post("auth/invitations/accept", token=code)
    problem(await bob.post("webhooks", url=url), 422, "invalid-input")


async def test_the_same_idempotency_key_in_another_workspace_is_another(anna: Visitor, bob: Visitor) -> None:
    await let_in(anna, bob, "admin", [await workspace(anna, "Sales")])
    headers, body = {"Idempotency-Key": "k-1"}, {"url": "https://hooks.example.com/"}
    first = await anna.client.post("webhooks", json=body, headers=headers)
    second = await bob.client.post("webhooks", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]
    problem(await bob.client.post("webhooks", json=body, headers=headers), 409, "answer-shown-once")
