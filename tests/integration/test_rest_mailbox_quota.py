import httpx
import pytest
from sqlalchemy import text

from control_plane.fleet.desired import load_desired_state
from control_plane.sealing import Sealer
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server
from tests.integration.rest import pointers, problem

SEALER = Sealer(b"k" * 32)
_PROBE = text("UPDATE vps_servers SET probe_password_sealed = :sealed WHERE id = :id")


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    sealed = SEALER.seal(b"probe password", f"vps_servers.probe_password:{inbox.vps_id}")
    async with system_database.system() as session:
        await session.execute(_PROBE, {"sealed": sealed, "id": inbox.vps_id})
    return inbox


async def served(database: Database, inbox: SomeInbox) -> tuple[int, int]:
    """Return the version of what the inbox's server should be, and the quota that it is told."""
    async with database.system() as session:
        state = await load_desired_state(session, inbox.vps_id, SEALER, ("10.77.0.53",))
    (mailbox,) = state.server.mailboxes
    return state.version, mailbox.quota_mb


async def test_a_quota_is_set_applied_and_taken_back(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    path = f"inboxes/{inbox.id}"
    version, quota = await served(system_database, inbox)
    assert ((await rest_client.get(path)).json()["quota_mb"], quota) == (None, 0)
    for asked, told in ((500, (version + 1, 500)), (500, (version + 1, 500)), (None, (version + 2, 0))):
        assert (await rest_client.patch(path, json={"quota_mb": asked})).json()["quota_mb"] == asked
        assert await served(system_database, inbox) == told
    await rest_client.patch(path, json={"display_name": "Anna"})
    assert await served(system_database, inbox) == (version + 2, 0)


@pytest.mark.parametrize("quota", [0, -1, 1_048_577, 1.5, "500", True])
async def test_a_quota_that_is_none_is_refused(rest_client: httpx.AsyncClient, inbox: SomeInbox, quota: object) -> None:
    answer = await rest_client.patch(f"inboxes/{inbox.id}", json={"quota_mb": quota})
    assert pointers(problem(answer, 422, "invalid-input")) == ["/quota_mb"]
