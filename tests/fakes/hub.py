"""A hub that behaves: both doors on loopback with real TLS, join tokens that work once, confirmations, and bad days.

It keeps what it was told and lets a test wait for it. `refuse_*` make it answer with a status, `drop` ends the stream
as a crash would, `stop` and `start` are a restart on the same ports.
"""

import asyncio
import datetime as dt
import ipaddress
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from control_plane.hub.inflating import MOST_INFLATED, inflated
from protos.agent.v1.delivery_pb2 import EventsConfirmed
from protos.agent.v1.enrolment_pb2 import EnrolRequest, EnrolResponse
from protos.agent.v1.enrolment_pb2_grpc import EnrolmentServicer, add_EnrolmentServicer_to_server
from protos.agent.v1.link_pb2 import (
    AgentMessage,
    HubMessage,
    QueueAccess,
    RenewRequest,
    RenewResponse,
    Welcome,
)
from protos.agent.v1.link_pb2_grpc import LinkServicer, add_LinkServicer_to_server

DAY = dt.timedelta(days=1)


class FakeAuthority:
    """A certificate authority made for one test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        self._certificate = (
            _builder(name, name, self._key.public_key(), dt.timedelta(0), 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self) -> tuple[bytes, bytes]:
        """Return key and certificate (PEM) of a server at 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return _key_pem(key), self._sign(key.public_key(), names, ExtendedKeyUsageOID.SERVER_AUTH, dt.timedelta(0), DAY)

    def agent(self, csr_der: bytes, vps_id: str, age: dt.timedelta, life: dt.timedelta) -> bytes:
        """Return a certificate (PEM) of `life`, `age` of which has passed, for the key in the request."""
        request = x509.load_der_x509_csr(csr_der)
        assert request.is_signature_valid
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://test/tenant/t/vps/{vps_id}")])
        return self._sign(key, names, ExtendedKeyUsageOID.CLIENT_AUTH, age, life)

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        names: x509.SubjectAlternativeName,
        usage: x509.ObjectIdentifier,
        age: dt.timedelta,
        life: dt.timedelta,
    ) -> bytes:
        certificate = (
            _builder(x509.Name([]), self._certificate.subject, key, age, life)
            .add_extension(names, critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


class FakeHub(EnrolmentServicer, LinkServicer):
    """Both services for one agent."""

    def __init__(self, authority: FakeAuthority) -> None:
        self.authority = authority
        self.tokens = {"join-once"}
        self.refuse_enrolment: grpc.StatusCode | None = None
        self.refuse_link: grpc.StatusCode | None = None
        self.refuse_renewal: grpc.StatusCode | None = None
        self.confirms = True
        #: Age and life of the certificates it issues.
        self.certificate_age, self.certificate_life = dt.timedelta(0), DAY
        #: Bytes up to which it inflates; 0 for a hub that knows nothing of it.
        self.most_inflated = MOST_INFLATED
        #: Messages that came deflated.
        self.deflated = 0
        self.received: list[AgentMessage] = []
        self.events: Counter[bytes] = Counter()
        #: Serial numbers of the certificates that connected, one for each stream.
        self.serials: list[int] = []
        self.enrolments = 0
        self.renewals = 0
        self.to_send: asyncio.Queue[HubMessage | None] = asyncio.Queue()
        #: How it says what it says.
        self.speaks: Callable[[HubMessage], HubMessage] = lambda message: message
        self._changed = asyncio.Condition()
        self._servers: list[grpc.aio.Server] = []
        self._ports = (0, 0)

    @property
    def enrol_endpoint(self) -> str:
        """The door for join tokens."""
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def link_endpoint(self) -> str:
        """The door for certificates."""
        return f"127.0.0.1:{self._ports[1]}"

    async def start(self) -> None:
        """Open both doors, on the ports of the last time."""
        pair = [self.authority.server()]
        enrol, link = grpc.aio.server(), grpc.aio.server()
        add_EnrolmentServicer_to_server(self, enrol)
        add_LinkServicer_to_server(self, link)
        open_door = grpc.ssl_server_credentials(pair)
        mutual = grpc.ssl_server_credentials(pair, self.authority.pem, require_client_auth=True)
        self._ports = (
            enrol.add_secure_port(f"127.0.0.1:{self._ports[0]}", open_door),
            link.add_secure_port(f"127.0.0.1:{self._ports[1]}", mutual),
        )
        self._servers = [enrol, link]
        for server in self._servers:
            await server.start()

    async def stop(self) -> None:
        """Close both doors and cut what is connected."""
        for server in self._servers:
            await server.stop(grace=None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something made `condition` true."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(condition)

    def drop(self) -> None:
        """End the stream with UNAVAILABLE."""
        self.to_send.put_nowait(None)

    def of_kind(self, kind: str) -> list[AgentMessage]:
        """Return the messages of one kind, in order."""
        return [message for message in self.received if message.WhichOneof("body") == kind]

    async def Enrol(self, request: EnrolRequest, context: grpc.aio.ServicerContext) -> EnrolResponse:  # type: ignore[type-arg]  # noqa: N802
        """Burn the token, then judge."""
        if self.refuse_enrolment is not None:
            await context.abort(self.refuse_enrolment, "told to refuse")
        if request.join_token not in self.tokens:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown, used or expired join token")
        self.tokens.discard(request.join_token)
        async with self._change():
            self.enrolments += 1
        return EnrolResponse(
            certificate_pem=self._issue(request.csr_der),
            ca_pem=self.authority.pem,
            link_endpoint=self.link_endpoint,
            vps_id="vps-1",
        )

    async def Renew(self, request: RenewRequest, context: grpc.aio.ServicerContext) -> RenewResponse:  # type: ignore[type-arg]  # noqa: N802
        """Issue a fresh certificate of a day."""
        if self.refuse_renewal is not None:
            await context.abort(self.refuse_renewal, "told to refuse")
        self.certificate_age = dt.timedelta(0)
        async with self._change():
            self.renewals += 1
        return RenewResponse(certificate_pem=self._issue(request.csr_der), ca_pem=self.authority.pem)

    async def Connect(  # noqa: N802
        self,
        request_iterator: AsyncIterator[AgentMessage],
        context: grpc.aio.ServicerContext,  # type: ignore[type-arg]
    ) -> AsyncIterator[HubMessage]:
        """Welcome, then confirm events and send what the test asks for."""
        async with self._change():
            self.serials.append(_peer_serial(context))
        if self.refuse_link is not None:
            await context.abort(self.refuse_link, "told to refuse")
        reader = asyncio.create_task(self._read(request_iterator))
        try:
            welcome = Welcome(
                hub_time_ms=time.time_ns() // 1_000_000,
                queue_access=QueueAccess(endpoint="127.0.0.1:1", username="vps-1", password="secret"),
                report_interval_seconds=5,
                most_inflated_bytes=self.most_inflated,
            )
            yield self.speaks(HubMessage(welcome=welcome))
            while (message := await self.to_send.get()) is not None:
                yield self.speaks(message)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "dropped")
        finally:
            reader.cancel()

    async def _read(self, messages: AsyncIterator[AgentMessage]) -> None:
        async for came in messages:
            message = inflated(came) if self.most_inflated else came
            self.deflated += message is not came
            ids = [event.event_id for event in message.delivery_events.events]
            async with self._change():
                self.received.append(message)
                self.events.update(ids)
            if ids and self.confirms:
                self.to_send.put_nowait(HubMessage(events_confirmed=EventsConfirmed(event_ids=ids)))

    def _issue(self, csr_der: bytes) -> bytes:
        return self.authority.agent(csr_der, "vps-1", self.certificate_age, self.certificate_life)

    def _change(self) -> "_Change":
        return _Change(self._changed)


class _Change:
    def __init__(self, condition: asyncio.Condition) -> None:
        self._condition = condition

    async def __aenter__(self) -> None:
        await self._condition.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._condition.notify_all()
        self._condition.release()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, age: dt.timedelta, life: dt.timedelta
) -> x509.CertificateBuilder:
    begin = dt.datetime.now(dt.UTC) - age - dt.timedelta(seconds=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + life)
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _peer_serial(context: grpc.aio.ServicerContext) -> int:  # type: ignore[type-arg]
    (certificate,) = context.auth_context()["x509_pem_cert"]
    return x509.load_pem_x509_certificate(certificate).serial_number
