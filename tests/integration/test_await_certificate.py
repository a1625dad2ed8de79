"""A server that gets ready waits a moment for its certificate, and not for ever."""

import uuid
from datetime import timedelta

import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text

from control_plane.pipelines.step import Done, Outcome, Run, Wait
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.steps.await_certificate import GRACE, AwaitCertificate
from control_plane.settings import Settings
from db.session import Database
from protos.agent.v1.telemetry_pb2 import CertificateIssue, HealthReport
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server

_REPORT = text(
    "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, received_at, report)"
    " VALUES (:id, :tenant, now(), now(), CAST(:report AS jsonb))"
)
_APPLIED = text("UPDATE vps_servers SET applied_at = now() - CAST(:ago AS interval) WHERE id = :id")


async def _look(
    database: Database, tenant: SomeTenant, vps_id: uuid.UUID, directory: str = "https://a.example"
) -> Outcome:
    settings = Settings.model_validate({"state_dir": "/nowhere", "acme_directory": directory})
    environment = Environment(database, {}, None, settings, None)  # type: ignore[arg-type] # not used here
    return await AwaitCertificate().run(
        StepContext(environment, Run(uuid.uuid4(), tenant.id, "vps.provision", vps_id, {}))
    )


async def _server(
    database: Database, tenant: SomeTenant, state: str | None, ago: timedelta = timedelta(0)
) -> uuid.UUID:
    vps_id = await make_server(database, tenant)
    issue = CertificateIssue(state=state, detail="a sentence") if state else None
    report = MessageToJson(HealthReport(certificate_issue=issue), preserving_proto_field_name=True)
    async with database.system() as session:
        await session.execute(_REPORT, {"id": vps_id, "tenant": tenant.id, "report": report})
        await session.execute(_APPLIED, {"id": vps_id, "ago": ago})
    return vps_id


@pytest.mark.parametrize("state", [None, "asking", "self_signed", "waiting_for_port"])
async def test_it_waits_while_the_authority_is_asked_and_not_for_ever(
    system_database: Database, tenant: SomeTenant, state: str | None
) -> None:
    waiting = await _server(system_database, tenant, state)
    assert isinstance(await _look(system_database, tenant, waiting), Wait)
    late = await _server(system_database, tenant, state, GRACE + timedelta(seconds=1))
    outcome = await _look(system_database, tenant, late)
    assert isinstance(outcome, Done)
    assert outcome.result["certificate"] == "self_signed"


@pytest.mark.parametrize("state", ["issued", "limited", "unreachable", "refused", "not_taken"])
async def test_it_goes_on_with_what_became_of_it(system_database: Database, tenant: SomeTenant, state: str) -> None:
    vps_id = await _server(system_database, tenant, state)
    outcome = await _look(system_database, tenant, vps_id)
    assert outcome == Done({"certificate": state, "detail": "a sentence"})


async def test_without_an_authority_nothing_is_waited_for(system_database: Database, tenant: SomeTenant) -> None:
    outcome = await _look(system_database, tenant, await _server(system_database, tenant, None), directory="")
    assert isinstance(outcome, Done)
    assert outcome.result["certificate"] == "self_signed"
