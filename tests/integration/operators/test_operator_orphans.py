import httpx
from fastapi import FastAPI
from sqlalchemy import text

from control_plane.operators.scopes import OperatorScope
from db.session import Database
from tests.integration.operators.door import make_key, operator_client


async def test_strays_are_listed_with_when_the_providers_were_asked(
    operator: httpx.AsyncClient, system_database: Database
) -> None:
    async with system_database.system() as session:
        await session.execute(text("INSERT INTO provider_looks (provider, looked_at) VALUES ('hetzner', now())"))
        await session.execute(
            text(
                "INSERT INTO stray_servers (provider, name, kind, reason, ipv4_address)"
                " VALUES ('hetzner', 'pm-1', 'orphan', 'no server here has this name', '198.51.100.7')"
            )
        )

    body = (await operator.get("orphans")).json()

    (stray,), (look,) = body["items"], body["looks"]
    assert (stray["name"], stray["kind"], stray["ipv4_address"]) == ("pm-1", "orphan", "198.51.100.7")
    assert (look["provider"], look["fault"]) == ("hetzner", None)


async def test_strays_are_for_keys_that_may_read_the_fleet(operators_app: FastAPI, system_database: Database) -> None:
    made = await make_key(system_database, "queue only", {OperatorScope.READ_QUEUE})
    async with operator_client(operators_app, made.key) as client:
        assert (await client.get("orphans")).status_code == 403
