"""Which headers OpenAPI names; that they are those that are sent: tests/integration/test_rest_answer_headers.py."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

import control_plane.rest

_PLACED = re.compile(r'headers\["Location"\]|answer_with\(|_location\(|_accepted\(|RedirectResponse\(')


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield those of the API, with their names."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if path != "/healthz":
                yield f"{method.upper()} {path}", operation


def headers(document: dict[str, Any], answer: dict[str, Any]) -> set[str]:
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    named = answer["headers"]
    assert {each["$ref"] for each in named.values()} <= {
        f"#/components/headers/{name}" for name in document["components"]["headers"]
    }
    return set(named)


def test_each_answer_names_the_request_and_at_the_tenants_door_what_is_left(document: dict[str, Any]) -> None:
    counted = any(path.startswith("/api/") for path in document["paths"])
    of_all = {"X-Request-Id"} | ({"RateLimit", "RateLimit-Policy"} if counted else set())
    for name, operation in operations(document):
        assert operation["responses"].keys() >= {"default", "503"}, name
        assert ("429" in operation["responses"]) == counted, name
        for answer in operation["responses"].values():
            assert of_all <= headers(document, answer), name
    assert headers(document, document["paths"]["/healthz"]["get"]["responses"]["200"]) == {"X-Request-Id"}


def test_what_is_refused_for_now_says_when_to_come_again(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status in {"429", "503"} & operation["responses"].keys():
            assert "Retry-After" in headers(document, operation["responses"][status]), name


def test_what_shows_a_thing_has_a_tag_and_what_may_be_repeated_says_so(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        taken = {each["name"] for each in operation.get("parameters", [])}
        for status, answer in operation["responses"].items():
            named = headers(document, answer)
            assert ("ETag" in named) == ("If-None-Match" in taken and status in {"200", "304"}), name
            assert ("Idempotency-Replayed" in named) == ("Idempotency-Key" in taken and status[0] == "2"), name


def routes() -> Iterator[tuple[str, APIRoute]]:
    """Yield each route that there is, with its path in its door."""
    for module in pkgutil.walk_packages(control_plane.rest.__path__, "control_plane.rest."):
        router = getattr(import_module(module.name), "router", None)
        door = "/operator/v1" if ".operators." in module.name else "/api/v1"
        if isinstance(router, APIRouter) and ".ses." not in module.name:
            yield from ((f"{door}{route.path}", route) for route in router.routes if isinstance(route, APIRoute))


def test_what_says_where_it_is_in_its_code_says_so_in_openapi(document: dict[str, Any]) -> None:
    seen = 0
    for path, route in routes():
        if path in document["paths"]:
            (method,) = route.methods or set()
            answers = document["paths"][path][method.lower()]["responses"]
            named = any("Location" in headers(document, answer) for answer in answers.values())
            assert named == bool(_PLACED.search(inspect.getsource(route.endpoint))), f"{method} {path}"
            seen += named
    assert seen > 4
