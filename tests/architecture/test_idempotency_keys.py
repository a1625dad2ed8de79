"""Each POST of each door takes an Idempotency-Key, and looks for the answer that it stands for."""

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from control_plane import rest
from control_plane.rest import access, auth, operators
from control_plane.rest.app import make_app
from control_plane.rest.auth.repeats import begin_of_stranger
from control_plane.rest.dependencies import calls_of
from control_plane.rest.new_message import request_idempotency
from control_plane.rest.operators import access as operators_access
from control_plane.rest.operators.app import make_operators_app
from control_plane.settings import Settings
from tests.integration.rest import client_of, pointers, problem

SOME_ID = "00000000-0000-0000-0000-000000000001"
#: What these depend on looks for the answer.
LOOKING = (
    *(access._OpensTransaction, access._Identifies, access._KnowsPerson),
    operators_access._OpensTransaction,
)
#: They take a key and keep nothing under it (control_plane/rest/auth/repeats.py says why).
KEEPING_NOTHING = {"/auth/refresh", "/auth/login/passkey:begin"}
#: Messages keep their keys themselves, and say so where they are accepted.
OF_MESSAGES = re.compile(r"/messages(:batch)?$|/resend$")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    urls = dict.fromkeys(
        ("api_database_url", "identity_database_url", "system_database_url"), "postgresql://nobody@nowhere/penguin"
    )
    return Settings.model_validate({"state_dir": tmp_path, **urls})


def posts(app: FastAPI) -> dict[str, dict[str, Any]]:
    """Return what the application says of each POST, by path."""
    return {path: item["post"] for path, item in app.openapi()["paths"].items() if "post" in item}


def routes(*packages: ModuleType) -> Iterator[APIRoute]:
    for package in packages:
        for found in iter_modules(package.__path__, f"{package.__name__}."):
            router = getattr(import_module(found.name), "router", None)
            if isinstance(router, APIRouter):
                yield from (each for each in router.routes if isinstance(each, APIRoute))


def looks(route: APIRoute) -> bool:
    """Tell whether a route looks for the answer, by what it depends on or calls."""
    calls = list(calls_of(route.dependant))
    if request_idempotency in calls or any(isinstance(each, LOOKING) for each in calls):
        return True
    return begin_of_stranger.__name__ in route.endpoint.__code__.co_names


@pytest.mark.parametrize(("make", "count"), [(make_app, 50), (make_operators_app, 14)], ids=["tenants", "operators"])
async def test_each_post_names_the_key_and_refuses_what_is_none(
    settings: Settings, make: Callable[[Settings], FastAPI], count: int
) -> None:
    app, without = make(settings), list[str]()
    assert len(posts(app)) > count
    async with client_of(app, None) as client:
        for path, operation in posts(app).items():
            named = [each["name"].lower() for each in operation.get("parameters", [])]
            without += [f"{path} does not name it"] if named.count("idempotency-key") != 1 else []
            if OF_MESSAGES.search(path):
                continue
            url = "http://penguin.test" + re.sub(r"\{\w+\}", SOME_ID, path)
            told = problem(await client.post(url, headers={"Idempotency-Key": "with space"}), 422, "invalid-input")
            without += [f"{path} takes any"] if pointers(told) != ["header/idempotency-key"] else []
    assert without == []


def test_each_post_looks_for_the_answer_or_is_listed_as_keeping_none() -> None:
    found = [each for each in routes(rest, auth, operators) if "POST" in (each.methods or ())]
    assert len(found) > 65
    assert {each.path for each in found if not looks(each)} == KEEPING_NOTHING
