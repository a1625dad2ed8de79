"""Each route of the tenants' door names one permission, and there is no permission that opens nothing."""

import re
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter

import control_plane
from control_plane.rest.access import Access, Open, RouteWithoutPermission, identity, permissions_of, transaction
from control_plane.rest.app import make_app
from control_plane.settings import Settings
from control_plane.tenancy.permissions import ROLES, Permission, Role

LOOKING = {"GET", "HEAD"}


def operations(tmp_path: Path) -> dict[tuple[str, str], str | None]:
    """Return the permission of each operation that the application offers, by method and path."""
    url = "postgresql://nobody@nowhere/penguin"
    app = make_app(Settings.model_validate({"state_dir": tmp_path, "api_database_url": url}))
    return {
        (method.upper(), path): operation.get("x-permission")
        for path, item in app.openapi()["paths"].items()
        for method, operation in item.items()
    }


def test_each_operation_says_its_permission_and_each_permission_opens_something(tmp_path: Path) -> None:
    named = operations(tmp_path)
    assert {place for place, permission in named.items() if permission is None} == {("GET", "/healthz")}
    known = {each.value for each in (*Permission, *Open)}
    assert {permission for permission in named.values() if permission} == known


def test_what_needs_no_permission_is_log_in_and_nothing_else(tmp_path: Path) -> None:
    without = {path for (_, path), name in operations(tmp_path).items() if name in {each.value for each in Open}}
    assert {path.split("/")[3] for path in without} == {"auth"}


def test_what_changes_something_needs_more_than_reading(tmp_path: Path) -> None:
    changing = {place: name for place, name in operations(tmp_path).items() if name and place[0] not in LOOKING}
    assert [place for place, name in changing.items() if name.endswith(":read")] == []
    assert ("POST", "/api/v1/inboxes/{inbox_id}/messages") in changing


def test_a_route_without_a_permission_or_with_two_keeps_the_door_shut() -> None:
    read, manage = transaction(Permission.READ_SERVERS), identity(Permission.MANAGE_SERVERS)

    def open_to_all() -> None: ...

    def of_two(one: Annotated[Access, read], other: Annotated[Access, manage]) -> None: ...

    for endpoint, count in ((open_to_all, 0), (of_two, 2)):
        router = APIRouter()
        router.add_api_route("/vps", endpoint)
        with pytest.raises(RouteWithoutPermission, match=f"names {count} permissions"):
            permissions_of([router])
    outer = APIRouter()
    outer.include_router(router)
    with pytest.raises(RouteWithoutPermission, match="cannot name"):
        permissions_of([outer])


def test_the_roles_are_steps() -> None:
    assert set(ROLES) == set(Role)
    assert ROLES[Role.READ_ONLY] < ROLES[Role.MEMBER] < ROLES[Role.ADMIN] <= ROLES[Role.OWNER] == set(Permission)
    assert all(each.value.endswith(":read") for each in ROLES[Role.READ_ONLY] | ROLES[Role.BILLING])
    assert Permission.READ_MESSAGES not in ROLES[Role.BILLING]


def test_transactions_for_callers_reach_as_far_as_these_and_no_further() -> None:
    """One that is opened by the tenant's id alone would see workspaces that the caller is not there for."""
    of_the_whole_tenant = re.compile(r"\.tenant(?:_connection)?\([\w.]*scope\.tenant_id\)")
    sources = Path(control_plane.__file__).parent.rglob("*.py")
    assert [str(each) for each in sources if of_the_whole_tenant.search(each.read_text(encoding="utf-8"))] == []
