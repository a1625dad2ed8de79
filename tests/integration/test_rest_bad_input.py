import httpx
import pytest
from fastapi import FastAPI

from control_plane.rest.problem_pages import pages
from tests.integration.database import SomeTenant
from tests.integration.rest import client_of, problem

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"name": "one", "name": "two"}', "comes twice"),
        ('{"name": "one", "is_default": NaN}', "NaN is no JSON"),
        ('{"name": "one", "is_default": -Infinity}', "-Infinity is no JSON"),
        ("[" * 200_000, ""),
        ('{"name": ', ""),
    ],
)
async def test_what_is_no_strict_json_is_refused_and_nothing_is_stored(
    rest_client: httpx.AsyncClient, tenant: SomeTenant, body: str, words: str
) -> None:
    path = f"workspaces/{tenant.workspace_id}/ip-pools"
    for headers in (JSON, {**JSON, "Idempotency-Key": "a"}):
        told = problem(await rest_client.post(path, content=body, headers=headers), 422, "invalid-input")
        assert words in told["errors"][0]["detail"]
    assert (await rest_client.get(path)).json()["items"] == []


async def test_each_problem_has_a_page(rest_app: FastAPI, rest_client: httpx.AsyncClient) -> None:
    kinds = [(await rest_client.get("nowhere")).json()["type"], (await rest_client.put("api-keys")).json()["type"]]
    async with client_of(rest_app, None) as nobody:
        listed = (await nobody.get("http://penguin.test/problems")).text
        for kind in (*kinds, *(f"/problems/{slug}" for slug in pages())):
            page = await nobody.get(f"http://penguin.test{kind}")
            assert (page.status_code, page.headers["content-type"]) == (200, "text/plain; charset=utf-8")
            assert kind in listed
        problem(await nobody.get("http://penguin.test/problems/none"), 404, "not-found")
