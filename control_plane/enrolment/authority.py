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
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock, utc_now
from control_plane.enrolment.identity import AgentIdentity, serial_of
from control_plane.errors import InvalidInput
from control_plane.sealing import Sealer

#: An agent renews at half of this.
AGENT_CERTIFICATE_LIFE = timedelta(hours=24)
#: The doors are given a new certificate at each start of the installation.
SERVER_CERTIFICATE_LIFE = timedelta(days=90)
_AUTHORITY_LIFE = timedelta(days=3650)
#: Clocks of new servers may be a little behind.
_BACKDATED = timedelta(minutes=5)

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
        key = load_der_private_key(sealer.open(row.private_key_sealed, _place(row.id)), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key is not an elliptic-curve key")
        return cls(x509.load_pem_x509_certificate(row.certificate_pem.encode()), key, trust_domain, clock)

    @classmethod
    async def _create(cls, session: AsyncSession, sealer: Sealer, trust_domain: str, clock: Clock) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key, clock())
        authority_id = uuid.uuid4()
        key_der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        row = {
            "id": authority_id,
            "certificate": certificate.public_bytes(Encoding.PEM).decode(),
            "key": sealer.seal(key_der, _place(authority_id)),
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
        public_key = _requested_key(csr_der)
        names = x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(identity.spiffe_id(self._trust_domain))],
        )
        builder = self._leaf(public_key, str(identity.vps_id), AGENT_CERTIFICATE_LIFE)
        certificate = self._sign(builder, names, ExtendedKeyUsageOID.CLIENT_AUTH)
        return IssuedCertificate(
            certificate.public_bytes(Encoding.PEM), serial_of(certificate), certificate.not_valid_after_utc
        )

    def issue_server(self, dns_names: Sequence[str], ip_addresses: Sequence[str]) -> ServerCertificate:
        """Return a server certificate and its new key for one of our doors."""
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ip_addresses]
        names = x509.SubjectAlternativeName([*(x509.DNSName(name) for name in dns_names), *addresses])
        builder = self._leaf(key.public_key(), "PenguinMails control plane", SERVER_CERTIFICATE_LIFE)
        certificate = self._sign(builder, names, ExtendedKeyUsageOID.SERVER_AUTH)
        return ServerCertificate(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

    def _leaf(
        self, public_key: ec.EllipticCurvePublicKey, common_name: str, life: timedelta
    ) -> x509.CertificateBuilder:
        now = self._clock()
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _sign(
        self, leaf: x509.CertificateBuilder, names: x509.SubjectAlternativeName, usage: x509.ObjectIdentifier
    ) -> x509.Certificate:
        usages = x509.ExtendedKeyUsage([usage])
        return (
            leaf.add_extension(names, critical=False)
            .add_extension(usages, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _requested_key(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_der_x509_csr(csr_der)
        key = request.public_key()
        signed = request.is_signature_valid
    except (ValueError, InvalidSignature) as error:
        raise InvalidInput("the certificate request cannot be read") from error
    if not signed:
        raise InvalidInput("the certificate request is not signed by its own key")
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise InvalidInput("the certificate request's key must be P-256")
    return key


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    subject = _name("PenguinMails agents' authority")
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _place(authority_id: uuid.UUID) -> str:
    return f"certificate_authorities.private_key:{authority_id}"
