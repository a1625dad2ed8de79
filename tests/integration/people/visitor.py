"""Somebody at the tenants' door: signs up, reads letters, logs in."""

import re
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

import httpx
from fastapi import FastAPI

from tests.fakes.submission_server import SubmissionServer
from tests.integration.rest import client_of

PASSWORD = "correct horse battery"
_CODE = re.compile(r"Your code: ([a-z0-9]+)")


class Visitor:
    """A client that bears the access token of its last log-in."""

    def __init__(self, app: FastAPI, sink: SubmissionServer) -> None:
        self.client = client_of(app, None)
        self.app = app
        self.email = ""
        self.tokens: dict[str, Any] = {}
        self._sink = sink

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.client.aclose()

    async def post(self, path: str, **body: object) -> httpx.Response:
        return await self.client.post(path, json=body)

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def sign_up(self, email: str, **more: object) -> httpx.Response:
        body: dict[str, object] = {"email": email, "password": PASSWORD, "name": "Anna", **more}
        if "invitation" not in more:
            body.setdefault("tenant_name", "Penguin Post")
        return await self.post("auth/sign-up", **body)

    async def log_in(self, email: str, password: str = PASSWORD, **more: object) -> httpx.Response:
        answer = await self.post("auth/login", email=email, password=password, **more)
        if answer.status_code == 200 and "access_token" in answer.json():
            self.bear(answer.json())
            self.email = email
        return answer

    async def refresh(self) -> httpx.Response:
        answer = await self.post("auth/refresh", refresh_token=self.tokens["refresh_token"])
        if answer.status_code == 200:
            self.bear(answer.json())
        return answer

    def bear(self, tokens: dict[str, Any]) -> None:
        self.tokens = {**self.tokens, **tokens}
        self.client.headers["Authorization"] = f"Bearer {tokens['access_token']}"

    def letters(self, email: str) -> list[EmailMessage]:
        return [letter for letter in self._sink.letters if letter["To"] == email]

    def code(self, email: str) -> str:
        """Return the code of the last letter to an address."""
        return code_of(self.letters(email)[-1])


def code_of(letter: EmailMessage) -> str:
    """Return the code that a letter brings."""
    found = _CODE.search(letter.get_content())
    assert found
    return found[1]


async def make_person(visitor: Visitor, email: str, **more: object) -> Visitor:
    """Sign up, answer the letter and log in."""
    answer = await visitor.sign_up(email, **more)
    assert answer.status_code == 202, answer.text
    answer = await visitor.post("auth/verify-email", token=visitor.code(email))
    assert answer.status_code == 201, answer.text
    assert (await visitor.log_in(email)).status_code == 200
    return visitor


async def invited(owner: Visitor, email: str, role: str, **more: object) -> str:
    """Have an owner invite an address; return the code of the letter."""
    answer = await owner.post("invitations", email=email, role=role, **more)
    assert answer.status_code == 201, answer.text
    return owner.code(email)
