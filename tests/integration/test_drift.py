"""What servers tell of edited files, and what is to be done about them, over REST."""

import uuid

import httpx
import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text

from control_plane.fleet.desired import load_desired_state
from control_plane.provisioning.requests import probe_password_place
from control_plane.sealing import Sealer
from db.session import Database
from protos.agent.v1.configuration_pb2 import ConfigurationDrift
from protos.agent.v1.telemetry_pb2 import HealthReport
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem

SEALER = Sealer(bytes(32))


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    vps_id = await make_server(system_database, tenant)
    async with system_database.system() as session:
        sealed = SEALER.seal(b"word", probe_password_place(vps_id))
        await session.execute(text("UPDATE vps_servers SET probe_password_sealed = :sealed"), {"sealed": sealed})
    return vps_id


async def test_edited_files_are_shown_by_their_paths(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    assert (await rest_client.get(f"vps/{vps_id}")).json()["drift"] is None
    drift = ConfigurationDrift(
        looked_at_ms=1_790_000_000_000, paths=["/etc/a"], mended_at_ms=1_790_000_000_000, mended_paths=["/etc/b"]
    )
    report = MessageToJson(HealthReport(configuration_drift=drift), preserving_proto_field_name=True)
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, report)"
                " VALUES (:id, :tenant, now(), CAST(:report AS jsonb))"
            ),
            {"id": vps_id, "tenant": tenant.id, "report": report},
        )
    moment = "2026-09-21T14:13:20Z"
    assert (await rest_client.get(f"vps/{vps_id}")).json()["drift"] == {
        "looked_at": moment, "paths": ["/etc/a"], "mended_at": moment, "mended_paths": ["/etc/b"],
    }  # fmt: skip


async def test_the_policy_is_part_of_what_the_server_should_be(
    rest_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID
) -> None:
    before = (await rest_client.get(f"vps/{vps_id}")).json()
    assert before["drift_policy"] == "mend"
    for _ in range(2):
        body = (await rest_client.patch(f"vps/{vps_id}", json={"drift_policy": "show"})).json()
        assert (body["drift_policy"], body["desired_version"]) == ("show", before["desired_version"] + 1)
    async with system_database.system() as session:
        assert (await load_desired_state(session, vps_id, SEALER, ())).only_show_drift


async def test_another_policy_or_another_tenants_server_is_refused(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, vps_id: uuid.UUID
) -> None:
    problem(await rest_client.patch(f"vps/{vps_id}", json={"drift_policy": "pray"}), 422, "invalid-input")
    problem(await rest_client.patch(f"vps/{vps_id}", json={}), 422, "invalid-input")
    problem(await other_client.patch(f"vps/{vps_id}", json={"drift_policy": "show"}), 404, "not-found")
