"""Letters as sends of the platform's own inbox."""

from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text

from control_plane.rest.app import make_app
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.people.visitor import PASSWORD
from tests.integration.rest import client_of


async def test_a_letter_leaves_as_a_send_of_the_inbox_that_the_settings_name(
    people_settings: Settings, system_database: Database, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    own = {"mail_url": SecretStr(""), "mail_inbox": f"{tenant.id}/{inbox.id}"}
    app: FastAPI = make_app(people_settings.model_copy(update=own))
    async with app.router.lifespan_context(app), client_of(app, None) as client:
        body = {"email": "anna@example.net", "password": PASSWORD, "name": "A", "tenant_name": "P"}
        assert (await client.post("auth/sign-up", json=body)).status_code == 202
    async with system_database.system() as session:
        sends = (await session.execute(text("SELECT recipient, subject, tenant_id FROM messages"))).all()
    assert [tuple(send) for send in sends] == [("anna@example.net", "Confirm your address", tenant.id)]
