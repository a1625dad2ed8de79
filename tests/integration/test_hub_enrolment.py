import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509
from sqlalchemy import text

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.enrolment.tokens import create_join_token
from protos.agent.v1.enrolment_pb2 import EnrolRequest, EnrolResponse
from protos.agent.v1.enrolment_pb2_grpc import EnrolmentStub
from protos.agent.v1.link_pb2 import RenewRequest
from protos.agent.v1.link_pb2_grpc import LinkStub
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.running_hub import Credentials, RunningHub, csr, key_pem, make_key, running_hub


@pytest.fixture
async def hub(database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(database, redis_server.url, tmp_path) as running:
        yield running


@pytest.fixture
async def vps_id(hub: RunningHub, tenant: SomeTenant) -> uuid.UUID:
    return await make_server(hub.database, tenant, status="provisioning")


async def join_token(
    hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID, ttl: timedelta = timedelta(minutes=5)
) -> str:
    async with hub.database.system() as session:
        return await create_join_token(session, tenant.id, vps_id, ttl)


async def enrol(hub: RunningHub, token: str, csr_der: bytes) -> EnrolResponse:
    async with hub.enrolment_channel() as channel:
        request = EnrolRequest(join_token=token, csr_der=csr_der, agent_version="1.0")
        return await EnrolmentStub(channel).Enrol(request, timeout=20, wait_for_ready=True)


async def test_a_join_token_enrols_its_server_once(hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID) -> None:
    token = await join_token(hub, tenant, vps_id)
    key = make_key()

    response = await enrol(hub, token, csr(key))

    assert response.vps_id == str(vps_id)
    assert response.link_endpoint == hub.settings.link_endpoint
    assert response.ca_pem == hub.authority.certificate_pem
    credentials = Credentials(vps_id, key_pem(key), response.certificate_pem, "")
    async with hub.linked(credentials) as link:
        assert link.welcome.welcome.hub_time_ms > 0
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await enrol(hub, token, csr(key))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert ("penguin-reason", "unauthenticated") in list(refused.value.trailing_metadata() or ())


async def test_an_expired_token_is_refused_and_spent(hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID) -> None:
    token = await join_token(hub, tenant, vps_id, timedelta(seconds=-1))

    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await enrol(hub, token, csr(make_key()))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED

    async with hub.database.system() as session:
        assert await session.scalar(text("SELECT count(*) FROM join_tokens")) == 0


async def test_a_malformed_request_for_a_certificate_spends_the_token(
    hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    token = await join_token(hub, tenant, vps_id)

    with pytest.raises(grpc.aio.AioRpcError) as malformed:
        await enrol(hub, token, b"not a request")
    assert malformed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as spent:
        await enrol(hub, token, csr(make_key()))
    assert spent.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_renewal_issues_another_certificate_for_the_callers_own_identity(
    hub: RunningHub, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    old = await hub.credentials(tenant.id, vps_id)
    key = make_key()
    async with hub.link_channel(old.private_key_pem, old.certificate_pem) as channel:
        request = RenewRequest(csr_der=csr(key))
        renewed = await LinkStub(channel).Renew(request, timeout=20, wait_for_ready=True)

    names = x509.load_pem_x509_certificate(renewed.certificate_pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == [f"spiffe://penguin.example/tenant/{tenant.id}/vps/{vps_id}"]
    async with hub.linked(Credentials(vps_id, key_pem(key), renewed.certificate_pem, "")):
        pass


async def test_the_enrolment_port_serves_no_link(hub: RunningHub) -> None:
    async with hub.enrolment_channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await LinkStub(channel).Renew(RenewRequest(), timeout=20, wait_for_ready=True)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
