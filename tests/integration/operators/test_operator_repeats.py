"""Requests to the operators' door that come again under an Idempotency-Key."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from control_plane.messages.forget_keys import forget_old_keys
from control_plane.operators import queue_control
from control_plane.operators.scopes import OperatorScope
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.held import Held
from tests.integration.operators.door import acts_of, make_key, operator_client
from tests.integration.rest import problem

KEY = {"Idempotency-Key": "one-2026-11-22"}
_KEPT = text("SELECT status, body FROM kept_answers_to_operators")


async def pause(operator: httpx.AsyncClient, tenant: SomeTenant, reason: str = "a look") -> httpx.Response:
    body = {"subject": "tenant", "of": str(tenant.id), "reason": reason}
    return await operator.post("queue/pauses", json=body, headers=KEY)


async def kept(database: Database) -> list[tuple[Any, ...]]:
    async with database.system() as session:
        return [tuple(row) for row in await session.execute(_KEPT)]


async def test_what_an_operator_did_is_done_once_and_answered_alike(
    operator: httpx.AsyncClient, tenant: SomeTenant, system_database: Database
) -> None:
    first, again = await pause(operator, tenant), await pause(operator, tenant)
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.content, again.headers["location"]) == (first.content, first.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await acts_of(operator)) == 1
    problem(await pause(operator, tenant, "another"), 422, "idempotency-key-reused")
    async with system_database.system() as session:
        await session.execute(text("UPDATE kept_answers_to_operators SET created_at = now() - interval '25 hours'"))
    assert await forget_old_keys(system_database) == 1
    assert "idempotency-replayed" not in (await pause(operator, tenant, "another")).headers


async def test_what_has_no_content_comes_again_too(operator: httpx.AsyncClient) -> None:
    asked = [await operator.post("fleet/healing:forbid", json={"reason": "a look"}, headers=KEY) for _ in range(2)]
    assert [each.status_code for each in asked] == [204, 204]
    assert [each.headers.get("idempotency-replayed") for each in asked] == [None, "true"]


async def test_operators_do_not_share_keys(
    operator: httpx.AsyncClient, operators_app: FastAPI, tenant: SomeTenant, system_database: Database
) -> None:
    await pause(operator, tenant)
    other = await make_key(system_database, "another", [OperatorScope.MANAGE_QUEUE])
    async with operator_client(operators_app, other.key) as client:
        answer = await pause(client, tenant, "another")
    assert answer.status_code == 201
    assert "idempotency-replayed" not in answer.headers


async def test_a_secret_is_not_given_again(
    operator: httpx.AsyncClient, system_database: Database, rest_settings: Settings
) -> None:
    Sealer.of_file(rest_settings.sealing_key_file)
    body = {"name": "duty", "kind": "webhook", "url": "https://duty.example/hook"}
    made = await operator.post("alerts/channels", json=body, headers=KEY)
    assert made.status_code == 201, made.text
    told = problem(await operator.post("alerts/channels", json=body, headers=KEY), 409, "answer-shown-once")
    assert made.headers["location"] in told["detail"]
    assert await kept(system_database) == [(201, None)]


async def test_what_failed_is_not_kept(operator: httpx.AsyncClient, system_database: Database) -> None:
    body = {"subject": "tenant", "of": "none"}
    answers = [await operator.post("queue/pauses", json=body, headers=KEY) for _ in range(2)]
    assert {each.status_code for each in answers} <= {404, 422}
    assert await kept(system_database) == []


async def test_while_the_first_is_worked_on_the_second_is_told_to_ask_again(
    operator: httpx.AsyncClient, tenant: SomeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(queue_control.pause)
    monkeypatch.setattr(queue_control, "pause", held)
    first = asyncio.create_task(pause(operator, tenant))
    await held.begun.wait()
    told = await pause(operator, tenant)
    held.go.set()
    problem(told, 409, "request-in-flight")
    assert (await first).status_code == 201
    assert (await pause(operator, tenant)).headers["idempotency-replayed"] == "true"
