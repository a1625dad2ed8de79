"""The record of acts: in pages, the same transaction as the act, and never altered."""

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from control_plane.operators import queue_control
from control_plane.queuer.pauses import Subject
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.operators.door import TESTER, acts_of


async def test_acts_are_listed_in_pages_the_newest_first(operator: httpx.AsyncClient) -> None:
    for priority in ("high", "normal", "low"):
        await operator.post("queue/pauses", json={"subject": "priority", "of": priority})
    first = (await operator.get("acts", params={"limit": 2})).json()
    assert [act["subject"]["priority"] for act in first["items"]] == ["low", "normal"]
    rest = (await operator.get("acts", params={"limit": 2, "after": first["next"]})).json()
    assert [act["act"] for act in rest["items"]] == ["queue.pause", "operator-key.create"]


async def pause_and_fail(database: Database, tenant: SomeTenant) -> None:
    async with database.system() as session:
        await queue_control.pause(session, TESTER, Subject.TENANT, str(tenant.id))
        raise ZeroDivisionError


async def test_what_is_rolled_back_is_not_recorded(
    operator: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    with pytest.raises(ZeroDivisionError):
        await pause_and_fail(system_database, tenant)
    assert await acts_of(operator) == []
    assert (await operator.get("queue/pauses")).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "statement",
    ["UPDATE operator_acts SET reason = 'another'", "DELETE FROM operator_acts", "DELETE FROM platform_keys"],
)
async def test_no_role_of_ours_can_alter_what_was_recorded(
    operators_app: FastAPI, operator: httpx.AsyncClient, system_database: Database, statement: str
) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with system_database.system() as session:
            await session.execute(text(statement))
