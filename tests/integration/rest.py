"""Talk to the REST application in this process, through all of its middleware."""

from typing import Any

import httpx
from starlette.types import ASGIApp


def client_of(app: ASGIApp, api_key: str | None, door: str = "api/v1") -> httpx.AsyncClient:
    """Return a client whose paths are relative to the door; errors of the application are answers, as on the wire."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url=f"http://penguin.test/{door}/",
        headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
    )


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Check that an answer is this problem, complete, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"/problems/{slug}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def pointers(body: dict[str, Any]) -> list[str]:
    """Return what parts of the request a problem names."""
    return [part["pointer"] for part in body["errors"]]


async def walked(client: httpx.AsyncClient, path: str) -> list[Any]:
    """Return what is in a list, which is asked for one thing at a time."""
    found: list[Any] = []
    query: dict[str, str | int] = {"limit": 1}
    while True:
        answer = await client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if answer.json()["next"] is None:
            return found
        query["after"] = answer.json()["next"]
