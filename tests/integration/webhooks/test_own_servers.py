"""What a tenant's URL must not lead to: our servers, by whichever of their addresses."""

import pytest
from sqlalchemy import text

from control_plane.alerts.channels.own_fleet import leads_through_fleet
from control_plane.webhooks.own_servers import knows_servers
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server


@pytest.mark.parametrize(
    ("addresses", "ours"),
    [
        (["2001:db8::7"], True),
        (["192.0.2.77", "2001:db8::7"], True),
        (["192.0.2.7"], True),
        (["192.0.2.77", "2001:db8::77"], False),
    ],
)
async def test_a_server_is_ours_by_each_of_its_addresses(
    system_database: Database, tenant: SomeTenant, addresses: list[str], ours: bool
) -> None:
    vps_id = await make_server(system_database, tenant)
    async with system_database.system() as session:
        await session.execute(
            text("UPDATE vps_servers SET ip_address = '192.0.2.7', ipv6_address = '2001:db8::7' WHERE id = :id"),
            {"id": vps_id},
        )
        assert await leads_through_fleet(session, {"hooks.example": addresses}) is ours
    assert await knows_servers(system_database)(addresses) is ours
