"""A real hub on loopback, and agents that speak to it through bare gRPC stubs."""

import asyncio
import contextlib
import secrets
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from control_plane.enrolment.authority import Authority
from control_plane.enrolment.certificates import record_certificate
from control_plane.enrolment.identity import AgentIdentity
from control_plane.processes.hub import serve
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from protos.agent.v1.link_pb2 import AgentMessage, Hello, HubMessage
from protos.agent.v1.link_pb2_grpc import LinkStub
from tests.integration.database import FreshDatabase

TRUST_DOMAIN = "penguin.example"


def make_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def free_endpoint() -> str:
    """Return one below the ports that connections get by themselves, so that nobody else has it before the hub does."""
    while True:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", 15_000 + secrets.randbelow(17_000)))
            return f"127.0.0.1:{listener.getsockname()[1]}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an agent shows at the link port."""

    vps_id: uuid.UUID
    private_key_pem: bytes = field(repr=False)
    certificate_pem: bytes
    serial: str


@dataclass(frozen=True, slots=True)
class RunningHub:
    """A started hub and what is needed to reach it."""

    settings: Settings
    database: Database
    authority: Authority

    @property
    def sealer(self) -> Sealer:
        return Sealer.of_file(self.settings.sealing_key_file)

    def enrolment_channel(self) -> grpc.aio.Channel:
        tls = grpc.ssl_channel_credentials(self.authority.certificate_pem)
        return grpc.aio.secure_channel(self.settings.enrol_endpoint, tls)

    def link_channel(self, private_key_pem: bytes | None, certificate_pem: bytes | None) -> grpc.aio.Channel:
        tls = grpc.ssl_channel_credentials(self.authority.certificate_pem, private_key_pem, certificate_pem)
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.aio.secure_channel(self.settings.link_endpoint, tls, options=options)

    async def credentials(self, tenant_id: uuid.UUID, vps_id: uuid.UUID, *, record: bool = True) -> Credentials:
        """Return credentials as enrolment would have issued them."""
        key = make_key()
        identity = AgentIdentity(tenant_id, vps_id)
        issued = self.authority.issue_agent(csr(key), identity)
        if record:
            async with self.database.system() as session:
                await record_certificate(session, identity, issued)
        return Credentials(vps_id, key_pem(key), issued.pem, issued.serial)

    @asynccontextmanager
    async def linked(self, credentials: Credentials, applied_version: int = 0) -> AsyncIterator["AgentLink"]:
        """Connect, say Hello and take the welcome."""
        async with self.opened(credentials) as link:
            await link.send(AgentMessage(hello=Hello(agent_version="1.0", applied_version=applied_version)))
            link.welcome = await link.receive("welcome")
            yield link

    @asynccontextmanager
    async def opened(self, credentials: Credentials) -> AsyncIterator["AgentLink"]:
        """Open the stream and say nothing yet."""
        async with self.link_channel(credentials.private_key_pem, credentials.certificate_pem) as channel:
            yield AgentLink(LinkStub(channel).Connect(timeout=30))


class AgentLink:
    """An agent's end of the stream."""

    def __init__(self, call: "grpc.aio.StreamStreamCall[AgentMessage, HubMessage]") -> None:
        self.call = call
        self.welcome = HubMessage()

    async def send(self, message: AgentMessage) -> None:
        await self.call.write(message)

    async def receive(self, kind: str) -> HubMessage:
        """Return the next message of a kind; others before it are passed over."""
        while True:
            message = await self.read()
            if message.WhichOneof("body") == kind:
                return message

    async def read(self) -> HubMessage:
        """Return the next message."""
        message = await self.call.read()
        if not isinstance(message, HubMessage):
            raise TypeError(f"the stream ended with {await self.call.code()}: {await self.call.details()}")
        return message

    async def ended_with(self) -> grpc.StatusCode:
        """Read what is left, without which gRPC tells no status, and return the status."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await self.call.read() is not grpc.aio.EOF:
                pass
        return await self.call.code()


@asynccontextmanager
async def running_hub(database: FreshDatabase, redis_url: str, state_dir: Path) -> AsyncIterator[RunningHub]:
    settings = Settings(
        state_dir=state_dir,
        api_database_url=database.url("penguin_api"),  # type: ignore[arg-type]  # pydantic makes it a SecretStr
        system_database_url=database.url("penguin_system"),  # type: ignore[arg-type]  # the same
        redis_url=redis_url,  # type: ignore[arg-type]  # the same
        enrol_endpoint=free_endpoint(),
        link_endpoint=free_endpoint(),
        trust_domain=TRUST_DOMAIN,
    )
    tests_own = Database(database.url("penguin_system"))
    sealer = Sealer.of_file(settings.sealing_key_file)
    async with tests_own.system() as session:
        authority = await Authority.load_or_create(session, sealer, TRUST_DOMAIN)
    hub = RunningHub(settings, tests_own, authority)
    serving, stopped = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(settings, serving.set, stopped))
    task.add_done_callback(lambda _task: serving.set())
    await serving.wait()
    if task.done():
        await task
    try:
        yield hub
    finally:
        stopped.set()
        await task
        await tests_own.close()
