"""The platform's own certificate authority, for agents and for the doors they call.

One P-256 key signs agents' client certificates and our servers' certificates, which differ in what they may be used
for. The key is sealed in `certificate_authorities`; processes that start together on an empty database agree on one by
an advisory lock. The authority may sign leaves only (path length 0, RFC 5280 section 4.2.1.9).
"""

import ipaddress
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock, utc_now
from control_plane.data_keys.keys import open_sealed, platform_keys
from control_plane.enrolment.certificate_profile import authority_certificate, leaf, requested_key
from control_plane.enrolment.identity import AgentIdentity, serial_of
from control_plane.sealing import Sealer

#: An agent renews at half of this, so it may be without its control plane for three and a half days at least. A
#: revoked certificate is refused at once, so that a short life would buy nothing.
AGENT_CERTIFICATE_LIFE = timedelta(days=7)
#: The doors are given a new certificate at each start of the installation.
SERVER_CERTIFICATE_LIFE = timedelta(days=90)
#: How long a release may be installed after it was signed.
RELEASE_LIFE = timedelta(days=730)
#: What is signed of a release is this and its manifest (agent/upgrade/signed.py).
RELEASE_PREFIX = b"PenguinMails release manifest\n"

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('certificate_authorities'))")
_NEWEST = text("SELECT id, certificate_pem, private_key_sealed FROM certificate_authorities ORDER BY created_at DESC")
_INSERT = text(
    "INSERT INTO certificate_authorities (id, certificate_pem, private_key_sealed) VALUES (:id, :certificate, :key)"
)


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """An agent's certificate; `serial` is lower-case hex."""

    pem: bytes
    serial: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate for one of our own doors, with its key (PKCS#8)."""

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """An Ed25519 signature, and the certificate of the key that made it."""

    signature: bytes
    certificate_der: bytes


class Authority:
    """Signs certificates with the platform's key."""

    def __init__(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, trust_domain: str, clock: Clock = utc_now
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._trust_domain = trust_domain
        self._clock = clock

    @classmethod
    async def load_or_create(
        cls, session: AsyncSession, sealer: Sealer, trust_domain: str, clock: Clock = utc_now
    ) -> "Authority":
        """Return the authority in the database, making it when there is none yet (system role)."""
        await session.execute(_LOCK)
        row = (await session.execute(_NEWEST)).first()
        if row is None:
            return await cls._create(session, sealer, trust_domain, clock)
        key_der = await open_sealed(session, sealer, row.private_key_sealed, _place(row.id))
        key = load_der_private_key(key_der, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key is not an elliptic-curve key")
        return cls(x509.load_pem_x509_certificate(row.certificate_pem.encode()), key, trust_domain, clock)

    @classmethod
    async def _create(cls, session: AsyncSession, sealer: Sealer, trust_domain: str, clock: Clock) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = authority_certificate(key, clock())
        authority_id = uuid.uuid4()
        key_der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        row = {
            "id": authority_id,
            "certificate": certificate.public_bytes(Encoding.PEM).decode(),
            "key": (await platform_keys(session, sealer)).seal(key_der, _place(authority_id)),
        }
        await session.execute(_INSERT, row)
        return cls(certificate, key, trust_domain, clock)

    @property
    def certificate_pem(self) -> bytes:
        """What agents and doors trust."""
        return self._certificate.public_bytes(Encoding.PEM)

    def issue_agent(self, csr_der: bytes, identity: AgentIdentity) -> IssuedCertificate:
        """Return a client certificate for the public key of a PKCS#10 request; nothing else of it is used.

        Raises `InvalidInput` when the request is malformed, is not signed by its own key, or the key is not P-256.
        """
        names = [x509.UniformResourceIdentifier(identity.spiffe_id(self._trust_domain))]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        certificate = self._sign(requested_key(csr_der), str(identity.vps_id), names, usage, AGENT_CERTIFICATE_LIFE)
        return IssuedCertificate(
            certificate.public_bytes(Encoding.PEM), serial_of(certificate), certificate.not_valid_after_utc
        )

    def sign_release(self, manifest: bytes) -> SignedRelease:
        """Sign a release's manifest with a key that is certified for that, used once and forgotten."""
        key = Ed25519PrivateKey.generate()
        names = [x509.UniformResourceIdentifier(f"spiffe://{self._trust_domain}/release")]
        certificate = self._sign(
            key.public_key(), "PenguinMails release", names, ExtendedKeyUsageOID.CODE_SIGNING, RELEASE_LIFE
        )
        return SignedRelease(key.sign(RELEASE_PREFIX + manifest), certificate.public_bytes(Encoding.DER))

    def issue_for(self, endpoint: str) -> ServerCertificate:
        """Return a server certificate and its new key for the host of an endpoint, given as host:port."""
        host = endpoint.rpartition(":")[0].strip("[]")
        try:
            return self.issue_server([], [str(ipaddress.ip_address(host))])
        except ValueError:
            return self.issue_server([host], [])

    def issue_server(self, dns_names: Sequence[str], ip_addresses: Sequence[str]) -> ServerCertificate:
        """Return a server certificate and its new key for one of our doors."""
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ip_addresses]
        names = [*(x509.DNSName(name) for name in dns_names), *addresses]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        certificate = self._sign(key.public_key(), "PenguinMails control plane", names, usage, SERVER_CERTIFICATE_LIFE)
        return ServerCertificate(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

    def _sign(
        self,
        public_key: ec.EllipticCurvePublicKey | Ed25519PublicKey,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        life: timedelta,
    ) -> x509.Certificate:
        unsigned = leaf(
            issuer=self._certificate,
            public_key=public_key,
            common_name=common_name,
            names=x509.SubjectAlternativeName(names),
            usage=usage,
            now=self._clock(),
            life=life,
        )
        return unsigned.sign(self._key, hashes.SHA256())


def _place(authority_id: uuid.UUID) -> str:
    return f"certificate_authorities.private_key:{authority_id}"
