"""The operators' door and the tenants' are two, and each route of the operators' names its scope."""

from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter

from control_plane.operators.scopes import OperatorScope
from control_plane.rest.app import make_app
from control_plane.rest.operators import (
    acts,
    alerting,
    alerts,
    dead_letters,
    fleet,
    fleet_packages,
    fleet_settings,
    mail_backups,
    pauses,
    queue,
    server_commands,
    tenants,
    upgrades,
)
from control_plane.rest.operators.access import OperatorAccess, RouteWithoutScope, operator_transaction, scopes_named
from control_plane.rest.operators.app import make_operators_app
from control_plane.settings import Settings

ROUTERS = [
    module.router
    for module in (
        *(queue, pauses, dead_letters, fleet, fleet_settings, fleet_packages, alerts, alerting, acts, tenants),
        *(mail_backups, upgrades, server_commands),
    )
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = "postgresql://nobody@nowhere/penguin"
    return Settings.model_validate({"state_dir": tmp_path, "api_database_url": url, "system_database_url": url})


def test_the_two_doors_share_nothing_but_their_health(settings: Settings) -> None:
    tenants = set(make_app(settings).openapi()["paths"])
    operators = set(make_operators_app(settings).openapi()["paths"])
    assert {path for path in tenants if not path.startswith("/api/v1/")} == {"/healthz"}
    assert {path for path in operators if not path.startswith("/operator/v1/")} == {"/healthz"}


def test_each_route_of_the_operators_door_names_its_scopes_and_each_scope_opens_something() -> None:
    named = scopes_named(ROUTERS)
    assert len(named) == sum(len(router.routes) for router in ROUTERS)
    # What shows addresses is asked for beside the scope of what is read.
    opening = {scope for _, scopes in named for scope in scopes}
    assert opening == set(OperatorScope) - {OperatorScope.REVEAL_ADDRESSES}


def test_only_commands_open_to_several_scopes() -> None:
    assert [route.path for route, scopes in scopes_named(ROUTERS) if len(scopes) > 1] == ["/vps/{vps_id}/commands"]


def test_what_changes_something_needs_more_than_reading() -> None:
    for route, scopes in scopes_named(ROUTERS):
        for scope in scopes:
            assert (route.methods == {"GET"}) == scope.endswith(":read"), route.path


def test_a_route_without_a_scope_or_that_names_them_twice_keeps_the_door_shut() -> None:
    read, manage = (operator_transaction(scope) for scope in (OperatorScope.READ_QUEUE, OperatorScope.MANAGE_QUEUE))

    def open_to_all() -> None: ...

    def of_none(access: Annotated[OperatorAccess, operator_transaction()]) -> None: ...

    def of_two(one: Annotated[OperatorAccess, read], other: Annotated[OperatorAccess, manage]) -> None: ...

    for endpoint, count in ((open_to_all, 0), (of_none, 1), (of_two, 2)):
        router = APIRouter()
        router.add_api_route("/queue", endpoint)
        with pytest.raises(RouteWithoutScope, match=f"says {count} times"):
            scopes_named([router])
    mounted = APIRouter()
    mounted.mount("/files", APIRouter())
    with pytest.raises(RouteWithoutScope):
        scopes_named([mounted])
